//! Whether this node's pods are reached by way of this node: the kernel's route to each must be local or lead to a device of
//! the pod's own. What goes by an uplink (SR-IOV, a macvlan of it, a pod that moved) or to a gateway is not translated on its
//! way back. Pure, but for the text that `ip` writes.

use std::net::IpAddr;

use serde::Deserialize;

/// The kernel's route to a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodRoute {
    /// The pod.
    pub pod: IpAddr,
    /// Device that it leads to.
    pub device: String,
    /// Who gets the packets there, if not the pod itself.
    pub gateway: Option<String>,
}

/// An answer of `ip -json route get`.
#[derive(Deserialize)]
struct Answer {
    dev: String,
    gateway: Option<String>,
}

impl PodRoute {
    /// From what `ip -json route get POD` writes; `None` if that is no route.
    #[must_use]
    pub fn parse(pod: IpAddr, json: &str) -> Option<Self> {
        let answers: Vec<Answer> = serde_json::from_str(json).ok()?;
        let Answer { dev, gateway } = answers.into_iter().next()?;
        Some(Self {
            pod,
            device: dev,
            gateway,
        })
    }

    /// What is wrong with it.
    fn problem(&self, uplinks: &[impl AsRef<str>]) -> Option<String> {
        let Self {
            pod,
            device,
            gateway,
        } = self;
        let is_uplink = uplinks.iter().any(|uplink| uplink.as_ref() == device);
        let way = match gateway {
            Some(gateway) => format!("by {gateway} on {device}"),
            None if is_uplink => format!("out of the uplink {device}"),
            None => return None,
        };
        Some(format!(
            "{pod} is configured as a pod of this node, but the route to it leads {way}: its replies do not pass this node, \
             and clients do not get them; correct its `node`, or give the pod a device that this node routes to"
        ))
    }
}

/// One sentence for each pod that is not reached as a pod is.
#[must_use]
pub fn judge(routes: &[PodRoute], uplinks: &[impl AsRef<str>]) -> Vec<String> {
    let problems = routes.iter().filter_map(|route| route.problem(uplinks));
    problems.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(json: &str) -> Vec<String> {
        let route = PodRoute::parse("10.1.1.2".parse().unwrap(), json);
        judge(&[route.unwrap()], &["eth0"])
    }

    #[test]
    fn a_pod_is_behind_a_device_of_its_own() {
        let veth = r#"[{"dst":"10.1.1.2","dev":"veth1","prefsrc":"10.0.0.11","flags":[],"uid":0,"cache":[]}]"#;
        assert_eq!(judged(veth), [] as [String; 0]);
        let local = r#"[{"type":"local","dst":"10.1.1.2","dev":"lo","flags":[]}]"#;
        assert_eq!(judged(local), [] as [String; 0]);
    }

    #[test]
    fn what_leaves_by_the_uplink_or_to_a_gateway_is_none_of_its_pods() {
        let uplink = judged(r#"[{"dst":"10.1.1.2","dev":"eth0","flags":[]}]"#);
        assert!(
            uplink[0].contains("leads out of the uplink eth0"),
            "{uplink:?}"
        );
        let routed = judged(r#"[{"dst":"10.1.1.2","gateway":"10.9.0.1","dev":"tun0","flags":[]}]"#);
        assert!(
            routed[0].contains("leads by 10.9.0.1 on tun0"),
            "{routed:?}"
        );
        assert!(PodRoute::parse("10.1.1.2".parse().unwrap(), "RTNETLINK answers").is_none());
    }
}
