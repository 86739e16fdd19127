//! Rows as a table for people and as JSON for programs: {name, value, unit, bar, peer_value, n}.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::Serialize;

use crate::measure::Summary;

/// One figure.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Name, stable over versions.
    pub name: String,
    /// Median.
    pub value: f64,
    /// Half the distance between the quartiles.
    pub spread: f64,
    /// Unit of `value`, `spread` and `bar`.
    pub unit: &'static str,
    /// The most it may be; `None`: published only.
    pub bar: Option<f64>,
    /// What the row is compared with, in the same run: a floor, or another implementation.
    pub peer_value: Option<f64>,
    /// Runs.
    pub n: usize,
}

impl Row {
    /// From the differences to the floor of `n` runs, in CPU nanoseconds a packet.
    #[must_use]
    pub fn new(name: &str, bar: Option<f64>, differences: Vec<f64>, floors: Vec<f64>) -> Self {
        let n = differences.len();
        let summary = Summary::of(differences);
        Self {
            name: name.to_owned(),
            value: summary.median,
            spread: summary.spread,
            unit: "cpu_ns_per_packet_over_floor",
            bar,
            peer_value: Some(Summary::of(floors).median),
            n,
        }
    }

    /// Published only, until it is given a bar or a peer.
    #[must_use]
    pub fn figure(name: impl Into<String>, unit: &'static str, summary: Summary, n: usize) -> Self {
        Self {
            name: name.into(),
            value: summary.median,
            spread: summary.spread,
            unit,
            bar: None,
            peer_value: None,
            n,
        }
    }

    /// With the most that it may be.
    #[must_use]
    pub fn bar(self, bar: f64) -> Self {
        Self {
            bar: Some(bar),
            ..self
        }
    }

    /// With what it is compared with.
    #[must_use]
    pub fn beside(self, peer_value: f64) -> Self {
        Self {
            peer_value: Some(peer_value),
            ..self
        }
    }

    /// The design's rule: median less spread within the bar.
    #[must_use]
    pub fn holds(&self) -> Option<bool> {
        self.bar.map(|bar| self.value - self.spread <= bar)
    }
}

/// What a bench is told: the file of `--json FILE`, and the text that the names of `--rows TEXT` have in them.
#[derive(Debug, Default)]
pub struct Arguments {
    /// Where the rows go as well.
    pub json: Option<PathBuf>,
    /// Only rows whose name has this in it.
    pub rows: Option<String>,
}

impl Arguments {
    /// Whether a row is wanted.
    #[must_use]
    pub fn wants(&self, row: &str) -> bool {
        self.rows
            .as_ref()
            .is_none_or(|text| row.contains(text.as_str()))
    }
}

/// The arguments of a bench whose rows can be measured one by one.
///
/// # Errors
/// Anything else, with how it is meant.
pub fn arguments(bench: &str) -> anyhow::Result<Arguments> {
    let mut given = Arguments::default();
    let mut words = std::env::args().skip(1);
    while let Some(flag) = words.next() {
        match (flag.as_str(), words.next()) {
            ("--json", Some(path)) => given.json = Some(path.into()),
            ("--rows", Some(text)) => given.rows = Some(text),
            _ => anyhow::bail!("usage: {bench} [--json FILE] [--rows TEXT]"),
        }
    }
    Ok(given)
}

/// The file of `--json FILE`, the only argument of the other benches.
///
/// # Errors
/// As [`arguments`].
pub fn json_argument(bench: &str) -> anyhow::Result<Option<PathBuf>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [] => Ok(None),
        [flag, path] if flag == "--json" => Ok(Some(path.into())),
        _ => anyhow::bail!("usage: {bench} [--json FILE]"),
    }
}

/// Writes the rows as JSON.
///
/// # Errors
/// The file cannot be written.
pub fn write_json(path: &Path, rows: &[Row]) -> io::Result<()> {
    let text = serde_json::to_string_pretty(&serde_json::json!({ "rows": rows }))?;
    fs::write(path, text + "\n")
}

/// Prints the rows as a table.
pub fn print(rows: &[Row]) {
    println!(
        "{:32} {:>9} {:>8} {:>6}  {:<6} {:>9}  unit",
        "row", "value", "±", "bar", "", "peer"
    );
    for row in rows {
        let optional = |value: Option<f64>, decimals: usize| {
            value.map_or_else(|| "-".to_owned(), |value| format!("{value:.decimals$}"))
        };
        let bar = row
            .bar
            .map_or_else(|| "-".to_owned(), |bar| format!("{bar}"));
        let holds = match row.holds() {
            Some(true) => "holds",
            Some(false) => "missed",
            None => "",
        };
        // Ratios and shares need two places, times one.
        let decimals = if row.value < 10.0 { 2 } else { 1 };
        println!(
            "{:32} {:9.decimals$} {:8.decimals$} {bar:>6}  {holds:<6} {:>9}  {}",
            row.name,
            row.value,
            row.spread,
            optional(row.peer_value, decimals),
            row.unit
        );
    }
}
