use lb_core::model::{Prefix, RouteSettings, policy::applied};

use super::*;

/// As GoBGP's manual has it, with the parts that only its own router side knows.
const POLICY: &str = r#"
[[defined-sets.prefix-sets]]
  prefix-set-name = "vips"
  [[defined-sets.prefix-sets.prefix-list]]
    ip-prefix = "10.99.0.0/24"
    masklength-range = "32..32"
[[defined-sets.neighbor-sets]]
  neighbor-set-name = "spines"
  neighbor-info-list = ["10.0.0.1", "10.0.1.0/24"]
[[defined-sets.bgp-defined-sets.community-sets]]
  community-set-name = "c"
  community-list = ["65000:1"]

[[policy-definitions]]
  name = "out"
  [[policy-definitions.statements]]
    name = "to-spines"
    [policy-definitions.statements.conditions.match-neighbor-set]
      neighbor-set = "spines"
      match-set-options = "any"
    [policy-definitions.statements.conditions.match-prefix-set]
      prefix-set = "vips"
    [policy-definitions.statements.actions]
      route-disposition = "accept-route"
      [policy-definitions.statements.actions.bgp-actions]
        set-med = "+20"
        set-local-pref = 110
        set-next-hop = "self"
        [policy-definitions.statements.actions.bgp-actions.set-as-path-prepend]
          as = "last-as"
          repeat-n = 2
        [policy-definitions.statements.actions.bgp-actions.set-community]
          options = "ADD"
          [policy-definitions.statements.actions.bgp-actions.set-community.set-community-method]
            communities-list = ["65000:100"]
  [[policy-definitions.statements]]
    name = "by-path"
    [policy-definitions.statements.conditions.bgp-conditions.match-as-path-set]
      as-path-set = "a"
    [policy-definitions.statements.actions]
      route-disposition = "reject-route"
[[policy-definitions]]
  name = "unused"

[global.config]
  as = 65000
[global.apply-policy.config]
  import-policy-list = ["unused"]
  export-policy-list = ["out", "missing"]
  default-export-policy = "reject-route"
"#;

fn remote(address: &str) -> Remote {
    Remote::Address(address.parse().unwrap())
}

fn says(policy: &Policy, peer: &str, vip: &str) -> Option<RouteSettings> {
    let vip = Prefix::host(vip.parse().unwrap());
    applied(
        &policy.towards(&remote(peer)),
        vip,
        &RouteSettings::default(),
    )
}

#[test]
fn what_announcing_has_a_use_for_is_followed_for_the_peers_that_are_meant() {
    let (policy, _) = Policy::read(POLICY).unwrap();
    for peer in ["10.0.0.1", "10.0.1.7"] {
        let said = says(&policy, peer, "10.99.0.1").unwrap();
        assert_eq!(
            (said.med, said.local_pref, said.prepend),
            (Some(20), Some(110), Some(2))
        );
        assert_eq!(said.communities, [65_000 << 16 | 100].into());
        assert_eq!(
            says(&policy, peer, "10.98.0.1"),
            None,
            "the rest is rejected"
        );
    }
    assert_eq!(says(&policy, "10.0.2.1", "10.99.0.1"), None);
}

#[test]
fn every_clause_that_is_left_out_is_named() {
    let (_, findings) = Policy::read(POLICY).unwrap();
    let said = findings.ignored().unwrap();
    for words in [
        "defined-sets.bgp-defined-sets: sets of this kind",
        "global.config: the BgpConf says it",
        "global.apply-policy.config.import-policy-list: nothing is learnt",
        "export-policy-list missing: there is no such policy",
        "policy out, statement to-spines: actions.bgp-actions.set-next-hop: the action is not supported",
        "policy out, statement by-path: conditions.bgp-conditions: the condition is not supported, so the whole statement",
    ] {
        assert!(said.contains(words), "{words}\n{said}");
    }
    assert_eq!(findings.0.len(), 6, "{said}");
}

#[test]
fn what_makes_no_sense_is_named_and_not_followed() {
    let cases = [
        (
            "set-med = \"+20\"",
            "set-med = \"much\"",
            "set-med: \"much\" makes no sense",
        ),
        (
            "as = \"last-as\"",
            "as = \"65010\"",
            "only as = \"last-as\"",
        ),
        (
            "\"65000:100\"",
            "\"^65000:.*$\"",
            "patterns are not supported",
        ),
        (
            "options = \"ADD\"",
            "options = \"SWAP\"",
            "options swap is not ADD",
        ),
        (
            "\"32..32\"",
            "\"32\"",
            "masklength-range 32 is not like 24..32",
        ),
        (
            "prefix-set = \"vips\"",
            "prefix-set = \"other\"",
            "there is no such set, so the whole",
        ),
        ("10.0.1.0/24", "10.0.1.0/33", "is no network like"),
        (
            "match-set-options = \"any\"",
            "match-set-options = \"all\"",
            "match-set-options all is not known",
        ),
    ];
    for (good, bad, words) in cases {
        assert!(POLICY.contains(good), "{good}");
        let (_, findings) = Policy::read(&POLICY.replace(good, bad)).unwrap();
        let said = findings.ignored().unwrap();
        assert!(said.contains(words), "{words}\n{said}");
    }
    let error = Policy::read("[global\n").unwrap_err();
    assert!(error.contains("line 1") && !error.contains('\n'), "{error}");
}

#[test]
fn nothing_in_it_changes_nothing() {
    let (policy, findings) = Policy::read("").unwrap();
    assert!(findings.is_empty());
    assert!(policy.towards(&remote("10.0.0.1")).is_empty());
}
