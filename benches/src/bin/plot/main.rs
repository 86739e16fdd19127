//! Draws the rows that a bench has written: `plot TITLE ROWS.json PICTURE.svg`.

use std::{env, fs, process::ExitCode};

use anyhow::{Context as _, Result, bail};
use fairlead_benches::plot::{self, Figure};

#[derive(serde::Deserialize)]
struct Rows {
    rows: Vec<Figure>,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("plot: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let [title, rows, picture] = &arguments[..] else {
        bail!("usage: plot TITLE ROWS.json PICTURE.svg");
    };
    let text = fs::read_to_string(rows).with_context(|| format!("cannot read {rows}"))?;
    let rows: Rows = serde_json::from_str(&text).with_context(|| format!("in {rows}"))?;
    fs::write(picture, plot::svg(title, &rows.rows))
        .with_context(|| format!("cannot write {picture}"))
}
