//! The watches that the controller listens to. Each projects its objects as they come; a queue that is full lets the
//! watch wait, and the API server keeps what it has not read.

use std::sync::Arc;

use k8s_openapi::api::{
    core::v1::{Namespace, Node, Service},
    discovery::v1::EndpointSlice,
    networking::v1::ServiceCIDR,
};
use kube::{Api, Client, ResourceExt};
use lb_core::{allocate::Labels, model::Prefix};
use tokio::{sync::mpsc, task::JoinSet};

use super::{
    Options,
    eip::{self, EipRecord},
    endpoints::{self, SliceRecord},
    imports::{self, OurMap},
    nodes::{self, NodeRecord},
    service::{self, ServiceRecord},
};
use crate::{
    crd::{BgpConf, BgpPeer, Eip},
    project::names::Names,
    reflect::{
        store::Event,
        understood::Understood,
        watch::{Scope, Watched, watch},
    },
};

/// Changes that wait, at most, a kind.
const WAITING_MAX: usize = 256;

/// What a watch tells.
#[allow(clippy::large_enum_variant, reason = "there is one at a time")]
pub(super) enum Heard {
    Eip(Event<EipRecord>),
    Service(Event<ServiceRecord>),
    Namespace(Event<Labels>),
    Node(Event<NodeRecord>),
    Peer(Event<Arc<BgpPeer>>),
    Conf(Event<Arc<BgpConf>>),
    Slice(Event<SliceRecord>),
    ServiceCidr(Event<Vec<Prefix>>),
    Map(Event<OurMap>),
}

pub(super) struct Feeds {
    eips: mpsc::Receiver<Event<EipRecord>>,
    services: mpsc::Receiver<Event<ServiceRecord>>,
    namespaces: mpsc::Receiver<Event<Labels>>,
    nodes: mpsc::Receiver<Event<NodeRecord>>,
    peers: mpsc::Receiver<Event<Arc<BgpPeer>>>,
    confs: mpsc::Receiver<Event<Arc<BgpConf>>>,
    slices: mpsc::Receiver<Event<SliceRecord>>,
    service_cidrs: mpsc::Receiver<Event<Vec<Prefix>>>,
    maps: mpsc::Receiver<Event<OurMap>>,
}

impl Feeds {
    pub(super) fn start(client: &Client, options: &Options, tasks: &mut JoinSet<()>) -> Self {
        let rules = options.class.clone();
        let whole = Scope {
            jitter: options.identity.clone(),
            ..Scope::default()
        };
        let settles = Scope {
            settles: true,
            ..whole.clone()
        };
        let ours = Api::namespaced(client.clone(), &options.namespace);
        let mut names = Names::default();
        let all = client.clone();
        Self {
            eips: feed(Api::all(all.clone()), &settles, tasks, |object: &Eip| {
                Some(eip::record(object))
            }),
            services: feed(
                Api::all(all.clone()),
                &whole,
                tasks,
                move |object: &Service| Some(service::record(object, &rules)),
            ),
            namespaces: feed(
                Api::all(all.clone()),
                &whole,
                tasks,
                |object: &Namespace| Some(object.labels().clone()),
            ),
            nodes: feed(Api::all(all.clone()), &whole, tasks, |object: &Node| {
                Some(nodes::record(object))
            }),
            peers: feed(
                Api::all(all.clone()),
                &settles,
                tasks,
                |object: &BgpPeer| Some(Arc::new(object.clone())),
            ),
            confs: feed(
                Api::all(all.clone()),
                &settles,
                tasks,
                |object: &BgpConf| Some(Arc::new(object.clone())),
            ),
            slices: match options.addresses_only {
                // Who serves is nobody's question then.
                true => mpsc::channel(1).1,
                false => feed(
                    Api::all(all.clone()),
                    &whole,
                    tasks,
                    move |object: &EndpointSlice| endpoints::record(object, &mut names),
                ),
            },
            service_cidrs: feed(Api::all(all), &whole, tasks, |object: &ServiceCIDR| {
                Some(nodes::service_networks(object))
            }),
            maps: feed(ours, &whole, tasks, imports::our_map),
        }
    }

    /// The next thing that any of them tells.
    pub(super) async fn next(&mut self) -> Heard {
        tokio::select! {
            Some(event) = self.eips.recv() => Heard::Eip(event),
            Some(event) = self.services.recv() => Heard::Service(event),
            Some(event) = self.namespaces.recv() => Heard::Namespace(event),
            Some(event) = self.nodes.recv() => Heard::Node(event),
            Some(event) = self.peers.recv() => Heard::Peer(event),
            Some(event) = self.confs.recv() => Heard::Conf(event),
            Some(event) = self.slices.recv() => Heard::Slice(event),
            Some(event) = self.service_cidrs.recv() => Heard::ServiceCidr(event),
            Some(event) = self.maps.recv() => Heard::Map(event),
            else => std::future::pending().await,
        }
    }
}

fn feed<K, R, P>(
    api: Api<Understood<K>>,
    scope: &Scope,
    tasks: &mut JoinSet<()>,
    project: P,
) -> mpsc::Receiver<Event<R>>
where
    K: Watched,
    R: Send + 'static,
    P: FnMut(&K) -> Option<R> + Send + 'static,
{
    let (events, told) = mpsc::channel(WAITING_MAX);
    tasks.spawn(watch(api, scope.clone(), project, events));
    told
}
