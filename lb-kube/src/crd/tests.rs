use serde_json::Value;

use super::*;

/// Calls with every schema below `schema`, and where it is.
fn walk(schema: &Value, path: &str, see: &mut impl FnMut(&str, &Value)) {
    see(path, schema);
    let properties = schema["properties"].as_object();
    for (name, inner) in properties.into_iter().flatten() {
        walk(inner, &format!("{path}.{name}"), see);
    }
    for word in ["items", "additionalProperties"] {
        if schema[word].is_object() {
            walk(&schema[word], &format!("{path}[]"), see);
        }
    }
}

#[test]
fn both_versions_have_one_schema_and_the_newer_is_stored() {
    for definition in definitions() {
        let versions = &definition.spec.versions;
        let names: Vec<_> = versions
            .iter()
            .map(|v| (v.name.as_str(), v.served, v.storage))
            .collect();
        assert_eq!(names, [("v1alpha1", true, false), ("v1alpha2", true, true)]);
        assert_eq!(versions[0].schema, versions[1].schema);
        assert!(
            versions
                .iter()
                .all(|version| version.subresources.is_some())
        );
        assert_eq!(definition.spec.scope, "Cluster");
    }
}

#[test]
fn nothing_has_a_default_and_little_is_required() {
    let mut required = Vec::new();
    for definition in definitions() {
        let schema = serde_json::to_value(&definition.spec.versions[1].schema).unwrap();
        let kind = definition.spec.names.kind.clone();
        walk(&schema["openAPIV3Schema"], &kind, &mut |path, schema| {
            assert!(schema.get("default").is_none(), "{path} has a default");
            let names = schema["required"].as_array().into_iter().flatten();
            required.extend(names.map(|name| format!("{path}.{}", name.as_str().unwrap())));
        });
    }
    let list_items = [
        "conditions[]",
        "claims[]",
        "electors[]",
        "matchExpressions[]",
    ];
    required.retain(|path| !list_items.iter().any(|item| path.contains(item)));
    assert_eq!(
        required,
        ["Eip.spec.address", "BgpPeer.spec.passwordSecret.name"]
    );
}

#[test]
fn the_committed_manifests_are_those_of_the_types() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/chart/files/crds");
    for definition in definitions() {
        let (name, content) = manifest(&definition).unwrap();
        let committed = std::fs::read_to_string(format!("{folder}/{name}")).unwrap_or_default();
        assert!(
            committed == content,
            "{name} is not what the types say: run `cargo xtask manifests`"
        );
    }
}

/// A person who reads the manual finds every field that the schema takes.
#[test]
fn the_manual_names_every_field() {
    let manual = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/kubernetes.md");
    let manual = std::fs::read_to_string(manual).unwrap();
    let words: std::collections::BTreeSet<&str> = manual
        .split(|letter: char| !letter.is_ascii_alphanumeric())
        .collect();
    let mut missing = Vec::new();
    for definition in definitions() {
        let schema = serde_json::to_value(&definition.spec.versions[1].schema).unwrap();
        let spec = &schema["openAPIV3Schema"]["properties"]["spec"];
        let kind = definition.spec.names.kind.clone();
        walk(spec, &kind, &mut |path, _| {
            let name = path.rsplit('.').next().unwrap_or_default();
            let name = name.trim_end_matches("[]");
            // Of selectors, which are Kubernetes' own, nothing is told.
            let is_of_selector = path.to_lowercase().contains("selector");
            if name != kind && !is_of_selector && !words.contains(name) {
                missing.push(path.to_owned());
            }
        });
    }
    assert!(
        missing.is_empty(),
        "docs/kubernetes.md does not name {missing:?}"
    );
}
