//! The dependency rule: which crate may use which of ours, and which libraries belong to one place only.
//! The list of a crate's dependencies is the proof of its purity.

use std::collections::BTreeSet;

use crate::tidy::Finding;
use crate::tidy::metadata::{Metadata, Package};

/// A member of this workspace and those of ours it may use.
const MAY_USE: [(&str, &[&str]); 12] = [
    ("lb-common", &[]),
    ("lb-ebpf", &["lb-common"]),
    ("lb-core", &["lb-common"]),
    ("lb-bgp", &[]),
    ("lb-datapath", &["lb-common"]),
    ("lb-kube", &["lb-core"]),
    (
        "lb-agent",
        &["lb-common", "lb-core", "lb-bgp", "lb-datapath", "lb-kube"],
    ),
    ("lb-lab", &[]),
    ("xtask", &[]),
    ("fairlead-model", &[]),
    ("fairlead-tests", ANY_LIBRARY),
    ("fairlead-benches", ANY_LIBRARY),
];
const ANY_LIBRARY: &[&str] = &[
    "lb-common",
    "lb-core",
    "lb-bgp",
    "lb-datapath",
    "lb-kube",
    "lb-agent",
    "lb-lab",
    "fairlead-model",
];

/// A library and the only crates that may use it.
const ONLY_IN: [(&str, &[&str]); 8] = [
    ("aya", &["lb-datapath"]),
    ("aya-ebpf", &["lb-ebpf"]),
    ("axum", &["lb-agent"]),
    (
        "k8s-openapi",
        &["lb-kube", "fairlead-tests", "fairlead-benches"],
    ),
    ("kube", &["lb-kube", "fairlead-tests", "fairlead-benches"]),
    ("prometheus-client", &["lb-agent"]),
    ("rtnetlink", &["lb-agent", "lb-lab"]),
    (
        "tokio",
        &[
            "lb-agent",
            "lb-kube",
            "lb-lab",
            "fairlead-tests",
            "fairlead-benches",
        ],
    ),
];

/// Direct dependencies of `xtask`, which must be compiled before its first line.
const XTASK_DEPENDENCIES_MAX: usize = 10;

/// Objects to every dependency that the rule does not allow.
pub(super) fn check(metadata: &Metadata) -> Vec<Finding> {
    let ours: BTreeSet<&str> = metadata
        .ours()
        .map(|package| package.name.as_str())
        .collect();
    metadata
        .ours()
        .flat_map(|package| check_package(package, &ours))
        .collect()
}

fn check_package(package: &Package, ours: &BTreeSet<&str>) -> Vec<Finding> {
    let name = package.name.as_str();
    let finding = |text: String| Finding::new(name, 0, text);
    let Some((_, allowed)) = MAY_USE.iter().find(|(member, _)| *member == name) else {
        return vec![finding(
            "is not in the dependency rule of xtask/src/tidy/dependencies.rs".to_owned(),
        )];
    };
    let mut findings = Vec::new();
    for needed in package.dependencies.iter().map(String::as_str) {
        if ours.contains(needed) && !allowed.contains(&needed) {
            findings.push(finding(format!("must not depend on {needed}")));
        }
        let places = ONLY_IN.iter().find(|(library, _)| *library == needed);
        if let Some((library, places)) = places.filter(|(_, places)| !places.contains(&name)) {
            findings.push(finding(format!(
                "must not depend on {library}: only {} may",
                places.join(", ")
            )));
        }
    }
    if name == "xtask" && package.dependencies.len() > XTASK_DEPENDENCIES_MAX {
        findings.push(finding(format!(
            "has more than {XTASK_DEPENDENCIES_MAX} dependencies"
        )));
    }
    findings
}

#[cfg(test)]
mod tests;
