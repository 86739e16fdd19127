//! An EndpointSlice: endpoints of one Service and family, with the ports that all of them have. Conditions that are
//! not set mean what kube-proxy takes them for. Addresses are pods or, without a node, anything; of the type FQDN
//! none is an address. Endpoints objects, the older form of the same, are never read.

use std::{net::IpAddr, sync::Arc};

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use kube::ResourceExt;
use lb_core::model::Protocol;
use serde::{Deserialize, Serialize};

use super::{hints::Hints, names::Names, service};

/// Label with the name of the Service.
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// An EndpointSlice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SliceRecord {
    /// `namespace/name` of the Service.
    pub service: Arc<str>,
    /// The Service that it was made for; `None`: somebody wrote it by hand.
    pub owner_uid: Option<Arc<str>>,
    /// Ports that all its endpoints have.
    pub ports: Box<[SlicePort]>,
    /// The endpoints.
    pub endpoints: Box<[EndpointRecord]>,
}

/// A port of all endpoints of a slice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlicePort {
    /// Name of the Service's port.
    pub name: Arc<str>,
    /// Transport protocol.
    #[serde(with = "service::ProtocolDef")]
    pub protocol: Protocol,
    /// Number at the endpoint; `None`: whatever number the Service has.
    pub port: Option<u16>,
}

/// An endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointRecord {
    /// Its address.
    pub address: IpAddr,
    /// Name of the node it is on; `None`: it is on no node.
    pub node: Option<Arc<str>>,
    /// Gets new connections.
    pub ready: bool,
    /// Answers.
    pub serving: bool,
    /// Is being deleted.
    pub terminating: bool,
    /// For whom it is meant; `None`: for everybody.
    pub hints: Option<Arc<Hints>>,
}

/// Reads a slice; `None` if it belongs to no Service.
#[must_use]
pub fn slice(object: &EndpointSlice, names: &mut Names) -> Option<SliceRecord> {
    let service = object.labels().get(SERVICE_NAME)?;
    let namespace = object.namespace().unwrap_or_default();
    let owners = object.owner_references().iter();
    let owner = owners
        .filter(|owner| owner.kind == "Service")
        .map(|owner| &owner.uid);
    let ports = object.ports.iter().flatten();
    let is_address = object.address_type == "IPv4" || object.address_type == "IPv6";
    let endpoints = object.endpoints.iter().filter(|_| is_address);
    Some(SliceRecord {
        service: names.get(&format!("{namespace}/{service}")),
        owner_uid: owner.map(|uid| uid.as_str().into()).next(),
        ports: ports.filter_map(|port| slice_port(port, names)).collect(),
        endpoints: endpoints.filter_map(|item| endpoint(item, names)).collect(),
    })
}

fn slice_port(port: &EndpointPort, names: &mut Names) -> Option<SlicePort> {
    let number = match port.port {
        Some(number) => Some(u16::try_from(number).ok()?),
        None => None,
    };
    Some(SlicePort {
        name: names.get(port.name.as_deref().unwrap_or_default()),
        protocol: service::protocol(port.protocol.as_deref())?,
        port: number,
    })
}

/// The addresses of an endpoint are the same pod's, and the first one counts (API of `endpoints[].addresses`).
fn endpoint(endpoint: &Endpoint, names: &mut Names) -> Option<EndpointRecord> {
    let conditions = endpoint.conditions.as_ref();
    let condition = |of: fn(&EndpointConditions) -> Option<bool>| conditions.and_then(of);
    let ready = condition(|conditions| conditions.ready).unwrap_or(true);
    Some(EndpointRecord {
        address: endpoint.addresses.first()?.parse().ok()?,
        node: endpoint.node_name.as_deref().map(|name| names.get(name)),
        ready,
        serving: condition(|conditions| conditions.serving).unwrap_or(ready),
        terminating: condition(|conditions| conditions.terminating).unwrap_or(false),
        hints: endpoint
            .hints
            .as_ref()
            .and_then(|hints| Hints::of(hints, names)),
    })
}
