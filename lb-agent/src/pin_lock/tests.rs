use super::{Error, PinLock};

#[test]
fn a_folder_has_one_agent_at_a_time() {
    let folder = std::env::temp_dir().join(format!("lb-agent-pins-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let first = PinLock::take(&folder).unwrap();
    assert!(matches!(PinLock::take(&folder), Err(Error::Taken(path)) if path == folder));
    drop(first);
    PinLock::take(&folder).unwrap();
    std::fs::remove_dir(&folder).unwrap();
}
