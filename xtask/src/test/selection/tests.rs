use serde_json::json;

use super::Selection;
use crate::test::binary::{Share, TestBinary};

fn binary(package: &str, target: &str, kind: &str) -> TestBinary {
    let message = json!({
        "reason": "compiler-artifact",
        "package_id": format!("path+file:///src/x#{package}@0.1.0"),
        "manifest_path": "/src/x/Cargo.toml",
        "target": {"name": target, "kind": [kind]},
        "profile": {"test": true},
        "executable": "/src/target/debug/deps/x-1",
    });
    TestBinary::from_message(&message).expect("the message of a test binary")
}

fn binaries() -> [TestBinary; 4] {
    [
        binary("fairlead-tests", "kernels", "test"),
        binary("fairlead-tests", "router", "test"),
        binary("fairlead-tests", "fixtures", "test"),
        binary("lb-core", "lb_core", "lib"),
    ]
}

fn chosen(word: Option<&str>) -> Vec<(String, Option<String>)> {
    let binaries = binaries();
    let selection = Selection::parse(word, None);
    let pairs = selection.choose(&binaries).into_iter();
    pairs
        .map(|(binary, filter)| (binary.name.clone(), filter.map(str::to_owned)))
        .collect()
}

fn names(word: Option<&str>) -> Vec<String> {
    chosen(word).into_iter().map(|(name, _)| name).collect()
}

#[test]
fn labs_come_last_and_a_tier_holds_only_its_own() {
    assert_eq!(
        names(None),
        [
            "fairlead-tests::fixtures",
            "lb-core",
            "fairlead-tests::router",
            "fairlead-tests::kernels",
        ]
    );
    assert_eq!(names(Some("unit")), ["fairlead-tests::fixtures", "lb-core"]);
    assert_eq!(names(Some("lab")), ["fairlead-tests::router"]);
    assert_eq!(names(Some("kernels")), ["fairlead-tests::kernels"]);
}

#[test]
fn the_name_of_a_binary_runs_it_whole_and_any_other_word_filters_all() {
    assert_eq!(
        chosen(Some("router")),
        [("fairlead-tests::router".to_owned(), None)]
    );
    let filtered = chosen(Some("rout"));
    assert_eq!(filtered.len(), 4);
    assert!(
        filtered
            .iter()
            .all(|(_, filter)| filter.as_deref() == Some("rout"))
    );
}

#[test]
fn soak_runs_what_all_others_leave_out() {
    let all = Selection::parse(Some("soak"), None);
    assert_eq!(all.share(), Share::Soak);
    assert_eq!(all.choose(&binaries()).len(), 4);
    let some = Selection::parse(Some("soak"), Some("linux"));
    let binaries = binaries();
    let filtered = some.choose(&binaries);
    assert!(filtered.iter().all(|(_, filter)| *filter == Some("linux")));
    for word in [None, Some("lab"), Some("router")] {
        assert_eq!(Selection::parse(word, None).share(), Share::Usual);
    }
}
