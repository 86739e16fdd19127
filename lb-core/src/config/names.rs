//! Scalars that must have a form: names, addresses, ports. Each comes back as its model type or leaves a
//! problem behind.

use std::{fmt, net::IpAddr};

use serde_saphyr::Spanned;

use super::{error::Problem, schema::Text};

/// Longest name of a node (a DNS subdomain, RFC 1123).
const NODE_NAME_BYTES_MAX: usize = 253;
/// Longest name of a port (Kubernetes: a port name, RFC 6335).
const PORT_NAME_BYTES_MAX: usize = 15;
/// Longest label of a Service's name (RFC 1123).
const LABEL_BYTES_MAX: usize = 63;

pub(super) fn address(
    text: &Text,
    field: impl fmt::Display,
    problems: &mut Vec<Problem>,
) -> Option<IpAddr> {
    let message = match text.value.parse::<IpAddr>() {
        Ok(address) => match why_not_unicast(address) {
            None => return Some(address),
            Some(why) => format!("{address} is {why}; a unicast address is needed"),
        },
        Err(_) => format!("\"{}\" is not an IP address", text.value),
    };
    problems.push(Problem::at(text, field, &message));
    None
}

fn why_not_unicast(address: IpAddr) -> Option<&'static str> {
    match address {
        _ if address.is_unspecified() => Some("the unspecified address"),
        _ if address.is_multicast() => Some("a multicast address"),
        _ if address.is_loopback() => Some("a loopback address"),
        IpAddr::V4(v4) if v4.is_broadcast() => Some("the broadcast address"),
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => Some("an IPv4 address in IPv6 form"),
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Some("a link-local address"),
        _ => None,
    }
}

/// A port number; 0 is none.
pub(super) fn port(
    number: &Spanned<u16>,
    field: impl fmt::Display,
    problems: &mut Vec<Problem>,
) -> u16 {
    if number.value == 0 {
        problems.push(Problem::at(
            number,
            field,
            "a port is a number from 1 to 65535",
        ));
    }
    number.value
}

/// An autonomous system number that may be used (RFC 7607, RFC 7300, RFC 6793).
pub(super) fn asn(
    number: &Spanned<u32>,
    field: impl fmt::Display,
    problems: &mut Vec<Problem>,
) -> u32 {
    if matches!(number.value, 0 | 23_456 | 65_535 | u32::MAX) {
        let message = format!("{} is reserved and no AS number of anyone", number.value);
        problems.push(Problem::at(number, field, &message));
    }
    number.value
}

pub(super) fn node_name(text: &Text, field: impl fmt::Display, problems: &mut Vec<Problem>) {
    let labels_are_fine = text.value.split('.').all(is_label);
    if text.value.len() > NODE_NAME_BYTES_MAX || !labels_are_fine {
        let message = "a node's name is made of a-z, 0-9, \"-\" and \".\", starting and ending with a letter or digit";
        problems.push(Problem::at(text, field, message));
    }
}

pub(super) fn service_name(text: &Text, field: impl fmt::Display, problems: &mut Vec<Problem>) {
    let is_fine = match text.value.split_once('/') {
        Some((namespace, name)) => is_short_label(namespace) && is_short_label(name),
        None => is_short_label(&text.value),
    };
    if !is_fine {
        let message =
            "a Service's name is NAME or NAMESPACE/NAME, each up to 63 of a-z, 0-9 and \"-\"";
        problems.push(Problem::at(text, field, message));
    }
}

pub(super) fn port_name(text: &Text, field: impl fmt::Display, problems: &mut Vec<Problem>) {
    if text.value.len() > PORT_NAME_BYTES_MAX || !is_label(&text.value) {
        let message = "a port's name is made of up to 15 of a-z, 0-9 and \"-\"";
        problems.push(Problem::at(text, field, message));
    }
}

fn is_short_label(text: &str) -> bool {
    text.len() <= LABEL_BYTES_MAX && is_label(text)
}

fn is_label(text: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(alphanumeric)
        && text.ends_with(alphanumeric)
        && text.chars().all(|c| alphanumeric(c) || c == '-')
}
