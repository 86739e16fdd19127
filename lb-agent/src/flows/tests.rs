//! What each filter takes, and that rows are bounded while counts are not.

use lb_common::UDP;

use super::*;

fn words(address: IpAddr) -> Address {
    match address {
        IpAddr::V4(v4) => [u32::from_ne_bytes(v4.octets()), 0, 0, 0],
        IpAddr::V6(v6) => {
            let octets = v6.octets();
            [0, 4, 8, 12].map(|at| u32::from_ne_bytes(octets[at..at + 4].try_into().unwrap()))
        }
    }
}

fn flow(client: &str, vip: &str, endpoint: &str, protocol: u8, state: State) -> LiveFlow {
    let [client, vip, endpoint] =
        [client, vip, endpoint].map(|text| text.parse::<SocketAddr>().unwrap());
    LiveFlow {
        state,
        age_seconds: 9,
        idle_seconds: 1,
        expires_in_seconds: 30,
        record: Flow {
            client: words(client.ip()),
            vip: words(vip.ip()),
            endpoint: words(endpoint.ip()),
            client_port: client.port().to_be(),
            mapped_port: client.port().to_be(),
            vip_port: vip.port().to_be(),
            endpoint_port: endpoint.port().to_be(),
            protocol,
            family: if vip.is_ipv4() { 4 } else { 6 },
            ..Flow::default()
        },
    }
}

fn flows() -> [LiveFlow; 3] {
    let mut mapped = flow(
        "[2001:db8::2]:4000",
        "[fd99::1]:53",
        "[fd01::2]:5353",
        UDP,
        State::Stream,
    );
    mapped.record.mapped_port = 4001_u16.to_be();
    mapped.record.flags = Flow::FROM_GUE;
    [
        flow(
            "198.51.100.2:4000",
            "10.99.0.1:80",
            "10.1.1.2:8080",
            TCP,
            State::Established,
        ),
        flow(
            "198.51.100.3:4000",
            "10.99.0.1:443",
            "10.1.1.3:8080",
            TCP,
            State::SynReceived,
        ),
        mapped,
    ]
}

fn matched(filter: &Filter) -> Vec<u16> {
    let answer = answer(flows().into_iter(), filter, 10);
    assert_eq!((answer.total, answer.rows.len()), (3, answer.matched));
    answer.rows.iter().map(|row| row.vip.port()).collect()
}

#[test]
fn each_filter_takes_its_own() {
    let all = Filter::default();
    assert_eq!(matched(&all), [80, 443, 53]);
    let client = Prefix::new("198.51.100.2".parse().unwrap(), 31);
    assert_eq!(
        matched(&Filter {
            client,
            ..all.clone()
        }),
        [80, 443]
    );
    let vip = Some("fd99::1".parse().unwrap());
    assert_eq!(matched(&Filter { vip, ..all.clone() }), [53]);
    let port = Some(443);
    assert_eq!(
        matched(&Filter {
            port,
            ..all.clone()
        }),
        [443]
    );
    let protocol = Some(Protocol::Udp);
    assert_eq!(
        matched(&Filter {
            protocol,
            ..all.clone()
        }),
        [53]
    );
    let endpoint = Some("10.1.1.2".parse().unwrap());
    assert_eq!(
        matched(&Filter {
            endpoint,
            ..all.clone()
        }),
        [80]
    );
    let state = Some(State::SynReceived);
    assert_eq!(
        matched(&Filter {
            state,
            ..all.clone()
        }),
        [443]
    );
    assert!(
        matched(&Filter {
            state,
            protocol,
            ..all
        })
        .is_empty()
    );
}

#[test]
fn a_row_says_what_the_record_holds() {
    let answer = answer(flows().into_iter().skip(2), &Filter::default(), 1);
    let wanted = FlowRow {
        protocol: "UDP".to_owned(),
        client: "[2001:db8::2]:4000".parse().unwrap(),
        vip: "[fd99::1]:53".parse().unwrap(),
        endpoint: "[fd01::2]:5353".parse().unwrap(),
        mapped_port: Some(4001),
        state: "stream".to_owned(),
        age_seconds: 9,
        idle_seconds: 1,
        expires_in_seconds: 30,
        by_gue: true,
    };
    assert_eq!(answer.rows, [wanted]);
}

#[test]
fn rows_are_bounded_and_all_are_counted() {
    let answer = answer(flows().into_iter(), &Filter::default(), 1);
    assert_eq!((answer.total, answer.matched, answer.rows.len()), (3, 3, 1));
    let states: Vec<_> = answer
        .states
        .iter()
        .map(|(state, count)| (state.as_str(), *count))
        .collect();
    assert_eq!(
        states,
        [("established", 1), ("stream", 1), ("syn-received", 1)]
    );
}
