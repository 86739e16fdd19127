//! From OpenELB or MetalLB to here: what their objects come to as ours, which addresses Services keep, what has no
//! equivalent, and what stands in the way. Objects go in as JSON, of manifests or of a live cluster, and a plan comes out; it
//! changes nothing, and asks nobody. What it prints is for a person to read and then to apply.

mod convert;
mod legacy;
pub mod load;
mod metallb;
mod obstacles;
mod openelb;
mod policies;
mod services;

use std::{fmt, net::IpAddr};

use serde_json::{Value, json};

/// Whose objects they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// OpenELB, or PorterLB as it was called.
    OpenElb,
    /// MetalLB: its kinds since v0.13, or the ConfigMap before.
    MetalLb,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OpenElb => "OpenELB",
            Self::MetalLb => "MetalLB",
        })
    }
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Our objects, in the order in which they are applied.
    pub objects: Vec<Value>,
    /// Addresses that Services have, and keep.
    pub kept: Vec<Kept>,
    /// Addresses that cannot be kept, a sentence each.
    pub lost: Vec<String>,
    /// What has no equivalent here or means something else, a sentence each.
    pub differs: Vec<String>,
    /// NetworkPolicies that counted on the addresses of nodes, a sentence each.
    pub policies: Vec<String>,
    /// Controllers and webhooks in the way.
    pub obstacles: Vec<Obstacle>,
    /// Arguments that the controller and the agents need.
    pub arguments: Vec<String>,
}

/// An address that stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// `namespace/name` of the Service.
    pub service: String,
    /// Its address.
    pub address: IpAddr,
    /// Name of the Eip that has it; `None`: it lies in none, and the ConfigMap of the plan names it.
    pub eip: Option<String>,
}

/// Something that must go before, or with which both would act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// What it is, and why it is in the way.
    pub what: String,
    /// The command that takes it out, and nothing that Services need.
    pub command: String,
}

/// Our Namespace, where the ConfigMap of addresses goes.
pub const NAMESPACE: &str = "fairlead-system";
/// Its name: the controller takes these addresses over although no Eip has them.
pub const IMPORT_CONFIG_MAP: &str = "fairlead-import";

/// What these objects come to.
#[must_use]
pub fn plan(origin: Origin, objects: &[Value]) -> Plan {
    let mut plan = Plan::default();
    match origin {
        Origin::OpenElb => openelb::convert(objects, &mut plan),
        Origin::MetalLb => metallb::convert(objects, &mut plan),
    }
    let rules = services::class_rules(origin, objects, &mut plan);
    services::keep(objects, &rules, &mut plan);
    policies::find(objects, &mut plan);
    obstacles::find(objects, &mut plan);
    plan
}

/// Objects of one kind.
fn of_kind<'a>(objects: &'a [Value], kind: &'a str) -> impl Iterator<Item = &'a Value> {
    objects.iter().filter(move |object| object["kind"] == kind)
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

fn namespace(object: &Value) -> &str {
    let namespace = object["metadata"]["namespace"].as_str();
    namespace.unwrap_or("default")
}

/// An object of ours.
fn ours(kind: &str, name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "network.kubesphere.io/v1alpha2", "kind": kind,
        "metadata": {"name": name}, "spec": spec,
    })
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let objects = self.objects.iter().map(|object| {
            let kind = object["kind"].as_str().unwrap_or_default();
            format!("{kind} {}", name(object))
        });
        part(f, "Objects (with -o yaml)", objects)?;
        part(f, "Addresses that Services keep", self.kept.iter())?;
        part(f, "Addresses that cannot be kept", self.lost.iter())?;
        part(
            f,
            "Without an equivalent, or different here",
            self.differs.iter(),
        )?;
        part(
            f,
            "NetworkPolicies that count on addresses of nodes",
            self.policies.iter(),
        )?;
        let obstacles = self.obstacles.iter();
        let obstacles = obstacles.map(|it| format!("{}\n      {}", it.what, it.command));
        part(
            f,
            "In the way, and how it is removed, in this order",
            obstacles,
        )?;
        part(
            f,
            "Arguments of controller and agents",
            self.arguments.iter(),
        )
    }
}

fn part<T: fmt::Display>(
    f: &mut fmt::Formatter<'_>,
    title: &str,
    lines: impl Iterator<Item = T>,
) -> fmt::Result {
    let lines: Vec<String> = lines.map(|line| line.to_string()).collect();
    if lines.is_empty() {
        return writeln!(f, "{title}: none");
    }
    writeln!(f, "{title}:")?;
    lines.iter().try_for_each(|line| writeln!(f, "  - {line}"))
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            service, address, ..
        } = self;
        match &self.eip {
            Some(eip) => write!(f, "{service} keeps {address}, of Eip {eip}"),
            None => write!(
                f,
                "{service} keeps {address}, which is in no Eip, by the ConfigMap {IMPORT_CONFIG_MAP}"
            ),
        }
    }
}

#[cfg(test)]
mod tests;
