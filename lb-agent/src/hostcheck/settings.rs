//! What kernel and sysctls mean for us. Pure. A fact that could not be read is no finding.

use super::Needs;

/// The oldest kernel that the fixtures pass on.
const KERNEL_MIN: (u32, u32) = (5, 10);
/// `rp_filter`: the source must be routed back by the same interface (RFC 3704 section 2.2).
const RP_FILTER_STRICT: u8 = 1;
/// `accept_ra` that holds with forwarding on (`Documentation/networking/ip-sysctl.rst`).
const ACCEPT_RA_ALWAYS: u8 = 2;

/// What was read of this host; `None`: it could not be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Major and minor version.
    pub kernel: Option<(u32, u32)>,
    /// `net.ipv4.ip_forward`.
    pub ipv4_forwarding: Option<u8>,
    /// `net.ipv6.conf.all.forwarding`.
    pub ipv6_forwarding: Option<u8>,
    /// `net.ipv4.conf.all.rp_filter`.
    pub rp_filter_all: Option<u8>,
    /// The uplinks.
    pub uplinks: Vec<UplinkSettings>,
}

/// What was read of an uplink.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UplinkSettings {
    /// Its name.
    pub name: String,
    /// `net.ipv6.conf.NAME.accept_ra`.
    pub accept_ra: Option<u8>,
    /// Whether a default route was learned from a router advertisement on it.
    pub has_ra_default_route: bool,
    /// `net.ipv4.conf.NAME.rp_filter`.
    pub rp_filter: Option<u8>,
    /// Interfaces of VLANs on it.
    pub vlans: Vec<String>,
    /// Whether it takes VLAN tags off what it receives (`rx-vlan-offload`).
    pub takes_tags_off: bool,
}

impl Settings {
    /// What stands in the way.
    #[must_use]
    pub fn judge(&self, needs: &Needs) -> Vec<String> {
        let mut sentences = Vec::new();
        sentences.extend(self.kernel());
        sentences.extend(self.forwarding(needs));
        for uplink in &self.uplinks {
            sentences.extend(self.accept_ra(uplink, needs));
            sentences.extend(self.rp_filter(uplink, needs));
            sentences.extend(hidden_tags(uplink));
        }
        sentences
    }

    fn kernel(&self) -> Option<String> {
        let (major, minor) = self.kernel.filter(|&kernel| kernel < KERNEL_MIN)?;
        Some(format!(
            "kernel {major}.{minor} is older than any that Fairlead is tested on: use Linux 5.10 or newer"
        ))
    }

    fn forwarding(&self, needs: &Needs) -> Vec<String> {
        let families = [
            (true, self.ipv4_forwarding, "net.ipv4.ip_forward"),
            (false, self.ipv6_forwarding, "net.ipv6.conf.all.forwarding"),
        ];
        let is_off = |&(is_ipv4, value, _): &(bool, Option<u8>, _)| {
            value == Some(0) && has_pods(needs, is_ipv4)
        };
        families
            .into_iter()
            .filter(is_off)
            .map(|(_, _, key)| {
                format!("{key} is 0, so nothing that is for this node's pods gets there: sysctl -w {key}=1")
            })
            .collect()
    }

    /// With forwarding on, `accept_ra` = 1 means no, and a default route that came by advertisement expires.
    fn accept_ra(&self, uplink: &UplinkSettings, needs: &Needs) -> Option<String> {
        let accepts = uplink.accept_ra?;
        let is_lost = uplink.has_ra_default_route && accepts < ACCEPT_RA_ALWAYS;
        let is_forwarding = self.ipv6_forwarding == Some(1);
        let name = &uplink.name;
        (is_lost && is_forwarding && needs.has_family(false)).then(|| {
            format!(
                "the IPv6 default route on {name} came by router advertisement and will expire, because with \
                 forwarding on net.ipv6.conf.{name}.accept_ra={accepts} means no: \
                 sysctl -w net.ipv6.conf.{name}.accept_ra=2"
            )
        })
    }

    /// Strict is fine as long as clients are routed by the uplink that they come from, as with one uplink. The
    /// kernel takes the larger of both values.
    fn rp_filter(&self, uplink: &UplinkSettings, needs: &Needs) -> Option<String> {
        let value = uplink.rp_filter?.max(self.rp_filter_all.unwrap_or(0));
        let name = &uplink.name;
        (value == RP_FILTER_STRICT && needs.uplinks.len() > 1 && has_pods(needs, true)).then(|| {
            format!(
                "net.ipv4.conf.{name}.rp_filter is 1 (strict) and there are several uplinks: clients that are \
                 not routed back by {name} are dropped: sysctl -w net.ipv4.conf.{name}.rp_filter=2"
            )
        })
    }
}

/// An XDP program sees the frame without the tag that a driver took off, and cannot ask for it.
fn hidden_tags(uplink: &UplinkSettings) -> Option<String> {
    let name = &uplink.name;
    (uplink.takes_tags_off && !uplink.vlans.is_empty()).then(|| {
        format!(
            "{name} takes VLAN tags off before the data path sees a frame, and {} is on it: what comes by a VLAN for a VIP is \
             answered without its tag: ethtool -K {name} rxvlan off",
            uplink.vlans.join(", ")
        )
    })
}

fn has_pods(needs: &Needs, is_ipv4: bool) -> bool {
    needs.pods.iter().any(|pod| pod.is_ipv4() == is_ipv4)
}

#[cfg(test)]
mod tests;
