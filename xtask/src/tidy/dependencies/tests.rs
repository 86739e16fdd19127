use super::{XTASK_DEPENDENCIES_MAX, check};
use crate::tidy::metadata::{Metadata, Package};

fn package(name: &str, dependencies: &[&str]) -> Package {
    Package {
        name: name.to_owned(),
        ours: true,
        license: None,
        source: None,
        dependencies: dependencies
            .iter()
            .map(|needed| (*needed).to_owned())
            .collect(),
    }
}

fn findings(packages: &[Package]) -> Vec<String> {
    let metadata = Metadata {
        packages: packages.to_vec(),
    };
    check(&metadata).iter().map(ToString::to_string).collect()
}

#[test]
fn a_protocol_that_uses_the_core_is_found() {
    let core = package("lb-core", &["thiserror"]);
    assert_eq!(
        findings(&[core.clone(), package("lb-bgp", &["lb-core"])]),
        ["lb-bgp: must not depend on lb-core"]
    );
    assert!(findings(&[core, package("lb-agent", &["lb-core"])]).is_empty());
}

#[test]
fn a_library_out_of_its_place_is_found() {
    assert_eq!(findings(&[package("lb-core", &["tokio"])]).len(), 1);
    assert_eq!(findings(&[package("lb-agent", &["aya"])]).len(), 1);
    assert!(
        findings(&[
            package("lb-datapath", &["aya"]),
            package("lb-agent", &["tokio", "axum"])
        ])
        .is_empty()
    );
}

#[test]
fn a_crate_without_a_rule_is_found() {
    assert_eq!(findings(&[package("lb-new", &[])]).len(), 1);
}

#[test]
fn the_front_stays_thin() {
    let many = vec!["x"; XTASK_DEPENDENCIES_MAX + 1];
    assert_eq!(
        findings(&[package("xtask", &many)]),
        ["xtask: has more than 10 dependencies"]
    );
}
