//! etcd, kube-apiserver and kubectl: from the folder that `KUBEBUILDER_ASSETS` names, as controller-runtime's tests have
//! it, or built from Go modules and kept below `~/.cache/fairlead/k8s`, in a folder named after their versions.
//! `tests/kubernetes` has the modules, one for etcd, one for Kubernetes.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};

use super::go;
use crate::go_module::{build, cache_folder, stamp, version};

/// Where the programs are.
#[derive(Clone, Debug)]
pub(super) struct Binaries {
    pub(super) etcd: PathBuf,
    pub(super) apiserver: PathBuf,
    pub(super) kubectl: PathBuf,
}

const KUBERNETES: &str = include_str!("../../../tests/kubernetes/apiserver/go.mod");
const ETCD: &str = include_str!("../../../tests/kubernetes/etcd/go.mod");

impl Binaries {
    /// Finds them; builds nothing.
    pub(super) fn find() -> Result<Self> {
        if let Some(folder) = env::var_os("KUBEBUILDER_ASSETS") {
            let folder = PathBuf::from(folder);
            return Self::within(&folder)
                .with_context(|| format!("KUBEBUILDER_ASSETS is {}", folder.display()));
        }
        Self::within(&built_folder()?)
            .context("the API server is not built: run `cargo xtask test cluster` or `lb-lab build-kubernetes`")
    }

    fn within(folder: &Path) -> Result<Self> {
        let program = |name: &str| {
            let path = folder.join(name);
            path.exists()
                .then_some(path)
                .ok_or_else(|| anyhow!("there is no {name} in {}", folder.display()))
        };
        Ok(Self {
            etcd: program("etcd")?,
            apiserver: program("kube-apiserver")?,
            kubectl: program("kubectl")?,
        })
    }
}

/// Builds them if they are not there; says what it does. Needs no root, and as long as five minutes the first time.
pub(crate) fn prepare() -> Result<()> {
    if Binaries::find().is_ok() {
        return Ok(());
    }
    ensure!(
        env::var_os("KUBEBUILDER_ASSETS").is_none(),
        "KUBEBUILDER_ASSETS names a folder without etcd, kube-apiserver and kubectl: correct it, or unset it"
    );
    let cache = cache_folder();
    fs::create_dir_all(&cache).with_context(|| format!("creating {}", cache.display()))?;
    // One at a time; the second finds what the first has built.
    let lock = File::create(cache.join("lock"))?;
    lock.lock()?;
    if Binaries::find().is_ok() {
        return Ok(());
    }
    let fresh = cache.join("fresh");
    if fresh.exists() {
        fs::remove_dir_all(&fresh)?;
    }
    fs::create_dir_all(&fresh)?;
    build_all(&go::find(&cache)?, &fresh)?;
    let folder = built_folder()?;
    fs::rename(&fresh, &folder).with_context(|| format!("making {}", folder.display()))
}

const KUBERNETES_MODULE: &str = "k8s.io/kubernetes";
const ETCD_MODULE: &str = "go.etcd.io/etcd/server/v3";

fn build_all(go: &Path, folder: &Path) -> Result<()> {
    println!(
        "building etcd {} (half a minute)",
        version(ETCD, ETCD_MODULE)?
    );
    build(
        go,
        "etcd",
        &[ETCD_MODULE.to_owned()],
        "",
        &folder.join("etcd"),
    )?;
    let kubernetes = version(KUBERNETES, KUBERNETES_MODULE)?;
    println!("building kube-apiserver and kubectl {kubernetes} (five minutes)");
    let programs = ["kube-apiserver", "kubectl"];
    let programs = programs.map(|name| format!("{KUBERNETES_MODULE}/cmd/{name}"));
    build(go, "apiserver", &programs, &stamp(kubernetes)?, folder)
}

fn built_folder() -> Result<PathBuf> {
    let kubernetes = version(KUBERNETES, KUBERNETES_MODULE)?;
    let etcd = version(ETCD, ETCD_MODULE)?;
    let name = format!("{kubernetes}-etcd-{etcd}");
    Ok(cache_folder().join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_those_of_the_modules() {
        let kubernetes = version(KUBERNETES, KUBERNETES_MODULE).unwrap();
        assert!(kubernetes.starts_with("v1.35."), "{kubernetes}");
        let etcd = version(ETCD, ETCD_MODULE).unwrap();
        assert!(etcd.starts_with("v3.6."), "{etcd}");
        assert!(stamp(kubernetes).unwrap().contains(".gitMinor=35"));
        assert!(version(KUBERNETES, "k8s.io/nothing").is_err());
    }
}
