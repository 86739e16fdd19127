//! Words for people: why a Service has no address, or not the one it asks for, and what to do. They are the same in
//! conditions and events, and say nothing that changes by itself, so that waiting writes nothing.

use std::net::IpAddr;

use super::{Condition, Family, Pool, PoolProtocol, PortKey, UnixTime};

/// Condition: clients reach the Service by its addresses.
pub const SERVING: &str = "LoadBalancerServing";
/// Condition: the Service waits for an address.
pub const PROVISIONING: &str = "LoadBalancerProvisioning";
/// Condition: the Service has addresses, but not all that it asks for.
pub const DEGRADED: &str = "LoadBalancerDegraded";
/// Condition: an address of the Service is in no pool any more.
pub const OUTSIDE_POOL: &str = "OutsidePool";

/// The ConfigMap with the addresses that are to be taken over though they are in no pool.
pub const IMPORT_PLAN: &str = "fairlead-import";

/// Objects that one message names.
pub(super) const NAMED_MAX: usize = 8;

/// Why something that was asked for is not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Obstacle {
    pub(super) reason: &'static str,
    pub(super) message: String,
}

impl Obstacle {
    fn new(reason: &'static str, message: String) -> Self {
        Self { reason, message }
    }

    pub(super) fn see_request() -> Self {
        let text = "nothing is given for a request that cannot be met".to_owned();
        Self::new("InvalidRequest", text)
    }

    pub(super) fn invalid_request(error: &str) -> Self {
        Self::new("InvalidRequest", error.to_owned())
    }

    pub(super) fn ignored(words: &str) -> Self {
        Self::new("RequestIgnored", words.to_owned())
    }

    pub(super) fn no_such_pool(name: &str) -> Self {
        let text = format!("there is no Eip `{name}`: create it, or ask for another one");
        Self::new("NoPool", text)
    }

    pub(super) fn no_pool(family: Family, passed_over: &[Self]) -> Self {
        if passed_over.is_empty() {
            let text = format!(
                "no Eip gives {family} addresses to this Service by itself: create one, mark one as the default \
                 (annotation eip.openelb.kubesphere.io/is-default-eip: \"true\"), or name one"
            );
            return Self::new("NoPool", text);
        }
        let reason = match passed_over {
            [only] => only.reason,
            several if several.iter().any(|item| item.reason == "PoolExhausted") => "PoolExhausted",
            _ => "NoPool",
        };
        let texts: Vec<&str> = passed_over
            .iter()
            .map(|item| item.message.as_str())
            .take(NAMED_MAX)
            .collect();
        Self::new(reason, texts.join("; "))
    }

    pub(super) fn disabled(pool: &Pool) -> Self {
        let text = format!("Eip {} is disabled: set spec.disable to false", pool.name);
        Self::new("PoolDisabled", text)
    }

    pub(super) fn deleted(pool: &Pool) -> Self {
        let text = format!(
            "Eip {} is being deleted and gives no more addresses",
            pool.name
        );
        Self::new("PoolDisabled", text)
    }

    pub(super) fn invalid_pool(pool: &Pool, error: &str) -> Self {
        Self::new("NoPool", format!("Eip {} is invalid: {error}", pool.name))
    }

    pub(super) fn fenced(pool: &Pool) -> Self {
        let text = format!(
            "Eip {} is fenced, and neither its namespaces nor its selectors include this Service",
            pool.name
        );
        Self::new("PoolFenced", text)
    }

    pub(super) fn family(pool: &Pool, family: Family) -> Self {
        let text = format!(
            "Eip {} has no {family} addresses: add a range to spec.addresses, or change the Service's ipFamilies",
            pool.name
        );
        Self::new("FamilyMismatch", text)
    }

    pub(super) fn request_family(address: IpAddr) -> Self {
        let text = format!(
            "{address} is asked for, but the Service has no {}: change ipFamilies or the request",
            Family::of(address)
        );
        Self::new("FamilyMismatch", text)
    }

    pub(super) fn exhausted(pool: &Pool, family: Family) -> Self {
        let text = format!(
            "Eip {} has no free {family} address left (those of nodes, pods and ClusterIPs are not given): add a range to \
             it, or delete Services",
            pool.name
        );
        Self::new("PoolExhausted", text)
    }

    pub(super) fn in_no_pool(address: IpAddr) -> Self {
        let text = format!("{address} is in no Eip: add it to one, or ask for another address");
        Self::new("NoPool", text)
    }

    pub(super) fn refused(address: IpAddr, owner: &str) -> Self {
        let text = format!("{address} is {owner} and can be no Service's: ask for another address");
        Self::new("IPInUse", text)
    }

    pub(super) fn in_use(address: IpAddr, holder: &str) -> Self {
        let text = format!(
            "{address} is in use by {holder}: ask for another address, or let both share it (annotation \
             fairlead.io/sharing)"
        );
        Self::new("IPInUse", text)
    }

    pub(super) fn resting(address: IpAddr, holder: &str, until: UnixTime) -> Self {
        let text = format!(
            "{address} was freed by {holder} and rests for a minute, until {until}: wait, or ask for another address"
        );
        Self::new("IPInUse", text)
    }

    pub(super) fn port_conflict(address: IpAddr, port: PortKey, holder: &str) -> Self {
        let text = format!(
            "port {port} of {address} belongs to {holder}: change the port, or ask for another address"
        );
        Self::new("PortConflict", text)
    }

    pub(super) fn refused_later(address: IpAddr, owner: &str) -> Self {
        let text = format!(
            "{address} has become {owner}, which may lose packets to it: move the Service by `lb-agent reassign`"
        );
        Self::new("IPInUse", text)
    }

    /// The same about a Service that keeps what it has.
    pub(super) fn keeping(self, address: IpAddr) -> Self {
        let message = format!("keeps {address}: {}", self.message);
        Self::new(self.reason, message)
    }
}

/// What `LoadBalancerServing` says of a protocol that no agent speaks yet.
pub(super) fn not_announced(protocol: PoolProtocol, pool: &str) -> String {
    let way = match protocol {
        PoolProtocol::Bgp => "BGP",
        PoolProtocol::Layer2 => "layer 2",
        PoolProtocol::Vip => "layer 2 (protocol vip)",
    };
    format!(
        "Eip {pool} is announced on {way}, which this version does not do: nobody answers for the address; use protocol bgp"
    )
}

pub(super) fn condition(
    kind: &'static str,
    status: impl Into<Option<bool>>,
    reason: &str,
    message: String,
) -> Condition {
    Condition {
        kind,
        status: status.into(),
        reason: reason.to_owned(),
        message,
    }
}
