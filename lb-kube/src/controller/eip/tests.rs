use super::*;

fn read(spec: serde_json::Value) -> EipRecord {
    let object = serde_json::json!({"metadata": {"name": "pool"}, "spec": spec});
    record(&serde_json::from_value(object).unwrap())
}

#[test]
fn a_status_comes_back_as_it_was_written() {
    let claim = |address: &str, state| Claim {
        address: address.parse().unwrap(),
        service: "a/web".into(),
        ports: ["TCP/80".parse().unwrap()].into(),
        state,
    };
    let since = lb_core::allocate::UnixTime(1_795_000_000);
    let written = PoolStatus {
        claims: vec![
            claim("10.0.0.1", ClaimState::Held),
            claim("10.0.0.2", ClaimState::Unused { since }),
            claim("fd00::1", ClaimState::Resting { since }),
        ],
        epoch: Some(7),
        usage: Usage {
            used: [(
                "10.0.0.1".parse().unwrap(),
                vec!["a/web".into(), "b/x".into()],
            )]
            .into(),
            usage: 1,
            pool_size: 256,
            is_occupied: false,
            ends: Some(("10.0.0.0".parse().unwrap(), "10.0.0.255".parse().unwrap())),
            is_ready: true,
        },
        conditions: vec![Condition {
            kind: "Ready",
            status: Some(true),
            reason: "Available".to_owned(),
            message: String::new(),
        }],
    };
    let object = status(&EipStatus::default(), &written);
    assert_eq!(object.used["10.0.0.1"], "a/web;b/x");
    assert_eq!(object.v4, Some(true));
    assert_eq!(pool_status(&object), written);
}

#[test]
fn a_time_of_a_condition_moves_with_its_status_only() {
    let condition = |status| Condition {
        kind: "Ready",
        status: Some(status),
        reason: "R".to_owned(),
        message: String::new(),
    };
    let mut before = status::of_pool(&[], &[condition(true)]);
    before[0].last_transition_time = "2020-01-01T00:00:00Z".to_owned();
    let same = status::of_pool(&before, &[condition(true)]);
    assert_eq!(same[0].last_transition_time, before[0].last_transition_time);
    let other = status::of_pool(&before, &[condition(false)]);
    assert_ne!(
        other[0].last_transition_time,
        before[0].last_transition_time
    );
}

#[test]
fn what_is_wrong_makes_a_pool_invalid_and_nothing_else() {
    let fine =
        read(serde_json::json!({"address": "10.0.0.0/24", "addresses": ["fd00::1-fd00::9"]}));
    assert_eq!(fine.pool.invalid, None);
    assert_eq!(fine.pool.ranges.len(), 2);
    let wrong = read(serde_json::json!({"address": "10.0.0.0/24", "addresses": ["x"]}));
    assert!(wrong.pool.invalid.as_ref().unwrap().contains("`x`"));
    let operator = serde_json::json!([{"matchExpressions": [{"key": "a", "operator": "Near"}]}]);
    let wrong = read(serde_json::json!({"address": "10.0.0.1", "serviceSelectors": operator}));
    assert!(wrong.pool.invalid.as_ref().unwrap().contains("Near"));
}
