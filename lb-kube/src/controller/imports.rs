//! The ConfigMaps of our own Namespace that count: policies of speakers, which are only passed on, and the import plan: which addresses that somebody else gave are to be taken over though no Eip has them. It is a ConfigMap
//! in our own Namespace, because whoever can write a Service must not be able to have any address announced for it
//! (CVE-2020-8554): a key `NAMESPACE.NAME`, which neither can contain a dot, with addresses, a comma between them.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use lb_core::allocate::{IMPORT_PLAN, Import};

use crate::project::gobgp::POLICY_KEY;

/// How what is taken over is announced, as a Service records it.
const ANNOUNCEMENT: &str = r#"{"protocol":"bgp"}"#;

/// What to take over, by Service.
pub(super) type Imports = BTreeMap<Arc<str>, Import>;

/// A ConfigMap of our namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum OurMap {
    /// The import plan.
    Imports(Imports),
    /// The text of a policy.
    Policy(String),
}

/// Reads one, if it is one of those that count.
pub(super) fn our_map(object: &ConfigMap) -> Option<OurMap> {
    if object.name_any() == IMPORT_PLAN {
        return Some(OurMap::Imports(record(object)));
    }
    let text = object.data.as_ref()?.get(POLICY_KEY)?;
    Some(OurMap::Policy(text.clone()))
}

/// Reads the plan; an entry that cannot be understood is left out, and said.
fn record(object: &ConfigMap) -> Imports {
    let entries = object.data.iter().flatten();
    let read = entries.filter_map(|(key, text)| match import(key, text) {
        Ok(import) => Some(import),
        Err(why) => {
            tracing::warn!("ConfigMap fairlead-import: {why}; this entry does not count");
            None
        }
    });
    read.collect()
}

fn import(key: &str, text: &str) -> Result<(Arc<str>, Import), String> {
    let service = key.split_once('.').filter(|(_, name)| !name.contains('.'));
    let (namespace, name) =
        service.ok_or_else(|| format!("the key {key} is not NAMESPACE.NAME"))?;
    let addresses = text.split(',').map(|part| {
        let part = part.trim();
        let address = part.parse::<IpAddr>();
        address.map_err(|_| format!("{key}: \"{part}\" is no IPv4 or IPv6 address"))
    });
    let import = Import {
        addresses: addresses.collect::<Result<_, _>>()?,
        announcement: ANNOUNCEMENT.into(),
    };
    Ok((format!("{namespace}/{name}").into(), import))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_name_a_service_and_its_addresses() {
        let (service, read) = import("default.web", "203.0.113.7, 2001:db8::7").unwrap();
        assert_eq!(&*service, "default/web");
        assert_eq!(read.addresses.len(), 2);
        for (key, text) in [
            ("web", "203.0.113.7"),
            ("a.b.c", "203.0.113.7"),
            ("a.b", "x"),
            ("a.b", ""),
        ] {
            assert!(import(key, text).is_err(), "{key}: {text}");
        }
    }
}
