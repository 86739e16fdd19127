//! What a client's socket sees of replies that are more than one plain packet: errors of pods and nodes. Needs root.

use std::{
    fmt::Write as _,
    io::ErrorKind,
    net::{IpAddr, SocketAddr, UdpSocket},
    ops::Range,
};

use anyhow::{Context as _, Result, ensure};
use fairlead_tests::steered::{ANSWER, Steered, node_of};
use lb_lab::{Pair, Profile, node_name, vip};

/// A service port behind which nobody listens.
const CLOSED_PORT: u16 = 9000;
/// Fewer than a host sends errors to one receiver at once (net.ipv4.icmp_ratelimit: a burst of six).
const SOURCE_PORTS: Range<u16> = 25_000..25_005;

#[test]
fn a_closed_port_of_a_pod_or_a_node_is_heard_by_the_clients_socket() -> Result<()> {
    let mut steered = Steered::start(&Profile::default())?;
    let pods: Vec<_> = steered
        .lab
        .pods()
        .map(|pod| Ok((pod.addresses(), node_of(pod.name())?)))
        .collect::<Result<_>>()?;
    let nodes: Vec<_> = steered
        .lab
        .nodes()
        .map(|node| (node.addresses(), node.number()))
        .collect();
    let services = steered.lab.web_service("web", 1)
        + &closed("pods", 2, &pods)?
        + &closed("nodes", 3, &nodes)?;
    steered.edit(&services)?;
    steered.wait_applied(8)?;
    for address in [vip(2).both(), vip(3).both()].concat() {
        steered.enter_by(address, &[1, 2, 3])?;
        for port in SOURCE_PORTS {
            let ask = || refusal((address, CLOSED_PORT).into(), port);
            let error = steered.lab.client_namespace().run(ask)?;
            ensure!(
                error == ErrorKind::ConnectionRefused,
                "{address} from port {port}: {error}"
            );
        }
    }
    let verdicts = steered.all_verdicts()?;
    let told = verdicts.get("icmp-error-replied").copied();
    ensure!(told == Some(4 * SOURCE_PORTS.len() as u64), "{verdicts:?}");
    Ok(())
}

/// A UDP service on [`vip`] `number` over these endpoints, none of which listens.
fn closed(name: &str, number: u8, endpoints: &[(Pair, u8)]) -> Result<String> {
    let Pair { v4, v6 } = vip(number);
    let mut service = format!(
        "  - name: default/{name}
    addresses: [{v4}, \"{v6}\"]
    ports: [{{name: closed, protocol: UDP, port: {CLOSED_PORT}}}]
    endpoints:
"
    );
    for (addresses, node) in endpoints {
        for address in addresses.both() {
            let node = node_name(*node);
            writeln!(
                service,
                "      - {{address: \"{address}\", node: {node}, ports: {{closed: {CLOSED_PORT}}}}}"
            )?;
        }
    }
    Ok(service)
}

/// What a connected socket's user is told after a datagram.
fn refusal(target: SocketAddr, source_port: u16) -> Result<ErrorKind> {
    let any: IpAddr = match target {
        SocketAddr::V4(_) => [0; 4].into(),
        SocketAddr::V6(_) => [0; 16].into(),
    };
    let socket = UdpSocket::bind((any, source_port))?;
    socket.connect(target)?;
    socket.set_read_timeout(Some(ANSWER))?;
    socket.send(b"anybody?")?;
    let error = socket.recv(&mut [0; 64]).err();
    Ok(error.context("somebody answered")?.kind())
}
