//! A look at the API server itself: whole lists, as new as they are, past any cache. A leader begins with one, and takes
//! another when an Eip turns up that no leader has written yet.

use std::{collections::BTreeSet, fmt::Debug, io, sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::Service;
use kube::{Api, Resource, ResourceExt, api::ListParams};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::{Controller, eip, service};
use crate::{
    crd::Eip,
    reflect::{store::Known, understood::Understood},
};

const PAGE: u32 = 500;
/// How long the API server may take for a page.
const PAGE_TIMEOUT: Duration = Duration::from_secs(30);

impl Controller {
    /// Reads Eips and Services; the Eips that there are, by name and UID.
    pub(super) async fn look(&mut self) -> Result<BTreeSet<(Arc<str>, Arc<str>)>, ()> {
        let rules = self.view.class.clone();
        let eips = list(Api::all(self.client.clone()), |object: &Eip| {
            eip::record(object)
        });
        let services = list(Api::all(self.client.clone()), |object: &Service| {
            service::record(object, &rules)
        });
        let told =
            |error: kube::Error| tracing::warn!("Eips and Services cannot be listed: {error}");
        let eips = eips.await.map_err(told)?;
        let services = services.await.map_err(told)?;
        self.view.look(eips, services);
        Ok(self.view.eips_seen())
    }
}

async fn list<K, R>(
    api: Api<Understood<K>>,
    project: impl Fn(&K) -> R,
) -> kube::Result<(u64, Vec<Known<R>>)>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let mut items = Vec::new();
    let mut params = ListParams::default().limit(PAGE);
    loop {
        let page = timeout(PAGE_TIMEOUT, api.list(&params)).await;
        let page = page.map_err(|_| no_answer())??;
        let version = number(page.metadata.resource_version.as_deref());
        let objects = page.items.into_iter().filter_map(|object| object.0.ok());
        items.extend(objects.map(|object| known(&object, project(&object))));
        params.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
        if params.continue_token.is_none() {
            return Ok((version, items));
        }
    }
}

/// As an error of the same kind as all others.
pub(crate) fn no_answer() -> kube::Error {
    let silence = io::Error::new(io::ErrorKind::TimedOut, "the API server does not answer");
    kube::Error::Service(Box::new(silence))
}

/// A record with what the API server says of its object.
pub(super) fn known<K: Resource, R>(object: &K, record: R) -> Known<R> {
    let name = object.name_any();
    let key = match object.namespace() {
        Some(namespace) => format!("{namespace}/{name}"),
        None => name,
    };
    Known {
        key: key.into(),
        uid: object.uid().unwrap_or_default().into(),
        version: number(object.meta().resource_version.as_deref()),
        record,
    }
}

/// A resource version as a number (KEP-5504); what is none counts as the oldest.
fn number(version: Option<&str>) -> u64 {
    version.and_then(|text| text.parse().ok()).unwrap_or(0)
}
