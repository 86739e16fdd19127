use super::Version;

#[test]
fn kernels_and_tools_are_compared_by_number() {
    assert_eq!(
        Version::parse("6.18.44-fc-v669\n"),
        Some(Version(6, 18, 44))
    );
    assert_eq!(Version::parse("6.6-rc1"), Some(Version(6, 6, 0)));
    assert!(Version::parse("6.18.0") > Version::parse("6.6.99"));
    assert!(Version::parse("0.10.2") < Version::parse("0.10.3"));
    assert_eq!(Version::parse("six"), None);
    assert_eq!(Version::parse("6"), None);
}
