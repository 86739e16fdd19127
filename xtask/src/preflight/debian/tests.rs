use std::fs;

use super::{PACKAGES, is_ubuntu};

#[test]
fn ubuntu_and_its_derivatives_are_told_from_debian() {
    let path = std::env::temp_dir().join(format!("os-release-{}", std::process::id()));
    for (text, expected) in [
        ("NAME=x\nID=ubuntu\n", true),
        ("ID=pop\nID_LIKE=\"ubuntu debian\"\n", true),
        ("ID=debian\nHOME_URL=https://ubuntu.example\n", false),
    ] {
        fs::write(&path, text).expect("temporary file");
        assert_eq!(is_ubuntu(&path), expected, "{text}");
    }
    fs::remove_file(&path).expect("temporary file");
}

#[test]
fn every_package_says_what_it_is_for() {
    for package in PACKAGES {
        assert!(
            !package.reason.is_empty() && !package.cost.is_empty() && !package.program.is_empty()
        );
    }
}
