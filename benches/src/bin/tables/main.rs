//! What tables cost and how little they move, beside Maglev; what planning costs at 10,000 services of 100
//! endpoints. Rows that count come out the same every time; times are CPU time of one thread. Needs root, for
//! the data path whose writing is measured; nothing is attached.

mod scale;
mod shares;

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use fairlead_benches::report::{self, Row};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tables: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let json = report::json_argument("tables")?;
    let mut rows = shares::rows();
    rows.extend(scale::rows()?);
    report::print(&rows);
    let steps = shares::steps();
    print_steps(&steps);
    rows.extend(steps);
    if let Some(path) = json {
        report::write_json(&path, &rows)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Six to a line: number of endpoints before the step, ours, Maglev's.
fn print_steps(steps: &[Row]) {
    println!("\nrows moved without need when one endpoint comes, percent: ours/Maglev 16381");
    for line in steps.chunks(6) {
        for step in line {
            let peer = step.peer_value.unwrap_or_default();
            print!("{:>9} {:5.2}/{peer:5.2}", step.name, step.value);
        }
        println!();
    }
}
