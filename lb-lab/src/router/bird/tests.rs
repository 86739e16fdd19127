use super::*;

/// BIRD 2.0.12's answer, shortened: two paths to one destination, one of them stale, then another destination.
const ANSWER: &str = "BIRD 2.0.12 ready.
Table master4:
10.99.0.1/32         unicast [node1 16:32:11.123] * (100) [AS65000i]
\tvia 10.0.0.11 on lan0
\tType: BGP univ
\tBGP.origin: IGP
\tBGP.as_path: 65000 65000
\tBGP.next_hop: 10.0.0.11
\tBGP.med: 20
\tBGP.local_pref: 100
\tBGP.community: (65000,100) (65535,0)
\tBGP.large_community: (65000, 1, 2)
\tBGP.ext_community: (rt, 65000, 7)
                     unicast [node2 16:32:12.001] (100s) [AS65000i]
\tvia 10.0.0.12 on lan0
\tType: BGP univ
\tBGP.next_hop: 10.0.0.12

Table master6:
fd99::1/128          unicast [node1 16:32:11.125] * (100) [AS65000i]
\tvia fd00::11 on lan0
\tType: BGP univ
\tBGP.next_hop: fd00::11 fe80::1
";

#[test]
fn every_path_is_read_with_its_attributes() {
    let routes = parse_routes(ANSWER, |name| match name {
        "node1" => Some([10, 0, 0, 11].into()),
        _ => None,
    });
    let [first, second, third] = &routes[..] else {
        panic!("{routes:?}");
    };
    assert_eq!(first.neighbour, Some([10, 0, 0, 11].into()));
    assert_eq!(first.prefix, Some(([10, 99, 0, 1].into(), 32)));
    assert_eq!(first.next_hop, Some([10, 0, 0, 11].into()));
    assert_eq!((first.med, first.local_pref), (Some(20), Some(100)));
    assert_eq!(first.as_path, [65_000, 65_000]);
    assert_eq!(first.communities, set(&["65000:100", "65535:0"]));
    assert_eq!(first.large_communities, set(&["65000:1:2"]));
    assert_eq!(first.extended_communities, set(&["rt:65000:7"]));
    assert!(!first.stale && second.stale && !third.stale);
    assert_eq!((second.prefix, second.neighbour), (first.prefix, None));
    assert_eq!(third.prefix, parse_prefix("fd99::1/128"));
    assert_eq!(third.next_hop, "fd00::11".parse().ok());
}

fn set(items: &[&str]) -> BTreeSet<String> {
    items.iter().map(|item| (*item).to_owned()).collect()
}
