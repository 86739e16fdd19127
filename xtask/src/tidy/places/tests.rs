use super::{HOMES, check_against};
use crate::tidy::source::Source;

fn findings(text: String) -> usize {
    check_against(&Source::new("a.md", text), "/src/clone-of-mine").len()
}

#[test]
fn paths_of_one_machine_are_found() {
    assert_eq!(findings(format!("cd {}anna/src\n", HOMES[0])), 1);
    assert_eq!(findings("see /src/clone-of-mine/target\n".to_owned()), 1);
    assert_eq!(findings("/src/clone-of-mine\n".to_owned()), 1);
    assert_eq!(
        findings("see ../a/src/clone-of-mine\n".to_owned()),
        0,
        "the end of a longer path"
    );
    assert_eq!(findings(format!("{}$USER and {}\n", HOMES[0], HOMES[1])), 0);
}
