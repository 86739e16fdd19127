use super::kernel_refusal;

#[test]
fn a_kernel_below_the_least_is_refused_in_one_sentence() {
    let refusal = kernel_refusal("5.9.16-generic").expect("too old");
    assert_eq!(
        refusal,
        "kernel 5.9.16-generic is too old: Fairlead needs Linux 5.10 or later"
    );
    assert!(kernel_refusal("unknown").is_some());
    assert_eq!(kernel_refusal("5.10.0-46-cloud-amd64"), None);
    assert_eq!(kernel_refusal("7.2.1-rc3"), None);
}

#[test]
fn free_room_is_read() {
    assert!(super::free_bytes(std::path::Path::new("/")).expect("stat") > 0);
}
