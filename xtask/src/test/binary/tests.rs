use serde_json::json;

use super::{TestBinary, Tier, package_of};

#[test]
fn package_ids_of_both_forms_are_read() {
    assert_eq!(
        package_of("path+file:///src/lb-core#0.1.0").as_deref(),
        Some("lb-core")
    );
    assert_eq!(
        package_of("path+file:///src/tests#fairlead-tests@0.1.0").as_deref(),
        Some("fairlead-tests")
    );
    assert_eq!(package_of("no fragment"), None);
}

#[test]
fn a_test_artifact_becomes_a_binary_of_its_tier() {
    let mut message = json!({
        "reason": "compiler-artifact",
        "package_id": "path+file:///src/tests#fairlead-tests@0.1.0",
        "manifest_path": "/src/tests/Cargo.toml",
        "target": {"name": "fixtures", "kind": ["test"]},
        "profile": {"test": true},
        "executable": "/src/target/debug/deps/fixtures-1",
    });
    let fixtures = TestBinary::from_message(&message).expect("a test binary");
    assert_eq!(
        (fixtures.name.as_str(), fixtures.tier),
        ("fairlead-tests::fixtures", Tier::Unit)
    );
    assert!(
        fixtures.is_named("fixtures")
            && fixtures.is_named("fairlead-tests")
            && !fixtures.is_named("fix")
    );

    message["target"]["name"] = json!("router");
    assert_eq!(
        TestBinary::from_message(&message).map(|binary| binary.tier),
        Some(Tier::Lab)
    );

    message["target"]["kind"] = json!(["lib"]);
    assert_eq!(
        TestBinary::from_message(&message)
            .map(|binary| binary.name)
            .as_deref(),
        Some("fairlead-tests")
    );

    message["profile"]["test"] = json!(false);
    assert!(
        TestBinary::from_message(&message).is_none(),
        "a plain binary is no test"
    );
}
