//! What a client's socket sees of replies that are more than one plain packet: errors of pods and nodes, datagrams in
//! fragments, segments that the kernel has not cut yet. Needs root.

use std::{
    fmt::Write as _,
    io::{self, ErrorKind},
    net::{IpAddr, SocketAddr, UdpSocket},
    ops::Range,
    os::fd::AsRawFd as _,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use fairlead_tests::steered::{ANSWER, SILENCE, Steered, node_of};
use lb_lab::{
    Pair, Pod, Profile, Request, UPLINK, node_name, output, set_transmit_checksum, vip, wait_until,
};

/// A service port behind which nobody listens.
const CLOSED_PORT: u16 = 9000;
/// A service port behind which pods answer with as many bytes as they are asked for.
const LARGE_PORT: u16 = 9001;
const SOON: Duration = Duration::from_secs(30);
/// Fewer than a host sends errors to one receiver at once (net.ipv4.icmp_ratelimit: a burst of six).
const SOURCE_PORTS: Range<u16> = 25_000..25_005;

#[test]
fn a_closed_port_of_a_pod_or_a_node_is_heard_by_the_clients_socket() -> Result<()> {
    let mut steered = Steered::start(&Profile::default())?;
    let pods = pods(&steered)?;
    let nodes: Vec<_> = steered
        .lab
        .nodes()
        .map(|node| (node.addresses(), node.number()))
        .collect();
    let services = steered.lab.web_service("web", 1)
        + &udp_service("pods", 2, CLOSED_PORT, &pods)?
        + &udp_service("nodes", 3, CLOSED_PORT, &nodes)?;
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

#[test]
fn large_replies_arrive_whole_with_offloads_on_and_off() -> Result<()> {
    let mut steered = Steered::start_hostile(&Profile::default())?;
    let pods = pods(&steered)?;
    let services = steered.lab.web_service("web", 1) + &udp_service("large", 2, LARGE_PORT, &pods)?;
    steered.edit(&services)?;
    steered.wait_applied(6)?;
    for address in vip(2).both() {
        steered.enter_by(address, &[1, 2, 3])?;
    }
    let answering = steered.lab.pods().map(Answering::start);
    let answering: Vec<_> = answering.collect::<Result<_>>()?;
    let before = steered.lab.tcp_counters()?;
    let cut = replies_of(&steered, 30_000)?;
    for node in steered.lab.nodes() {
        let uplink = || Ok(set_transmit_checksum(UPLINK, false)?);
        node.namespace().run(uplink)?;
    }
    let summed = replies_of(&steered, 31_000)?;
    for pod in steered.lab.pods() {
        let link = || Ok(set_transmit_checksum(UPLINK, false)?);
        pod.namespace().run(link)?;
    }
    let whole = replies_of(&steered, 32_000)?;
    let counted = steered.lab.tcp_counters()?.since(before);
    ensure!(counted.wrong_checksums == 0, "{counted:?}");
    // Frames of up to 64 KiB left the pods as long as they might.
    ensure!(
        cut * 4 < whole && summed * 4 < whole,
        "{cut}, {summed} and {whole} packets"
    );
    drop(answering);
    Ok(())
}

/// Everything comes in by node 1, and everything goes back by it: large transfers both ways, by connections whose pods are on all nodes,
/// with offloads on and off.
#[test]
fn replies_go_back_by_the_node_that_the_connection_came_in_by() -> Result<()> {
    let mut steered = Steered::start_hostile(&Profile::default())?;
    let web = steered.lab.web_service("web", 1);
    let returned = web.replace("    ports:\n", "    return: ingress\n    ports:\n");
    // Another Service tells when the file is in force.
    steered.edit(&(returned + &steered.lab.web_service("other", 2)))?;
    steered.wait_applied(8)?;
    for address in vip(1).both() {
        steered.enter_by(address, &[1])?;
    }
    gateways_are_kept(&steered, 1)?;
    let before = steered.lab.tcp_counters()?;
    transfers(&steered, 20_000..20_012)?;
    for node in steered.lab.nodes() {
        let uplink = || Ok(set_transmit_checksum(UPLINK, false)?);
        node.namespace().run(uplink)?;
    }
    transfers(&steered, 21_000..21_012)?;
    let counted = steered.lab.tcp_counters()?.since(before);
    ensure!(counted.wrong_checksums == 0, "{counted:?}");
    let mut sent_back = 0;
    for node in 2..=3 {
        // A last segment may be between its two counts.
        sent_back += wait_until(SOON, "every reply goes back by node 1", || {
            let verdicts = steered.verdicts(node)?;
            let count = |label: &str| verdicts.get(label).copied().unwrap_or(0);
            let (replied, returned) = (count("replied"), count("returned-by-ingress"));
            Ok((replied > 0 && replied == returned).then_some(returned))
        })?;
    }
    // The kernel has cut segments on the way.
    let forwarded = steered.verdict(1, "return-forwarded")?;
    ensure!(forwarded >= sent_back, "{forwarded} of {sent_back}");
    ensure!(
        steered.verdict(1, "return-unroutable")? == 0,
        "a next hop was unknown"
    );
    Ok(())
}

/// Nobody else has dealings with the gateways, and a firewall drops what the stack would ask their MACs for.
fn gateways_are_kept(steered: &Steered, node: u8) -> Result<()> {
    let node = steered.lab.node(node);
    for router in node.router().both() {
        wait_until(SOON, "the gateway's MAC", || {
            let mut command = Command::new("ip");
            command.args(["neighbour", "show", &router.to_string()]);
            let entry = output(node.namespace(), command)?;
            let is_kept = entry.contains("lladdr") && entry.contains("managed");
            ensure!(is_kept && entry.contains("proto 108"), "{entry}");
            Ok(Some(()))
        })?;
    }
    Ok(())
}

/// A megabyte down from each of some connections.
fn transfers(steered: &Steered, ports: Range<u16>) -> Result<()> {
    const BYTES: usize = 1 << 20;
    let client = steered.lab.client();
    for target in Steered::targets() {
        for port in ports.clone() {
            let request = Request {
                download_bytes: BYTES,
                ..Request::to(target).from_port(port)
            };
            let seen = client.http(&request).result?;
            ensure!(seen.padding.len() == BYTES, "{} bytes", seen.padding.len());
        }
    }
    Ok(())
}

#[test]
fn other_programs_on_egress_still_run() -> Result<()> {
    let steered = Steered::start(&Profile::default())?;
    let request = |port| Request {
        time_limit: SILENCE,
        ..Request::to(Steered::targets()[0]).from_port(port)
    };
    let client = steered.lab.client();
    let dropping: Vec<_> = (1..=3)
        .map(|node| steered.lab.node(node).drop_egress())
        .collect::<Result<_>>()?;
    let silent = client.http(&request(20_000)).result;
    ensure!(silent.is_err(), "the program behind ours did not run");
    ensure!(
        steered.all_verdicts()?.contains_key("replied"),
        "ours did not run before it"
    );
    drop(dropping);
    // The kernel takes a link off some milliseconds after its last descriptor is closed.
    let patient = Request::to(Steered::targets()[0]).from_port(20_001);
    client.http(&patient).result.map(drop)
}

/// A megabyte by TCP from pods of all nodes, and datagrams in fragments and in one call; how many packets the agents
/// counted as replies.
fn replies_of(steered: &Steered, first_port: u16) -> Result<u64> {
    let replied =
        || -> Result<u64> { Ok(steered.all_verdicts()?.get("replied").copied().unwrap_or(0)) };
    let before = replied()?;
    transfers(steered, first_port..first_port + 8)?;
    let downloads = replied()? - before;
    for address in vip(2).both() {
        for port in first_port + 100..first_port + 106 {
            let target = (address, LARGE_PORT).into();
            let ask = || large_datagrams(target, port);
            let asked = steered.lab.client_namespace().run(ask);
            asked.with_context(|| format!("{target} from port {port}"))?;
        }
    }
    Ok(downloads)
}

/// Asks for a datagram in three fragments, one in two, and for one buffer that the kernel cuts into datagrams.
fn large_datagrams(target: SocketAddr, source_port: u16) -> Result<()> {
    let socket = connected(target, source_port)?;
    let mut answer = [0; 8192];
    for bytes in [4000_u32, 1600] {
        socket.send(&bytes.to_be_bytes())?;
        let received = socket
            .recv(&mut answer)
            .context("a datagram in fragments")?;
        ensure!(
            received == bytes as usize && answer[..received].iter().all(|byte| *byte == b'x'),
            "{received} bytes of {bytes}"
        );
    }
    socket.send(&0_u32.to_be_bytes())?;
    for datagram in 0..SEGMENTS {
        let received = socket.recv(&mut answer);
        let received = received.with_context(|| format!("datagram {datagram} of one buffer"))?;
        ensure!(received == usize::from(SEGMENT_BYTES), "{received} bytes");
    }
    Ok(())
}

/// Datagrams of a buffer that a pod sends in one call, and their size.
const SEGMENTS: usize = 3;
const SEGMENT_BYTES: u16 = 1200;

/// A pod that answers each datagram with as many bytes as it says; 0: with [`SEGMENTS`] datagrams by `UDP_SEGMENT`
/// (linux/udp.h), which leave the pod as one.
struct Answering {
    stop: Arc<AtomicBool>,
}

impl Answering {
    fn start(pod: &Pod) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        for address in pod.addresses().both() {
            let open = || Ok(UdpSocket::bind((address, LARGE_PORT))?);
            let socket = pod.namespace().run(open)?;
            socket.set_read_timeout(Some(SILENCE))?;
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    // Silence, or a client that went: the next one is waited for.
                    let _ = answer(&socket);
                }
            });
        }
        Ok(Self { stop })
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn answer(socket: &UdpSocket) -> io::Result<()> {
    let mut wanted = [0; 4];
    let (_, client) = socket.recv_from(&mut wanted)?;
    match u32::from_be_bytes(wanted) as usize {
        0 => {
            set_segment_bytes(socket, SEGMENT_BYTES)?;
            let sent = socket.send_to(&vec![b'x'; SEGMENTS * usize::from(SEGMENT_BYTES)], client);
            set_segment_bytes(socket, 0)?;
            sent.map(drop)
        }
        bytes => socket.send_to(&vec![b'x'; bytes], client).map(drop),
    }
}

fn set_segment_bytes(socket: &UdpSocket, bytes: u16) -> io::Result<()> {
    let bytes = libc::c_int::from(bytes);
    // SAFETY: the option's value is an int that outlives the call.
    let code = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_UDP,
            libc::UDP_SEGMENT,
            (&raw const bytes).cast(),
            size_of_val(&bytes) as libc::socklen_t,
        )
    };
    if code == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn pods(steered: &Steered) -> Result<Vec<(Pair, u8)>> {
    let pods = steered.lab.pods();
    pods.map(|pod| Ok((pod.addresses(), node_of(pod.name())?)))
        .collect()
}

/// A UDP service on [`vip`] `number` over these endpoints.
fn udp_service(name: &str, number: u8, port: u16, endpoints: &[(Pair, u8)]) -> Result<String> {
    let Pair { v4, v6 } = vip(number);
    let mut service = format!(
        "  - name: default/{name}
    addresses: [{v4}, \"{v6}\"]
    ports: [{{name: udp, protocol: UDP, port: {port}}}]
    endpoints:
"
    );
    for (addresses, node) in endpoints {
        for address in addresses.both() {
            let node = node_name(*node);
            writeln!(
                service,
                "      - {{address: \"{address}\", node: {node}, ports: {{udp: {port}}}}}"
            )?;
        }
    }
    Ok(service)
}

/// What a connected socket's user is told after a datagram.
fn refusal(target: SocketAddr, source_port: u16) -> Result<ErrorKind> {
    let socket = connected(target, source_port)?;
    socket.send(b"anybody?")?;
    let error = socket.recv(&mut [0; 64]).err();
    Ok(error.context("somebody answered")?.kind())
}

fn connected(target: SocketAddr, source_port: u16) -> Result<UdpSocket> {
    let any: IpAddr = match target {
        SocketAddr::V4(_) => [0; 4].into(),
        SocketAddr::V6(_) => [0; 16].into(),
    };
    let socket = UdpSocket::bind((any, source_port))?;
    socket.connect(target)?;
    socket.set_read_timeout(Some(ANSWER))?;
    Ok(socket)
}
