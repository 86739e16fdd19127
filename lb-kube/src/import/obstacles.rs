//! What of the old product acts on the same Services, or refuses their objects: its webhooks first, because they refuse
//! everything once the controller that answers them is gone, then who gives addresses, then who announces.

use serde_json::Value;

use super::{Obstacle, Plan, name, namespace, of_kind};

/// Namespaces that the products are installed into.
const NAMESPACES: [&str; 4] = [
    "metallb-system",
    "openelb-system",
    "porter-system",
    "metallb",
];
/// Names of their workloads where somebody chose another Namespace.
const WORKLOADS: [&str; 7] = [
    "metallb-controller",
    "metallb-speaker",
    "openelb-controller",
    "openelb-manager",
    "openelb-speaker",
    "openelb-keepalive-vip",
    "porter-manager",
];
/// Parts of the names of their webhooks, which are in no Namespace.
const WEBHOOKS: [&str; 3] = ["metallb", "openelb", "porter"];
/// Kinds that act, in the order in which they go: webhooks, address givers, announcers; and why.
const KINDS: [(&str, &str, Stop); 5] = [
    (
        "ValidatingWebhookConfiguration",
        "refuses changes of objects, and all of them once its controller is gone",
        Stop::Delete,
    ),
    (
        "MutatingWebhookConfiguration",
        "changes objects, and refuses all of them once its controller is gone",
        Stop::Delete,
    ),
    (
        "Deployment",
        "gives addresses to the same Services",
        Stop::Scale,
    ),
    (
        "DaemonSet",
        "announces the same addresses from every node; BGP peers take one session from a node",
        Stop::Delete,
    ),
    (
        "Job",
        "applies the old product's objects again",
        Stop::Delete,
    ),
];

#[derive(Clone, Copy)]
enum Stop {
    Delete,
    Scale,
}

/// Names each of them and the command that takes it out; nothing that holds addresses is touched.
pub(super) fn find(objects: &[Value], plan: &mut Plan) {
    for (kind, why, stop) in KINDS {
        for object in of_kind(objects, kind).filter(|object| is_theirs(kind, object)) {
            let (name, of) = (name(object), object["metadata"]["namespace"].as_str());
            let place = of.map_or_else(String::new, |_| format!(" -n {}", namespace(object)));
            let command = match stop {
                Stop::Scale => format!("kubectl{place} scale deployment {name} --replicas=0"),
                Stop::Delete => {
                    format!("kubectl{place} delete {} {name}", kind.to_lowercase())
                }
            };
            plan.obstacles.push(Obstacle {
                what: format!("{kind} {name} {why}"),
                command,
            });
        }
    }
}

fn is_theirs(kind: &str, object: &Value) -> bool {
    if kind.ends_with("WebhookConfiguration") {
        return WEBHOOKS.iter().any(|part| name(object).contains(part));
    }
    NAMESPACES.contains(&namespace(object)) || WORKLOADS.contains(&name(object))
}
