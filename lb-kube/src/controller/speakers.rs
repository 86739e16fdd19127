//! What the leader does for BgpConf and BgpPeers: their conditions, keys of nodes that are gone, and OpenELB's finalizers,
//! which nobody else takes away. Once an object and process, so that beside a living OpenELB there is no quarrel.

use std::{collections::BTreeSet, fmt::Debug, sync::Arc};

use kube::{
    Api, Resource, ResourceExt,
    api::{Patch, PatchParams},
};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout};

use super::{Controller, FAILURE_REST, WRITE_TIMEOUT, look};
use crate::speakers;

impl Controller {
    /// Says of BgpConf and BgpPeers whether they can be used. A list without any Node is not believed: keys of nodes that
    /// are gone go, and with a key a next hop.
    pub(super) async fn tend_speakers(&mut self) {
        let nodes = self.view.nodes.all().map(|node| node.key.to_string());
        let nodes: BTreeSet<String> = nodes.collect();
        if !self.options.addresses_only
            && let Err(error) = self.tend(&nodes).await
        {
            tracing::warn!("BgpConf and BgpPeers cannot be written: {error}");
            self.counts.speaker_failures += 1;
            self.wake_by(Instant::now() + FAILURE_REST);
        }
    }

    async fn tend(&mut self, nodes: &BTreeSet<String>) -> kube::Result<()> {
        let confs: Vec<_> = self.view.confs.values().cloned().collect();
        let peers: Vec<_> = self.view.peers.values().cloned().collect();
        for conf in &confs {
            self.release(&**conf).await?;
        }
        for peer in &peers {
            self.release(&**peer).await?;
        }
        if nodes.is_empty() {
            return Ok(());
        }
        let tended = speakers::tend(
            &self.client,
            nodes,
            |name| self.view.policy(name),
            confs.iter().map(AsRef::as_ref),
            peers.iter().map(AsRef::as_ref),
        )
        .await?;
        for conf in tended.confs {
            self.view
                .confs
                .learn(look::known(&conf, Arc::new(conf.clone())));
        }
        for peer in tended.peers {
            self.view
                .peers
                .learn(look::known(&peer, Arc::new(peer.clone())));
        }
        Ok(())
    }

    /// Takes OpenELB's finalizers from an object.
    async fn release<K>(&mut self, object: &K) -> kube::Result<()>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let uid = object.uid().unwrap_or_default();
        let is_deleting = object.meta().deletion_timestamp.is_some();
        let Some(patch) = speakers::release_patch(object) else {
            return Ok(());
        };
        if !self.released.insert(uid) && !is_deleting {
            return Ok(());
        }
        let api: Api<K> = Api::all(self.client.clone());
        let params = PatchParams::default();
        let (name, patch) = (object.name_any(), Patch::Merge(&patch));
        let written = timeout(WRITE_TIMEOUT, api.patch(&name, &params, &patch)).await;
        match written.unwrap_or_else(|_| Err(look::no_answer())) {
            // What is not as it was seen is seen again soon.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
            written => written.map(drop),
        }
    }
}
