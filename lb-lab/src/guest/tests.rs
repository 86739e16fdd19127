use super::{modules::depends, pins::parse, status};
use crate::debian::cache_key;

#[test]
fn packages_of_one_name_make_one_kernel() {
    let hash = "0123456789abcdef".repeat(4);
    let text = format!("# comment\n7.3 sid binary 7.3-1 {hash}\n\n7.3 sid modules 7.3-1 {hash}\n");
    let kernels = parse(&text).expect("well-formed");
    assert_eq!(kernels.len(), 1);
    assert_eq!(kernels[0].packages.len(), 2);
    assert_eq!(
        cache_key(&kernels[0].name, &kernels[0].packages),
        "7.3-0123456789ab-0123456789ab"
    );
}

#[test]
fn a_pin_without_a_whole_hash_is_refused() {
    let error = parse("5.10 bullseye linux 5.10 abc\n").unwrap_err();
    assert!(error.to_string().contains("SHA-256"), "{error}");
    assert!(parse("5.10 bullseye linux 5.10\n").is_err());
}

#[test]
fn a_module_says_what_it_needs() {
    let module = b"\x7fELF\0license=GPL\0depends=llc,stp-x\0name=bridge\0";
    assert_eq!(depends(module), ["llc", "stp_x"]);
    assert!(depends(b"\0depends=\0").is_empty() && depends(b"nothing").is_empty());
}

#[test]
fn the_last_status_on_the_console_counts() {
    assert_eq!(
        status("x\r\nguest-status: 3\r\nreboot: Power down\r\n"),
        Some(3)
    );
    assert_eq!(status("Kernel panic - not syncing"), None);
}
