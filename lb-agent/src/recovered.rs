//! What the pinned maps of an agent that is gone still know: the keys of a cluster that has no key file, and
//! which endpoints served. So a restart neither moves a flow nor sends one to a pod that was out of service.

use std::{collections::BTreeSet, fs::File, io, io::Read, net::IpAddr};

use lb_common::{
    abi::MapId,
    config,
    endpoint::Endpoint,
    image::{Memory, element},
};
use lb_core::{keys::ClusterKeys, probes::Probe};

/// Keys as the maps have them; `None` if nobody ever wrote them.
#[must_use]
pub fn keys(maps: &dyn Memory) -> Option<ClusterKeys> {
    let config: config::Config = element(maps, MapId::Config, 0);
    let keys = ClusterKeys {
        seed: config.seed,
        gue_key: config.gue_key,
    };
    (config.abi_version != 0).then_some(keys)
}

/// Keys that nobody has had before, for a cluster of one node.
///
/// # Errors
/// If the kernel gives no random bytes.
pub fn new_keys() -> io::Result<ClusterKeys> {
    let mut bytes = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    let [a, b, c, d]: [u64; 4] = words_of(bytes);
    Ok(ClusterKeys {
        seed: [a, b],
        gue_key: [c, d],
    })
}

/// Those of the probes whose endpoint no service of the data path used.
#[must_use]
pub fn found_down(maps: &dyn Memory, wanted: &BTreeSet<Probe>) -> BTreeSet<Probe> {
    let served = served(maps);
    let is_down = |probe: &&Probe| !served.contains(&words(probe.address.ip()));
    wanted.iter().filter(is_down).copied().collect()
}

fn served(maps: &dyn Memory) -> BTreeSet<lb_common::Address> {
    let count = maps.capacity().elements(MapId::Endpoints) as usize;
    let endpoints = (0..count).map(|index| element::<Endpoint>(maps, MapId::Endpoints, index));
    endpoints
        .filter(|endpoint| endpoint.flags & Endpoint::IN_USE != 0)
        .map(|endpoint| endpoint.address)
        .collect()
}

/// An address as the maps have it.
fn words(address: IpAddr) -> lb_common::Address {
    match address {
        IpAddr::V4(address) => [u32::from_ne_bytes(address.octets()), 0, 0, 0],
        IpAddr::V6(address) => {
            let octets = address.octets();
            let word = |at: usize| {
                u32::from_ne_bytes([octets[at], octets[at + 1], octets[at + 2], octets[at + 3]])
            };
            [word(0), word(4), word(8), word(12)]
        }
    }
}

fn words_of(bytes: [u8; 32]) -> [u64; 4] {
    std::array::from_fn(|index| {
        let mut word = [0; 8];
        word.copy_from_slice(&bytes[index * 8..index * 8 + 8]);
        u64::from_ne_bytes(word)
    })
}

#[cfg(test)]
mod tests;
