use super::{changes_since, commit_of};

#[test]
fn the_commit_of_a_page_is_read() {
    assert_eq!(
        commit_of("# Packets\n\ncommit: 0123abc\ndate: today\n"),
        Some("0123abc")
    );
    assert_eq!(commit_of("# Packets\n"), None);
}

#[test]
fn an_unknown_commit_is_told_from_an_old_one() {
    assert_eq!(changes_since("HEAD"), Some(0));
    assert_eq!(
        changes_since("0000000000000000000000000000000000000000"),
        None
    );
}
