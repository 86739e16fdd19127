//! `trace`: where a packet would go from this node's uplink, by the real programs, and why. Changes nothing.

use std::{fs, net::IpAddr, path::Path};

use lb_common::interface::Interface;
use lb_datapath::trace::{self as datapath, Direction, Tracer};

use crate::{
    cli::{OutputFormat, TraceArgs, TraceDirection, TraceProtocol},
    failure::Failure,
    trace::{
        self, Names,
        packet::{self, Description, Kind},
        pcap,
    },
};

/// Runs the command.
///
/// # Errors
/// If no data path is pinned here, the packet makes no sense, or the kernel refuses.
pub fn trace(args: &TraceArgs) -> Result<(), Failure> {
    let uplinks = datapath::uplinks(&args.pin_dir).map_err(|error| Failure::from_error(&error))?;
    let (slot, uplink, interface) = choose(&uplinks, args.interface.as_deref())?;
    let frame = frame(args, &uplink)?;
    let direction = match args.direction {
        TraceDirection::Ingress => Direction::Ingress,
        TraceDirection::Egress => Direction::Egress,
    };
    let tracer = Tracer::open(&args.pin_dir, slot).map_err(refused)?;
    let found = tracer.run(&frame, direction).map_err(refused)?;
    let names = Names::ask(&args.socket);
    let row = trace::explain(&tracer, &names, &interface, direction, &frame, &found);
    let text = match args.output {
        OutputFormat::Table => trace::text(&row),
        OutputFormat::Json => {
            let json =
                serde_json::to_string_pretty(&row).map_err(|error| Failure::from_error(&error))?;
            json + "\n"
        }
    };
    super::print(&text)
}

fn refused(error: lb_datapath::Error) -> Failure {
    if error.is_not_permitted() {
        return Failure::CannotRunHere(error.to_string());
    }
    Failure::from_error(&error)
}

/// The uplink that is named, or the first.
fn choose(
    uplinks: &[(u32, Interface)],
    wanted: Option<&str>,
) -> Result<(u32, Interface, String), Failure> {
    let named: Vec<_> = uplinks
        .iter()
        .map(|(slot, uplink)| (*slot, *uplink, name_of(uplink.ifindex)))
        .collect();
    let found = match wanted {
        None => named.first(),
        Some(wanted) => named.iter().find(|(.., name)| name == wanted),
    };
    found.cloned().ok_or_else(|| {
        let names: Vec<_> = named.iter().map(|(.., name)| name.as_str()).collect();
        Failure::Failed(format!(
            "the data path has no uplink {}; it has: {}",
            wanted.unwrap_or("at all"),
            names.join(", ")
        ))
    })
}

/// The interface with this index in this network namespace.
fn name_of(ifindex: u32) -> String {
    let folder = Path::new("/sys/class/net");
    let names = fs::read_dir(folder).into_iter().flatten().flatten();
    names
        .filter_map(|entry| entry.file_name().into_string().ok())
        .find(|name| {
            let index = fs::read_to_string(folder.join(name).join("ifindex"));
            index.is_ok_and(|index| index.trim() == ifindex.to_string())
        })
        .unwrap_or_else(|| format!("interface {ifindex}"))
}

fn frame(args: &TraceArgs, uplink: &Interface) -> Result<Vec<u8>, Failure> {
    if let Some(digits) = &args.frame {
        return bytes(digits);
    }
    if let Some(file) = &args.pcap {
        let refused = |reason: &dyn std::fmt::Display| {
            Failure::Failed(format!(
                "cannot take a packet from {}: {reason}",
                file.display()
            ))
        };
        let capture = fs::read(file).map_err(|error| refused(&error))?;
        let packet = pcap::packet(&capture, args.packet).map_err(|error| refused(&error))?;
        return Ok(packet.to_vec());
    }
    Ok(packet::frame(&description(args, uplink)?))
}

fn description(args: &TraceArgs, uplink: &Interface) -> Result<Description, Failure> {
    let (Some(source), Some(destination)) = (args.from, args.to) else {
        unreachable!("clap requires both, or a frame");
    };
    if source.ip().is_ipv4() != destination.ip().is_ipv4() {
        return Err(Failure::Failed(format!(
            "{} and {} are of different families",
            source.ip(),
            destination.ip()
        )));
    }
    Ok(Description {
        source,
        destination,
        kind: match args.protocol {
            TraceProtocol::Tcp => Kind::Tcp {
                flags: flags(&args.flags),
            },
            TraceProtocol::Udp => Kind::Udp,
            TraceProtocol::Icmp => Kind::Echo,
        },
        hop_limit: args.ttl,
        payload_bytes: usize::from(args.payload),
        source_mac: args.source_mac,
        destination_mac: mac_of(uplink),
    })
}

fn flags(flags: &[crate::cli::TcpFlag]) -> u8 {
    flags.iter().fold(0, |bits, flag| bits | *flag as u8)
}

fn mac_of(uplink: &Interface) -> [u8; 6] {
    let [a, b, c, d, e, f, ..] = uplink.mac.to_ne_bytes();
    [a, b, c, d, e, f]
}

fn bytes(digits: &str) -> Result<Vec<u8>, Failure> {
    let wrong = || Failure::Failed(format!("not pairs of hexadecimal digits: {digits}"));
    let digits: Vec<char> = digits
        .chars()
        .filter(|digit| !digit.is_whitespace())
        .collect();
    if digits.is_empty() || !digits.len().is_multiple_of(2) {
        return Err(wrong());
    }
    let pairs = digits.chunks_exact(2).map(String::from_iter);
    pairs
        .map(|pair| u8::from_str_radix(&pair, 16).map_err(|_| wrong()))
        .collect()
}

/// `ADDRESS:PORT`, `[IPV6]:PORT`, or an address alone with this port.
pub(crate) fn end(text: &str, default_port: u16) -> Result<std::net::SocketAddr, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok((address, default_port).into());
    }
    text.parse()
        .map_err(|_| format!("{text} is no address and port, such as 10.99.0.1:80 or [fd99::1]:80"))
}
