//! Rows as a table for people and as JSON for programs: {name, value, unit, bar, peer_value, n}.

use std::{fs, io, path::Path};

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
    /// The floor's own figure in the same run.
    pub peer_value: f64,
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
            peer_value: Summary::of(floors).median,
            n,
        }
    }

    /// The design's rule: median less spread within the bar.
    #[must_use]
    pub fn holds(&self) -> Option<bool> {
        self.bar.map(|bar| self.value - self.spread <= bar)
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
        "{:26} {:>9} {:>8} {:>6}  {:<6} {:>9}",
        "row", "ns", "± ns", "bar", "", "floor ns"
    );
    for row in rows {
        let bar = row
            .bar
            .map_or_else(|| "-".to_owned(), |bar| format!("{bar}"));
        let holds = match row.holds() {
            Some(true) => "holds",
            Some(false) => "missed",
            None => "",
        };
        println!(
            "{:26} {:9.1} {:8.1} {bar:>6}  {holds:<6} {:9.1}",
            row.name, row.value, row.spread, row.peer_value
        );
    }
}
