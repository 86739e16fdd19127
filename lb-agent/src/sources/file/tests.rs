use std::{fs, path::PathBuf};

use super::Watched;

/// A file of this test's own, gone when dropped.
struct File(PathBuf);

impl File {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("lb-agent-file-{name}-{}", std::process::id()));
        fs::write(&path, "one").unwrap();
        Self(path)
    }

    fn replace(&self, content: &str) {
        let beside = self.0.with_extension("new");
        fs::write(&beside, content).unwrap();
        fs::rename(beside, &self.0).unwrap();
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn looks(watched: &mut Watched, count: usize) -> Vec<Option<String>> {
    (0..count).map(|_| watched.look().unwrap()).collect()
}

fn told(content: &str) -> Option<String> {
    Some(content.to_owned())
}

#[test]
fn an_unchanged_file_tells_nothing() {
    let file = File::new("same");
    let mut watched = Watched::new(&file.0, "one".to_owned());
    assert_eq!(looks(&mut watched, 3), [None, None, None]);
    file.replace("one");
    assert_eq!(
        looks(&mut watched, 3),
        [None, None, None],
        "another file with the same words"
    );
}

#[test]
fn an_edit_is_told_once_when_it_holds_still() {
    let file = File::new("edit");
    let mut watched = Watched::new(&file.0, "one".to_owned());
    fs::write(&file.0, "two").unwrap();
    assert_eq!(looks(&mut watched, 3), [None, told("two"), None]);
    file.replace("three");
    assert_eq!(looks(&mut watched, 3), [None, told("three"), None]);
}

#[test]
fn a_half_written_file_is_not_told() {
    let file = File::new("half");
    let mut watched = Watched::new(&file.0, "one".to_owned());
    fs::write(&file.0, "").unwrap();
    assert_eq!(looks(&mut watched, 1), [None]);
    fs::write(&file.0, "whole").unwrap();
    assert_eq!(looks(&mut watched, 2), [None, told("whole")]);
}

#[test]
fn an_edit_taken_back_is_not_told() {
    let file = File::new("back");
    let mut watched = Watched::new(&file.0, "one".to_owned());
    fs::write(&file.0, "two").unwrap();
    assert_eq!(looks(&mut watched, 1), [None]);
    fs::write(&file.0, "one").unwrap();
    assert_eq!(looks(&mut watched, 3), [None, None, None]);
}

#[test]
fn a_file_that_is_away_for_a_moment_is_waited_for() {
    let file = File::new("away");
    let mut watched = Watched::new(&file.0, "one".to_owned());
    fs::remove_file(&file.0).unwrap();
    assert_eq!(looks(&mut watched, 2), [None, None]);
    fs::write(&file.0, "two").unwrap();
    assert_eq!(looks(&mut watched, 2), [None, told("two")]);
}
