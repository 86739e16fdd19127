use super::{super::iptables, Direction, Packet, Ruleset};

const POD: &str = "10.1.1.2";

fn packet(direction: Direction, pod: &str) -> Packet<'static> {
    Packet {
        direction,
        pod: pod.parse().unwrap(),
        uplink: "eth0",
    }
}

fn ruleset(policy: &str, rules: &str) -> Ruleset {
    let saved =
        format!("*filter\n:FORWARD {policy} [0:0]\n:A - [0:0]\n:B - [0:0]\n{rules}\nCOMMIT\n");
    iptables::parse(&saved, "ip")
}

/// How a request and a reply are dropped: `None` not, `Some(by_policy)`.
fn drops(policy: &str, rules: &str) -> [Option<bool>; 2] {
    let ruleset = ruleset(policy, rules);
    [Direction::ToPod, Direction::FromPod].map(|direction| {
        ruleset
            .drops(packet(direction, POD))
            .map(|dropped| dropped.by_policy)
    })
}

const FINE: [Option<bool>; 2] = [None, None];
const BY_POLICY: [Option<bool>; 2] = [Some(true), Some(true)];

#[test]
fn a_policy_decides_where_no_rule_does() {
    assert_eq!(drops("ACCEPT", ""), FINE);
    assert_eq!(drops("DROP", ""), BY_POLICY);
    assert_eq!(drops("DROP", "-A FORWARD -j LOG"), BY_POLICY);
}

#[test]
fn dockers_rules_accept_nothing_of_ours() {
    let docker = "\
-A FORWARD -j A
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o docker0 -j B
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
-A FORWARD -i docker0 -o docker0 -j ACCEPT
-A A -i docker0 ! -o docker0 -j DROP
-A A -j RETURN
-A B -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT";
    assert_eq!(drops("DROP", docker)[0], Some(true));
}

#[test]
fn an_accepting_rule_counts_for_its_direction() {
    assert_eq!(
        drops("DROP", "-A FORWARD -d 10.1.0.0/16 -j ACCEPT"),
        [None, Some(true)]
    );
    assert_eq!(
        drops("DROP", "-A FORWARD -s 10.1.1.2/32 -j ACCEPT"),
        [Some(true), None]
    );
    assert_eq!(
        drops(
            "DROP",
            "-A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT"
        ),
        [Some(true), None]
    );
    assert_eq!(drops("DROP", "-A FORWARD ! -d 10.2.0.0/16 -j ACCEPT"), FINE);
    assert_eq!(
        drops("DROP", "-A FORWARD -d 10.1.1.3/32 -j ACCEPT"),
        BY_POLICY
    );
    assert_eq!(
        drops(
            "DROP",
            "-A FORWARD -i eth0 -j ACCEPT\n-A FORWARD -o eth+ -j ACCEPT"
        ),
        FINE
    );
}

#[test]
fn a_rule_for_some_clients_is_none_for_all() {
    assert_eq!(
        drops("DROP", "-A FORWARD -s 192.168.0.0/16 -j ACCEPT")[0],
        Some(true)
    );
    assert_eq!(drops("DROP", "-A FORWARD -s 0.0.0.0/0 -j ACCEPT"), FINE);
    assert_eq!(
        drops("ACCEPT", "-A FORWARD -s 192.168.0.0/16 -j DROP"),
        FINE
    );
}

#[test]
fn chains_are_walked_and_left() {
    let jump = "-A FORWARD -j A\n-A A -j B\n-A B -d 10.1.1.2/32 -j ACCEPT";
    assert_eq!(drops("DROP", jump), [None, Some(true)]);
    let returned = "-A FORWARD -j A\n-A A -j RETURN\n-A A -j ACCEPT";
    assert_eq!(drops("DROP", returned), BY_POLICY);
    let gone = "-A FORWARD -g A\n-A FORWARD -j ACCEPT";
    assert_eq!(drops("DROP", gone), BY_POLICY, "goto does not come back");
    let circle = "-A FORWARD -j A\n-A A -j B\n-A B -j A";
    assert_eq!(drops("DROP", circle), BY_POLICY);
}

#[test]
fn a_rule_may_drop_before_another_accepts() {
    let rules = "-A FORWARD -d 10.1.1.2/32 -j DROP\n-A FORWARD -j ACCEPT";
    assert_eq!(drops("ACCEPT", rules), [Some(false), None]);
}

#[test]
fn what_is_not_certain_is_not_reported() {
    let ports = "-A FORWARD -p tcp -m tcp --dport 8080 -j ACCEPT\n-A FORWARD -p tcp -m tcp --sport 8080 -j ACCEPT";
    assert_eq!(drops("DROP", ports), FINE, "perhaps the pod's port");
    assert_eq!(
        drops("ACCEPT", "-A FORWARD -m mark --mark 0x1 -j DROP"),
        FINE
    );
    assert_eq!(
        drops(
            "DROP",
            "-A FORWARD -m mark --mark 0x1 -g A\n-A FORWARD -j ACCEPT"
        ),
        FINE
    );
    assert_eq!(
        drops("DROP", "-A FORWARD -o docker0 -j ACCEPT")[0],
        None,
        "perhaps the pod's device"
    );
}

#[test]
fn families_do_not_mix() {
    let ruleset = ruleset("DROP", "");
    assert_eq!(ruleset.drops(packet(Direction::ToPod, "fd01::2")), None);
}
