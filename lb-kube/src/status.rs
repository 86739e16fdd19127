//! What an agent writes: its own keys in the status of the BgpConf and of the BgpPeers, by server-side apply under a
//! field manager of its node, so that nodes never write over each other. Only what changed is written, and not more
//! often than every [`WRITE_INTERVAL`]. A key that is no longer said is taken away by the same manager. Counters are
//! metrics and passwords are secrets: neither is here.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime},
};

use k8s_openapi::jiff::Timestamp;
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{ListParams, Patch, PatchParams},
    core::ObjectList,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::crd::{BGP_CONF_NAME, BgpConf, BgpPeer, NodeConfStatus, NodePeerStatus};

/// Least time from one writing to the next.
pub const WRITE_INTERVAL: Duration = Duration::from_secs(10);
/// Longest name of a field manager (API convention).
const MANAGER_BYTES_MAX: usize = 128;

/// What a node says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// In the BgpConf; `None`: nothing, as before its data path is loaded.
    pub speaker: Option<NodeConfStatus>,
    /// In each BgpPeer there is, by its name; `None`: nothing, because this node has no session with it.
    pub peers: BTreeMap<String, Option<NodePeerStatus>>,
}

/// A time as objects have it, to the second.
#[must_use]
pub fn rfc3339(time: SystemTime) -> Option<String> {
    let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    let seconds = i64::try_from(since_epoch.as_secs()).ok()?;
    Timestamp::from_second(seconds)
        .ok()
        .map(|time| time.to_string())
}

/// Writes the reports of one node.
pub struct Writer {
    client: Client,
    node: String,
    written: Written,
    tried_at: Option<Instant>,
}

/// What is known to be written; an object that is not here may hold anything.
#[derive(Clone, Debug, Default)]
struct Written {
    speaker: Option<Option<NodeConfStatus>>,
    peers: BTreeMap<String, Option<NodePeerStatus>>,
}

/// An object and what its status is to say of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Due {
    Speaker(Option<NodeConfStatus>),
    Peer(String, Option<NodePeerStatus>),
}

impl Written {
    /// What differs. Before anybody speaks there is nothing to take away.
    fn due(&self, report: &Report) -> Vec<Due> {
        let mut due = Vec::new();
        if self.speaker.as_ref() != Some(&report.speaker) {
            due.push(Due::Speaker(report.speaker.clone()));
        }
        for (name, status) in &report.peers {
            if self.peers.get(name) != Some(status) {
                due.push(Due::Peer(name.clone(), status.clone()));
            }
        }
        due
    }
}

impl Writer {
    /// Has written nothing yet.
    #[must_use]
    pub fn new(client: Client, node: &str) -> Self {
        Self {
            client,
            node: node.to_owned(),
            written: Written::default(),
            tried_at: None,
        }
    }

    /// Writes what differs from what was written, unless something was written just now. Says how many objects.
    ///
    /// # Errors
    /// If the API server refuses; the rest is written nevertheless, and what failed is tried again.
    pub async fn write(&mut self, report: &Report) -> kube::Result<usize> {
        self.written
            .peers
            .retain(|name, _| report.peers.contains_key(name));
        let due = self.written.due(report);
        let rests = self
            .tried_at
            .is_some_and(|at| at.elapsed() < WRITE_INTERVAL);
        if due.is_empty() || rests {
            return Ok(0);
        }
        self.tried_at = Some(Instant::now());
        let count = due.len();
        let mut failure = None;
        for due in due {
            let done = match &due {
                Due::Speaker(status) => {
                    let status = self.keyed("nodesConfStatus", status.as_ref());
                    self.apply::<BgpConf>(BGP_CONF_NAME, status).await
                }
                Due::Peer(name, status) => {
                    let status = self.keyed("nodesPeerStatus", status.as_ref());
                    self.apply::<BgpPeer>(name, status).await
                }
            };
            match (done, due) {
                (Ok(()), Due::Speaker(status)) => self.written.speaker = Some(status),
                (Ok(()), Due::Peer(name, status)) => _ = self.written.peers.insert(name, status),
                (Err(error), _) => failure = Some(error),
            }
        }
        failure.map_or(Ok(count), Err)
    }

    fn keyed(&self, map: &str, status: Option<&impl Serialize>) -> Value {
        match status {
            Some(status) => json!({ map: { self.node.as_str(): status } }),
            None => json!({}),
        }
    }

    /// An object that is gone has no status to be wrong.
    async fn apply<K>(&self, name: &str, status: Value) -> kube::Result<()>
    where
        K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
    {
        let patch = json!({
            "apiVersion": K::api_version(&()),
            "kind": K::kind(&()),
            "metadata": {"name": name},
            "status": status,
        });
        let params = PatchParams::apply(&manager(&self.node)).force();
        let api: Api<K> = Api::all(self.client.clone());
        match api.patch_status(name, &params, &Patch::Apply(patch)).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Takes the keys of a node away, whoever wrote them; says from which objects. Others stop counting on the node at once.
///
/// # Errors
/// If the API server does not answer, or refuses.
pub async fn forget(client: &Client, node: &str) -> kube::Result<Vec<String>> {
    let confs: Api<BgpConf> = Api::all(client.clone());
    let peers: Api<BgpPeer> = Api::all(client.clone());
    let mut forgotten = Vec::new();
    for conf in served(confs.list(&ListParams::default()).await)? {
        let status = conf.status.clone().unwrap_or_default();
        if status.nodes_conf_status.contains_key(node) {
            take_out(&confs, &conf.name_any(), "nodesConfStatus", node).await?;
            forgotten.push(format!("BgpConf {}", conf.name_any()));
        }
    }
    for peer in served(peers.list(&ListParams::default()).await)? {
        let status = peer.status.clone().unwrap_or_default();
        if status.nodes_peer_status.contains_key(node) {
            take_out(&peers, &peer.name_any(), "nodesPeerStatus", node).await?;
            forgotten.push(format!("BgpPeer {}", peer.name_any()));
        }
    }
    Ok(forgotten)
}

/// A kind that is not served has no objects.
fn served<K: Clone>(list: kube::Result<ObjectList<K>>) -> kube::Result<Vec<K>> {
    match list {
        Ok(list) => Ok(list.items),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

async fn take_out<K>(api: &Api<K>, name: &str, map: &str, node: &str) -> kube::Result<()>
where
    K: Clone + std::fmt::Debug + DeserializeOwned,
{
    let patch = Patch::Merge(json!({"status": {map: {node: null}}}));
    let params = PatchParams::default();
    api.patch_status(name, &params, &patch).await.map(drop)
}

/// The field manager of a node.
fn manager(node: &str) -> String {
    let mut name = format!("fairlead-agent-{node}");
    name.truncate(MANAGER_BYTES_MAX);
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn speaker(state: &str) -> Option<NodeConfStatus> {
        Some(NodeConfStatus {
            state: Some(state.to_owned()),
            ..NodeConfStatus::default()
        })
    }

    #[test]
    fn only_what_differs_is_due() {
        let mut report = Report {
            speaker: speaker("Ready"),
            peers: BTreeMap::from([
                ("a".to_owned(), Some(NodePeerStatus::default())),
                ("b".to_owned(), None),
            ]),
        };
        let mut written = Written::default();
        let due = written.due(&report);
        assert_eq!(
            due.len(),
            3,
            "an earlier agent may have left anything: {due:?}"
        );
        written.speaker = Some(report.speaker.clone());
        written.peers = report.peers.clone();
        assert!(written.due(&report).is_empty());
        report.peers.insert("a".to_owned(), None);
        assert_eq!(written.due(&report), [Due::Peer("a".to_owned(), None)]);
        report.speaker = speaker("Draining");
        assert_eq!(written.due(&report).len(), 2);
    }

    #[test]
    fn times_are_told_to_the_second() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_900);
        assert_eq!(rfc3339(time).as_deref(), Some("2023-11-14T22:13:20Z"));
    }

    #[test]
    fn a_managers_name_is_short_enough() {
        assert_eq!(manager("node1"), "fairlead-agent-node1");
        assert_eq!(manager(&"n".repeat(253)).len(), MANAGER_BYTES_MAX);
    }
}
