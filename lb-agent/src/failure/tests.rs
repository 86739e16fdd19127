use super::{Failure, chain};

#[derive(Debug, thiserror::Error)]
#[error("no room on the disk")]
struct Cause;

#[derive(Debug, thiserror::Error)]
enum Told {
    #[error("cannot write the file")]
    Apart(#[source] Cause),
    #[error("cannot write the file: {0}")]
    Quoted(#[source] Cause),
}

#[test]
fn every_cause_is_told_once() {
    let whole = "cannot write the file: no room on the disk";
    assert_eq!(chain(&Told::Apart(Cause)), whole);
    assert_eq!(chain(&Told::Quoted(Cause)), whole);
}

#[test]
fn what_cannot_run_here_says_so_first() {
    let failure = Failure::CannotRunHere("no BTF".to_owned());
    assert_eq!(failure.to_string(), "cannot run here: no BTF");
}
