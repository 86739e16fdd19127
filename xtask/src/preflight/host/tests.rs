use super::kernel_refusal;

#[test]
fn a_kernel_below_the_least_is_refused_in_one_sentence() {
    let refusal = kernel_refusal("6.5.13-generic").expect("too old");
    assert_eq!(
        refusal,
        "kernel 6.5.13-generic is too old: Fairlead needs Linux 6.6 or later"
    );
    assert!(kernel_refusal("unknown").is_some());
    assert_eq!(kernel_refusal("6.6.0"), None);
    assert_eq!(kernel_refusal("7.2.1-rc3"), None);
}

#[test]
fn free_room_is_read() {
    assert!(super::free_bytes(std::path::Path::new("/")).expect("stat") > 0);
}
