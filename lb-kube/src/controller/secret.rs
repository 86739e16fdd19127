//! The cluster's key: a Secret that is made once, by the first leader, and never changed. Agents derive the seed of the
//! hash from it, so that all of them choose alike.

use std::{fs::File, io::Read};

use k8s_openapi::{
    ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{Api, Client, api::PostParams};

use crate::reflect::source::{CLUSTER_SECRET, CLUSTER_SECRET_KEY};

const KEY_BYTES: usize = 32;

/// Makes the key if there is none.
pub(super) async fn make_cluster_key(client: &Client, namespace: &str) -> kube::Result<()> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    if api.get_metadata_opt(CLUSTER_SECRET).await?.is_some() {
        return Ok(());
    }
    let secret = Secret {
        metadata: ObjectMeta {
            name: Some(CLUSTER_SECRET.to_owned()),
            ..ObjectMeta::default()
        },
        data: Some([(CLUSTER_SECRET_KEY.to_owned(), ByteString(random_key()?))].into()),
        type_: Some("Opaque".to_owned()),
        ..Secret::default()
    };
    match api.create(&PostParams::default(), &secret).await {
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        made => made.map(drop),
    }
}

fn random_key() -> kube::Result<Vec<u8>> {
    let mut key = vec![0; KEY_BYTES];
    let read = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut key));
    read.map_err(|error| kube::Error::Service(Box::new(error)))?;
    Ok(key)
}
