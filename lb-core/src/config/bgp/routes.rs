//! What routes say: the same words at a peer and at a Service.

use std::{collections::BTreeSet, net::IpAddr};

use serde_saphyr::Spanned;

use super::super::schema;
use crate::{
    config::error::Problem,
    model::{Community, Prefix, Remote, RouteSettings, ServiceBgp},
};

/// Communities of one kind that fit a message beside the others.
const COMMUNITIES_MAX: usize = 50;
/// Times that the AS number can be prepended.
const PREPEND_MAX: u8 = 16;

/// A Service's `bgp`.
pub(in super::super) fn service(
    section: Option<&Spanned<schema::ServiceBgp>>,
    path: &str,
    problems: &mut Vec<Problem>,
) -> ServiceBgp {
    let Some(section) = section else {
        return ServiceBgp::default();
    };
    let field = format!("{path}.bgp");
    let peers = section.value.peers.as_ref();
    ServiceBgp {
        next_hops: None,
        peers: peers.map(|names| names.value.iter().map(|name| remote(&name.value)).collect()),
        routes: settings(&section.value.routes(), &field, problems),
    }
}

/// A peer by its name: an address, a network, or else an interface.
fn remote(name: &str) -> Remote {
    if let Ok(address) = name.parse() {
        return Remote::Address(address);
    }
    let network = name.split_once('/').and_then(|(address, bits)| {
        let address: IpAddr = address.parse().ok()?;
        Some(Prefix::containing(address, bits.parse().ok()?))
    });
    network.map_or_else(|| Remote::Interface(name.into()), Remote::Range)
}

pub(super) fn settings(
    words: &schema::RouteSettings,
    path: &str,
    problems: &mut Vec<Problem>,
) -> RouteSettings {
    let mut reader = Reader { path, problems };
    let large = "write three numbers like 65000:1:2";
    let standard = "write two numbers like 65000:100, or a name like no-export";
    let extended = "write rt:65000:100 or soo:10.0.0.1:5";
    let (bits, bits_v6) = (&words.aggregation_length, &words.aggregation_length_v6);
    RouteSettings {
        communities: reader.set(
            &words.communities,
            "communities",
            standard,
            Community::standard,
        ),
        large_communities: reader.set(
            &words.large_communities,
            "largeCommunities",
            large,
            Community::large,
        ),
        extended_communities: reader.set(
            &words.extended_communities,
            "extendedCommunities",
            extended,
            Community::extended,
        ),
        link_bandwidth_mbps: reader.number(
            words.link_bandwidth_mbps.as_ref(),
            "linkBandwidthMbps",
            (1, u32::MAX),
        ),
        med: words.med,
        local_pref: words.local_pref,
        prepend: reader.number(words.prepend.as_ref(), "prepend", (0, PREPEND_MAX)),
        aggregation_length: reader.number(bits.as_ref(), "aggregationLength", (1, 32)),
        aggregation_length_v6: reader.number(bits_v6.as_ref(), "aggregationLengthV6", (1, 128)),
    }
}

struct Reader<'a> {
    path: &'a str,
    problems: &'a mut Vec<Problem>,
}

impl Reader<'_> {
    fn set<T: Ord>(
        &mut self,
        texts: &[schema::Text],
        name: &str,
        how: &str,
        parse: fn(&str) -> Option<T>,
    ) -> BTreeSet<T> {
        let path = self.path;
        let mut made = BTreeSet::new();
        for (index, text) in texts.iter().enumerate() {
            let field = format!("{path}.{name}[{index}]");
            if index >= COMMUNITIES_MAX {
                let message = format!("a route has at most {COMMUNITIES_MAX} of them");
                self.problems.push(Problem::at(text, field, &message));
                break;
            }
            match parse(&text.value) {
                Some(value) => {
                    made.insert(value);
                }
                None => {
                    let message = format!("\"{}\" is not a community; {how}", text.value);
                    self.problems.push(Problem::at(text, field, &message));
                }
            }
        }
        made
    }

    fn number<T: Copy + PartialOrd + std::fmt::Display>(
        &mut self,
        number: Option<&Spanned<T>>,
        name: &str,
        (least, most): (T, T),
    ) -> Option<T> {
        let number = number?;
        if number.value < least || number.value > most {
            let field = format!("{}.{name}", self.path);
            let message = format!("it is a number from {least} to {most}");
            self.problems.push(Problem::at(number, field, &message));
        }
        Some(number.value)
    }
}
