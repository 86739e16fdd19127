use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{Error, keys, load, understand, understand_edit};

const YAML: &str = "\
node: {name: n1, uplinks: [eth0]}
nodes: [{name: n1, addresses: [10.0.0.11]}]
services:
  - name: default/web
    addresses: [10.99.0.1]
    ports: [{name: http, port: 80}]
";

/// A file of this test's own, gone when dropped.
struct File(PathBuf);

impl File {
    fn new(name: &str, content: &str) -> Self {
        let path = std::env::temp_dir().join(format!(
            "lb-agent-configuration-{name}-{}",
            std::process::id()
        ));
        fs::write(&path, content).unwrap();
        Self(path)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn edit(from: &str, to: &str) -> Result<(), Error> {
    let path = Path::new("a.yaml");
    let running = understand(path, YAML).unwrap();
    assert!(YAML.contains(from), "{from}");
    understand_edit(path, &YAML.replace(from, to), &running).map(drop)
}

#[test]
fn services_change_while_the_agent_runs() {
    edit("port: 80", "port: 81").unwrap();
    edit(
        "addresses: [10.99.0.1]",
        "addresses: [10.99.0.2, \"fd99::2\"]",
    )
    .unwrap();
}

#[test]
fn what_only_a_restart_can_change_is_named() {
    for (from, to, field) in [
        ("uplinks: [eth0]", "uplinks: [eth1]", "node.uplinks"),
        (
            "uplinks: [eth0]",
            "uplinks: [eth0], mode: generic",
            "node.mode",
        ),
        ("n1", "n2", "node.name"),
        (
            "services:",
            "cluster: {keyFile: /etc/key}\nservices:",
            "cluster.keyFile",
        ),
    ] {
        let error = edit(from, to).unwrap_err();
        assert!(error.to_string().starts_with(field), "{field}: {error}");
    }
}

#[test]
fn a_refused_edit_says_where() {
    let error = edit("port: 80", "port: 0").unwrap_err();
    assert!(matches!(error, Error::Refused(_)), "{error}");
    assert!(error.to_string().contains("a.yaml:6:"), "{error}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = load(Path::new("/no/such/file.yaml")).unwrap_err();
    assert!(error.to_string().contains("/no/such/file.yaml"), "{error}");
}

#[test]
fn keys_come_from_the_key_file_and_nowhere_else() {
    let path = Path::new("a.yaml");
    assert_eq!(keys(&understand(path, YAML).unwrap()).unwrap(), None);
    for (name, secret, is_key) in [
        ("good", "0123456789abcdef\n", true),
        ("short", "0123\n", false),
    ] {
        let file = File::new(name, secret);
        let section = format!("cluster: {{keyFile: {}}}\nservices:", file.0.display());
        let config = understand(path, &YAML.replace("services:", &section)).unwrap();
        match keys(&config) {
            Ok(keys) => assert!(is_key && keys.is_some(), "{name}"),
            Err(error) => assert!(
                !is_key && matches!(error, Error::Key { .. }),
                "{name}: {error}"
            ),
        }
    }
}
