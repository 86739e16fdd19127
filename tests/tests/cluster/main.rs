//! A real cluster of three nodes in namespaces, beside a BIRD router and a client: what an operator of a cluster does and
//! sees. Each test has a cluster of its own; one is up at a time, but for the test that wants two. Needs root.

mod install;
mod standing;

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
