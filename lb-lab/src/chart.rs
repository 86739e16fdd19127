//! The chart of `deploy/chart`, rendered by Helm without a cluster: what is committed for those who do not use Helm, and
//! what tests compare with it.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::cluster::programs::helm;

const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/chart");
/// The newest that the chart is tested on; what is rendered does not depend on it.
const KUBERNETES: &str = "v1.35.0";

/// The chart with its default values, without its hooks.
///
/// # Errors
/// Helm is not built, or refuses the chart.
pub fn rendered_chart() -> Result<String> {
    let mut command = Command::new(helm()?);
    command.args(["template", "fairlead", CHART, "--no-hooks"]);
    command.args([
        "--namespace",
        "fairlead-system",
        "--kube-version",
        KUBERNETES,
    ]);
    let output = command.output().context("starting helm")?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "helm refuses the chart: {complaint}"
    );
    Ok(String::from_utf8(output.stdout)?)
}
