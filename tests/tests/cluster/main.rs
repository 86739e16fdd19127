//! A real cluster of three nodes in namespaces, beside a BIRD router and a client: what an operator of a cluster does and
//! sees. Each test has a cluster of its own; one is up at a time, but for the test that wants two. Needs root.

mod e2e;
mod install;
mod installed;
mod manuals;
mod page;
mod reachability;
mod standing;
mod upgrade;

/// Alerts and panels that nothing would ever fill look like a system that is well.
#[test]
fn alerts_and_the_dashboard_name_metrics_that_there_are() -> anyhow::Result<()> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let source = std::fs::read_to_string(format!("{root}/lb-agent/src/api/metrics.rs"))?;
    let mut seen = 0;
    for file in ["rules.yaml", "dashboard.json"] {
        let text = std::fs::read_to_string(format!("{root}/deploy/chart/files/metrics/{file}"))?;
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        for name in words.filter(|word| word.starts_with("fairlead_")) {
            let name = name.trim_end_matches("_bucket");
            anyhow::ensure!(source.contains(name), "{file}: nobody counts {name}");
            seen += 1;
        }
    }
    anyhow::ensure!(seen > 10, "only {seen} names were found");
    Ok(())
}

#[test]
fn the_committed_manifests_are_the_chart() -> anyhow::Result<()> {
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../deploy/manifests/fairlead.yaml"
    );
    let committed = std::fs::read_to_string(file)?;
    let rendered = lb_lab::rendered_chart()?;
    anyhow::ensure!(
        committed == rendered,
        "{file} is not what the chart renders to: run `cargo xtask manifests`"
    );
    Ok(())
}
