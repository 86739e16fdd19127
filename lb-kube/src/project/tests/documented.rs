//! The page about semantics names a test in each of its rows, and each of these exists.

use std::{fs, path::Path};

const PAGE: &str = include_str!("../../../../docs/kubernetes-semantics.md");

#[test]
fn every_row_of_the_semantics_has_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let rows = PAGE.lines().filter(|line| line.starts_with("| "));
    // Below the heads of the table.
    let rows: Vec<_> = rows.skip(1).collect();
    assert!(rows.len() > 25, "{} rows", rows.len());
    for row in rows {
        let test = row.rsplit('`').nth(1).unwrap_or_default();
        let (file, name) = test.split_once("::").unwrap_or_default();
        let text = fs::read_to_string(root.join(file)).unwrap_or_default();
        let is_there = text.contains(&format!("#[test]\nfn {name}("));
        assert!(is_there, "no test {test}: {row}");
    }
}
