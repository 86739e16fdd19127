//! The way to the API server: by a kubeconfig file, or as a pod of the cluster.

use std::path::{Path, PathBuf};

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};

/// Why there is no way. An API server that does not answer is no reason: it is asked again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is not usable.
    #[error("kubeconfig {}", path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<kube::config::KubeconfigError>,
    },
    /// This is no pod.
    #[error("this is no pod with a service account; name a file with --kubeconfig")]
    NotInCluster(#[source] Box<kube::config::InClusterError>),
    /// The client cannot be made, as with certificates that are none.
    #[error("the way to the API server")]
    Client(#[source] Box<kube::Error>),
}

/// The client, and the namespace that it belongs to.
///
/// # Errors
/// If nothing says where the API server is, or with which credentials.
pub async fn client(kubeconfig: Option<&Path>) -> Result<(Client, String), Error> {
    let config = match kubeconfig {
        Some(path) => by_file(path).await?,
        None => Config::incluster().map_err(|error| Error::NotInCluster(Box::new(error)))?,
    };
    let namespace = config.default_namespace.clone();
    let client = Client::try_from(config).map_err(|error| Error::Client(Box::new(error)))?;
    Ok((client, namespace))
}

async fn by_file(path: &Path) -> Result<Config, Error> {
    let wrong = |source| Error::Kubeconfig {
        path: path.to_owned(),
        source: Box::new(source),
    };
    let file = Kubeconfig::read_from(path).map_err(wrong)?;
    let options = KubeConfigOptions::default();
    Config::from_custom_kubeconfig(file, &options)
        .await
        .map_err(wrong)
}
