//! EndpointSlices as the controller needs them: how many endpoints of each slice get connections, and on which nodes. Their
//! addresses and ports are the agents' business and are not kept.

use std::{collections::BTreeSet, sync::Arc};

use k8s_openapi::api::discovery::v1::EndpointSlice;

use crate::project::{names::Names, slice::slice};

/// An EndpointSlice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SliceRecord {
    /// `namespace/name` of the Service.
    pub(super) service: Arc<str>,
    /// The Service that it was made for; `None`: somebody wrote it by hand.
    pub(super) owner_uid: Option<Arc<str>>,
    /// Endpoints that get connections.
    pub(super) count: usize,
    /// Nodes that they are on, each once.
    pub(super) nodes: Box<[Arc<str>]>,
}

/// `None`: it belongs to no Service.
pub(super) fn record(object: &EndpointSlice, names: &mut Names) -> Option<SliceRecord> {
    let slice = slice(object, names)?;
    // Those that terminate serve only while none is ready: whether there are any at all is the same question.
    let usable = slice
        .endpoints
        .iter()
        .filter(|endpoint| endpoint.ready || (endpoint.serving && endpoint.terminating));
    let nodes: BTreeSet<_> = usable
        .clone()
        .filter_map(|item| item.node.clone())
        .collect();
    Some(SliceRecord {
        service: slice.service,
        owner_uid: slice.owner_uid,
        count: usable.count(),
        nodes: nodes.into_iter().collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_get_connections_are_counted_with_their_nodes() {
        let object = serde_json::json!({
            "metadata": {"name": "web-1", "namespace": "a", "labels": {"kubernetes.io/service-name": "web"},
                "ownerReferences": [{"apiVersion": "v1", "kind": "Service", "name": "web", "uid": "u"}]},
            "addressType": "IPv4",
            "endpoints": [
                {"addresses": ["10.1.0.1"], "nodeName": "n1"},
                {"addresses": ["10.1.0.2"], "nodeName": "n1", "conditions": {"ready": true}},
                {"addresses": ["10.1.0.3"], "nodeName": "n2", "conditions": {"ready": false}},
                {"addresses": ["10.1.0.4"], "nodeName": "n3",
                    "conditions": {"ready": false, "serving": true, "terminating": true}},
                {"addresses": ["10.1.0.5"]},
            ],
        });
        let object = serde_json::from_value(object).unwrap();
        let record = record(&object, &mut Names::default()).unwrap();
        assert_eq!(
            (&*record.service, record.owner_uid.as_deref()),
            ("a/web", Some("u"))
        );
        assert_eq!(record.count, 4);
        let nodes: Vec<&str> = record.nodes.iter().map(|name| &**name).collect();
        assert_eq!(nodes, ["n1", "n3"]);
    }
}
