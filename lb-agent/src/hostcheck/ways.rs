//! What the ways to other nodes mean for full-size packets. Pure. GUE adds octets, and a packet that was as
//! large as the link takes does not fit any more (RFC 4459 section 3).

use lb_core::snapshot::{Link, Neighbour, Neighbours};

/// Octets that GUE adds over IPv4: IP header, UDP header, GUE header with private data (lb-common's `gue`).
const GUE_OCTETS_OVER_IPV4: u16 = 20 + 8 + 16;
/// The same over IPv6.
const GUE_OCTETS_OVER_IPV6: u16 = 40 + 8 + 16;

/// One sentence for each node that is reached by GUE without the room for it.
#[must_use]
pub fn judge(neighbours: &Neighbours, links: &[Link]) -> Vec<String> {
    let sentences = neighbours.iter().filter_map(|(name, way)| {
        let link = links.iter().find(|link| link.slot == way.uplink)?;
        let (octets, room) = (gue_octets(way), way.mtu_bytes.saturating_sub(gue_octets(way)));
        let is_tight = !way.on_link && room < client_mtu(link);
        is_tight.then(|| {
            let (mtu_bytes, uplink) = (way.mtu_bytes, &link.name);
            let wanted = client_mtu(link).saturating_add(octets);
            format!(
                "node {name} is behind a router and reached by GUE, which leaves {room} of {mtu_bytes} bytes: \
                 packets of full size for its pods are lost; give the links between the nodes an MTU of {wanted} \
                 ({uplink} and the router), or let the router advertise an MTU or MSS that fits {room} bytes"
            )
        })
    });
    sentences.collect()
}

/// Clients send packets of up to this size, unless a link on their way is smaller.
fn client_mtu(link: &Link) -> u16 {
    const ETHERNET: u16 = 1500;
    link.mtu_bytes.min(ETHERNET)
}

fn gue_octets(way: &Neighbour) -> u16 {
    match way.outer_destination.is_ipv4() {
        true => GUE_OCTETS_OVER_IPV4,
        false => GUE_OCTETS_OVER_IPV6,
    }
}

#[cfg(test)]
mod tests;
