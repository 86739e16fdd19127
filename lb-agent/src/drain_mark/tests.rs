use super::*;

#[test]
fn the_mark_outlives_whoever_set_it_and_goes_when_taken_off() {
    let socket = std::env::temp_dir().join(format!("lb-agent-mark-{}.sock", std::process::id()));
    let mark = DrainMark::beside(&socket);
    mark.set(None).unwrap();
    assert_eq!(mark.read().unwrap(), None);

    let drain = Drain {
        flows_wait: Duration::from_secs(7),
    };
    mark.set(Some(drain)).unwrap();
    assert_eq!(DrainMark::beside(&socket).read().unwrap(), Some(drain));

    // Made by hand, with nothing in it.
    fs::write(mark.path(), "").unwrap();
    let drain = mark.read().unwrap().unwrap();
    assert_eq!(drain.flows_wait, FLOWS_WAIT_DEFAULT);

    mark.set(None).unwrap();
    assert!(!mark.path().exists());
}
