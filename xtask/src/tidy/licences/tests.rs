use super::{CRATES_IO, check_package, is_allowed};
use crate::tidy::metadata::Package;

#[test]
fn expressions_are_evaluated() {
    for allowed in [
        "MIT",
        "MIT/Apache-2.0",
        "MIT OR GPL-2.0",
        "MIT OR Apache-2.0 OR LGPL-2.1-or-later",
        "(MIT OR Apache-2.0) AND Unicode-3.0",
        "Apache-2.0 WITH LLVM-exception OR GPL-2.0",
    ] {
        assert!(is_allowed(allowed), "{allowed}");
    }
    for refused in [
        "GPL-2.0",
        "MIT AND GPL-2.0",
        "(MIT OR Apache-2.0) AND AGPL-3.0",
        "MIT AND",
        "(MIT",
        "",
    ] {
        assert!(!is_allowed(refused), "{refused}");
    }
}

#[test]
fn a_package_of_another_origin_is_found() {
    let mut package = Package {
        name: "serde".to_owned(),
        ours: false,
        license: Some("MIT".to_owned()),
        source: Some(CRATES_IO.to_owned()),
        dependencies: Vec::new(),
    };
    assert!(check_package(&package).is_empty());
    package.source = Some("git+https://example.org/serde".to_owned());
    assert_eq!(check_package(&package).len(), 1);
    package.source = None;
    assert_eq!(
        check_package(&package).len(),
        1,
        "a path outside the workspace"
    );
    package.license = None;
    assert_eq!(check_package(&package).len(), 2);
}
