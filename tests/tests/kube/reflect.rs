//! What the agent's source makes of a real API server: lists, watches, a server that is killed, frozen or goes back, and
//! kinds that are not served, or no longer.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use lb_core::model::{Bgp, Node, Prefix, Service, Statement, Unfit};
use lb_kube::reflect::{
    cluster::Settings,
    source::{self, Request, Source, Update},
};
use lb_lab::{ADMIN, ApiServer, SYSTEM_NAMESPACE};
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};

use crate::fixture::{self, block_on, client, start};

/// Anything that a server does on request.
const SOON: Duration = Duration::from_secs(15);
/// How long nothing may happen.
const QUIET: Duration = Duration::from_secs(2);

const NODE: &str = "
apiVersion: v1
kind: Node
metadata: {name: node1}
";

const KEY: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: fairlead-system}
---
apiVersion: v1
kind: Secret
metadata: {name: fairlead-cluster, namespace: fairlead-system}
stringData: {key: 0123456789abcdef0123456789abcdef}
";

const POOL: &str = "
apiVersion: network.kubesphere.io/v1alpha2
kind: Eip
metadata: {name: pool}
spec: {address: 10.99.0.0/24}
";

/// A Service with the last octet of its VIP and of its endpoints.
fn web(name: &str, vip: u8, endpoints: &[u8]) -> String {
    let endpoints: Vec<_> = endpoints
        .iter()
        .map(|last| format!("{{addresses: [10.1.0.{last}], nodeName: node1}}"))
        .collect();
    format!(
        "
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: default}}
spec:
  type: LoadBalancer
  loadBalancerClass: fairlead.io/load-balancer
  allocateLoadBalancerNodePorts: false
  ports: [{{name: http, port: 80}}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}-1, namespace: default, labels: {{kubernetes.io/service-name: {name}}}}}
addressType: IPv4
ports: [{{name: http, port: 8080}}]
endpoints: [{endpoints}]
---
# {vip}
",
        endpoints = endpoints.join(", ")
    )
}

/// Gives a Service its address, as the controller does.
fn assign(server: &ApiServer, name: &str, vip: u8) -> Result<()> {
    fixture::assign(server, name, &[[10, 99, 0, vip].into()])
}

fn publish(server: &ApiServer, name: &str, vip: u8, endpoints: &[u8]) -> Result<()> {
    server.apply(&web(name, vip, endpoints))?;
    assign(server, name, vip)
}

/// A running source, and what it has told so far.
struct Reader {
    updates: mpsc::Receiver<Update>,
    requests: mpsc::Sender<Request>,
    task: JoinHandle<()>,
    services: BTreeMap<Arc<str>, Arc<Service>>,
    bgp: Option<Arc<Bgp>>,
    nodes: Vec<Arc<Node>>,
    pools: BTreeSet<Prefix>,
    alarms: Vec<String>,
    is_listed: bool,
    count: usize,
}

impl Reader {
    async fn start(server: &ApiServer, state_file: Option<std::path::PathBuf>) -> Result<Self> {
        Self::start_with(server, state_file, Settings::default()).await
    }

    async fn start_with(
        server: &ApiServer,
        state_file: Option<std::path::PathBuf>,
        settings: Settings,
    ) -> Result<Self> {
        let source = Source {
            client: client(server, ADMIN).await?,
            settings: Settings {
                node: "node1".into(),
                namespace: SYSTEM_NAMESPACE.to_owned(),
                password_folder: server.folder().join("passwords"),
                ..settings
            },
            state_file,
            reads_cluster_key: true,
        };
        let (requests, requested) = mpsc::channel(1);
        let (updates_sent, updates) = mpsc::channel(16);
        let task = tokio::spawn(source::run(source, requested, updates_sent));
        Ok(Self {
            updates,
            requests,
            task,
            services: BTreeMap::new(),
            bgp: None,
            nodes: Vec::new(),
            pools: BTreeSet::new(),
            alarms: Vec::new(),
            is_listed: false,
            count: 0,
        })
    }

    fn take(&mut self, update: Update) {
        self.count += 1;
        self.is_listed = update.is_listed;
        for (name, service) in update.services {
            match service {
                Some(service) => _ = self.services.insert(name, service),
                None => _ = self.services.remove(&name),
            }
        }
        if let Some(alarms) = update.alarms {
            self.alarms = alarms;
        }
        if let Some(bgp) = update.bgp {
            self.bgp = bgp;
        }
        if let Some(nodes) = update.nodes {
            self.nodes = nodes;
        }
        if let Some(pools) = update.pools {
            self.pools = pools;
        }
    }

    /// What becomes of routes to each peer.
    fn policies(&self) -> Vec<Arc<[Statement]>> {
        let peers = self.bgp.iter().flat_map(|bgp| &bgp.peers);
        peers.map(|peer| Arc::clone(&peer.policy)).collect()
    }

    /// Reads updates until something holds.
    async fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) -> Result<()> {
        let waits = async {
            while !holds(self) {
                let Some(update) = self.updates.recv().await else {
                    bail!("the source has ended");
                };
                self.take(update);
            }
            Ok(())
        };
        let ended = timeout(SOON, waits).await;
        ended.with_context(|| format!("{what}: {:?} {:#?}", self.services, self.alarms))?
    }

    /// Fails if a Service changes for a while.
    async fn stays(&mut self) -> Result<()> {
        let before = self.services.clone();
        let ends = tokio::time::Instant::now() + QUIET;
        while let Ok(Some(update)) = tokio::time::timeout_at(ends, self.updates.recv()).await {
            self.take(update);
        }
        ensure!(
            self.services == before,
            "{before:?} became {:?}",
            self.services
        );
        Ok(())
    }

    fn endpoints(&self, name: &str) -> Vec<u8> {
        let service = self.services.get(&*format!("default/{name}"));
        let endpoints = service.iter().flat_map(|service| &service.endpoints);
        let last = endpoints.map(|endpoint| match endpoint.address {
            IpAddr::V4(address) => address.octets()[3],
            IpAddr::V6(_) => 0,
        });
        last.collect()
    }

    fn says(&self, words: &str) -> bool {
        self.alarms.iter().any(|alarm| alarm.contains(words))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A server with a node, a pool, the cluster's key and two Services.
fn cluster() -> Result<ApiServer> {
    let server = start()?;
    server.apply(NODE)?;
    server.apply(POOL)?;
    server.apply(KEY)?;
    publish(&server, "one", 1, &[1, 2])?;
    publish(&server, "two", 2, &[3])?;
    Ok(server)
}

#[test]
fn lists_and_then_follows_and_survives_a_server_that_is_killed_or_frozen() -> Result<()> {
    let mut server = cluster()?;
    block_on(async {
        let mut reader = Reader::start(&server, None).await?;
        reader
            .until("the first lists", |reader| reader.services.len() == 2)
            .await?;
        ensure!(reader.is_listed && reader.endpoints("one") == [1, 2]);
        ensure!(
            reader.count == 1,
            "nothing is told before everything is listed"
        );
        server.apply(&web("one", 1, &[1, 2, 9]))?;
        reader
            .until("an endpoint more", |reader| {
                reader.endpoints("one") == [1, 2, 9]
            })
            .await?;

        server.kill()?;
        reader
            .until("that it is away", |reader| reader.says("does not answer"))
            .await?;
        reader.stays().await?;
        server.restart()?;
        server.apply(&web("one", 1, &[2, 9]))?;
        reader
            .until("that it is back", |reader| {
                reader.endpoints("one") == [2, 9]
            })
            .await?;
        reader
            .until("no alarm", |reader| reader.alarms.is_empty())
            .await?;

        server.freeze()?;
        reader.stays().await?;
        server.thaw()?;
        server.kubectl(&["delete", "service", "two"])?;
        reader
            .until("one Service less", |reader| reader.services.len() == 1)
            .await
    })
}

#[test]
fn a_server_that_goes_back_takes_nothing_until_somebody_accepts_it() -> Result<()> {
    let mut server = start()?;
    server.apply(NODE)?;
    server.apply(POOL)?;
    server.apply(KEY)?;
    server.apply(&web("one", 1, &[1]))?;
    let saved = server.save()?;
    assign(&server, "one", 1)?;
    publish(&server, "two", 2, &[3])?;
    block_on(async {
        let mut reader = Reader::start(&server, None).await?;
        reader
            .until("the first lists", |reader| reader.services.len() == 2)
            .await?;
        server.roll_back(&saved)?;
        reader
            .until("an alarm", |reader| reader.says("went back"))
            .await?;
        reader.stays().await?;
        ensure!(reader.services.len() == 2, "{:?}", reader.services);
        // What is new counts.
        publish(&server, "three", 3, &[4])?;
        reader
            .until("a Service more", |reader| reader.services.len() == 3)
            .await?;
        reader.requests.send(Request::Accept).await?;
        reader
            .until("what is there", |reader| reader.services.len() == 1)
            .await
    })
}

#[test]
fn definitions_that_are_deleted_take_no_service_along() -> Result<()> {
    let server = cluster()?;
    block_on(async {
        let mut reader = Reader::start(&server, None).await?;
        reader
            .until("the first lists", |reader| reader.services.len() == 2)
            .await?;
        server.kubectl(&["delete", "crd", "eips.network.kubesphere.io"])?;
        reader
            .until("an alarm", |reader| reader.says("no longer serves"))
            .await?;
        reader.stays().await?;
        ensure!(reader.services.len() == 2, "{:?}", reader.services);
        Ok(())
    })
}

#[test]
fn kinds_that_are_not_served_are_empty() -> Result<()> {
    let server = ApiServer::start()?;
    server.apply(NODE)?;
    server.apply(KEY)?;
    publish(&server, "one", 1, &[1])?;
    block_on(async {
        let mut reader = Reader::start(&server, None).await?;
        reader
            .until("a complete cluster", |reader| reader.is_listed)
            .await?;
        ensure!(
            reader.services.is_empty(),
            "no pool, no VIP: {:?}",
            reader.services
        );
        crate::fixture::install(&server)?;
        server.apply(POOL)?;
        reader
            .until("the pool's Service", |reader| reader.services.len() == 1)
            .await
    })
}

#[test]
fn an_agent_that_starts_without_a_server_has_what_was_known_last() -> Result<()> {
    let mut server = cluster()?;
    let file = server.folder().join("last-known.json");
    block_on(async {
        let mut reader = Reader::start(&server, Some(file.clone())).await?;
        reader
            .until("the first lists", |reader| reader.services.len() == 2)
            .await?;
        let known = reader.services.clone();
        let ends = tokio::time::Instant::now() + SOON;
        while !file.exists() {
            ensure!(tokio::time::Instant::now() < ends, "nothing was written");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        drop(reader);
        server.kill()?;
        let mut again = Reader::start(&server, Some(file.clone())).await?;
        again
            .until("the last known state", |reader| reader.services.len() == 2)
            .await?;
        ensure!(again.services == known && !again.is_listed);
        server.restart()?;
        again
            .until("the first lists", |reader| reader.is_listed)
            .await?;
        ensure!(again.services == known, "the same objects change nothing");
        Ok(())
    })
}

#[test]
fn a_service_that_is_made_again_is_not_served_by_the_endpoints_of_the_old_one() -> Result<()> {
    let server = cluster()?;
    let uid = |name: &str| {
        let words = ["get", "service", name, "-o", "jsonpath={.metadata.uid}"];
        server.kubectl(&words)
    };
    let own = |name: &str, uid: &str| {
        let owners = format!(
            "{{\"metadata\":{{\"ownerReferences\":[{{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"name\":\"{name}\",\"uid\":\"{uid}\"}}]}}}}"
        );
        let slice = format!("{name}-1");
        server.kubectl(&[
            "patch",
            "endpointslice",
            &slice,
            "--type=merge",
            "-p",
            &owners,
        ])
    };
    own("one", &uid("one")?)?;
    block_on(async {
        let mut reader = Reader::start(&server, None).await?;
        reader
            .until("the first lists", |reader| {
                reader.endpoints("one") == [1, 2]
            })
            .await?;
        // Nobody collects the old one's slice here, so that it is beside the new Service.
        server.kubectl(&["delete", "service", "one"])?;
        reader
            .until("one Service less", |reader| reader.services.len() == 1)
            .await?;
        let service = web("one", 1, &[]);
        let (service, _) = service
            .split_once("---\napiVersion: discovery")
            .context("a slice")?;
        server.apply(service)?;
        assign(&server, "one", 1)?;
        reader
            .until("the new Service", |reader| reader.services.len() == 2)
            .await?;
        ensure!(reader.endpoints("one").is_empty(), "{:?}", reader.services);
        own("one", &uid("one")?)?;
        reader
            .until("its endpoints", |reader| reader.endpoints("one") == [1, 2])
            .await
    })
}

#[test]
fn what_others_have_allocated_is_announced_within_the_allowed_ranges_alone() -> Result<()> {
    let server = cluster()?;
    // Another controller's, whose address lies in no pool of ours.
    let class = "loadBalancerClass: example.com/other";
    for (name, vip) in [("three", 200), ("four", 77)] {
        let service = web(name, vip, &[4]);
        server.apply(&service.replace("loadBalancerClass: fairlead.io/load-balancer", class))?;
        assign(&server, name, vip)?;
    }
    let settings = Settings {
        allowed_ranges: Prefix::new([10, 99, 0, 192].into(), 26)
            .into_iter()
            .collect(),
        ..Settings::default()
    };
    block_on(async {
        let mut ours = Reader::start(&server, None).await?;
        ours.until("the first lists", |reader| reader.services.len() == 2)
            .await?;
        ensure!(ours.endpoints("three").is_empty(), "{:?}", ours.services);
        let mut theirs = Reader::start_with(&server, None, settings).await?;
        theirs
            .until("the first lists", |reader| reader.is_listed)
            .await?;
        let names: Vec<_> = theirs.services.keys().map(|name| &**name).collect();
        ensure!(names == ["default/three"], "{names:?}");
        Ok(())
    })
}

const SPEAKER: &str = "
apiVersion: network.kubesphere.io/v1alpha2
kind: BgpConf
metadata: {name: default}
spec: {as: 65000, routerId: 10.0.0.11, policy: routes}
---
apiVersion: network.kubesphere.io/v1alpha2
kind: BgpPeer
metadata: {name: router}
spec: {conf: {peerAs: 65001, neighborAddress: 10.0.0.1}}
";

fn policy(text: &str) -> String {
    format!(
        "
apiVersion: v1
kind: ConfigMap
metadata: {{name: routes, namespace: fairlead-system}}
data: {{gobgp.conf: '{text}'}}
"
    )
}

#[test]
fn a_policy_is_awaited_followed_and_kept_when_it_goes() -> Result<()> {
    let server = cluster()?;
    server.apply(SPEAKER)?;
    block_on(async {
        let mut reader = Reader::start(&server, None).await?;
        let awaited = "there is no ConfigMap routes with the key gobgp.conf";
        reader
            .until("a policy is awaited", |reader| {
                reader.is_listed && reader.says(awaited) && reader.bgp.is_none()
            })
            .await?;
        let rejecting = "global.apply-policy.config.default-export-policy = \"reject-route\"";
        server.apply(&policy(rejecting))?;
        reader
            .until("it is followed", |reader| {
                let policies = reader.policies();
                let rejects = |policy: &&Arc<[Statement]>| policy[0].accepts == Some(false);
                !reader.says(awaited) && policies.iter().filter(rejects).count() == 1
            })
            .await?;
        let followed = reader.policies();
        server.apply(&policy("[global"))?;
        let refused = "default/nothing is not understood";
        let refused = refused.replace("default/nothing", "fairlead-system/routes");
        reader
            .until("it is refused", |reader| reader.says(&refused))
            .await?;
        assert_eq!(reader.policies(), followed);
        server.kubectl(&["delete", "configmap", "routes", "-n", SYSTEM_NAMESPACE])?;
        reader.stays().await?;
        assert_eq!(reader.policies(), followed);
        Ok(())
    })
}

#[test]
fn what_is_handed_to_a_cni_and_nodes_that_are_excluded_do_not_count() -> Result<()> {
    const CNI: &str = "openelb.kubesphere.io/cni";
    const EXCLUDED: &str = "node.kubernetes.io/exclude-from-external-load-balancers";
    let server = cluster()?;
    server.apply(&SPEAKER.replace(", policy: routes", ""))?;
    let theirs = SPEAKER.replace(
        "name: router",
        "name: theirs, labels: {openelb.kubesphere.io/cni: calico}",
    );
    let theirs = theirs
        .replace("10.0.0.1}", "10.0.0.2}")
        .replace(", policy: routes", "");
    server.apply(&theirs)?;
    let pool = POOL.replace(
        "name: pool",
        "name: theirs, labels: {openelb.kubesphere.io/cni: calico}",
    );
    server.apply(&pool.replace("10.99.0.0", "10.98.0.0"))?;
    server.apply(&NODE.replace(
        "name: node1",
        &format!("name: node2, labels: {{{EXCLUDED}: \"\"}}"),
    ))?;
    block_on(async {
        let mut reader = Reader::start(&server, None).await?;
        reader
            .until("everything is listed", |reader| {
                reader.is_listed && reader.bgp.is_some()
            })
            .await?;
        let pools = |reader: &Reader| {
            reader
                .pools
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            (pools(&reader), reader.policies().len()),
            (vec!["10.99.0.0/24".to_owned()], 1)
        );
        let unfit = |reader: &Reader| {
            reader
                .nodes
                .iter()
                .find(|node| &*node.name == "node2")
                .map(|node| node.unfit)
        };
        assert_eq!(unfit(&reader), Some(Some(Unfit::Excluded)));
        let own = |kind: &str| server.kubectl(&["label", kind, "theirs", &format!("{CNI}-")]);
        own("bgppeer")?;
        own("eip")?;
        server.kubectl(&["label", "node", "node2", &format!("{EXCLUDED}-")])?;
        reader
            .until("they are ours", |reader| {
                pools(reader).len() == 2
                    && reader.policies().len() == 2
                    && unfit(reader) != Some(Some(Unfit::Excluded))
            })
            .await
    })
}
