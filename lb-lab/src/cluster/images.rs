//! The images that pods of a cluster are made of, written here from static programs and imported into each node's
//! containerd: no registry is asked. All bear the names that Kubernetes' own tests and manifests use.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::cluster::programs::{COREDNS, NODE};
use crate::oci::{Image, ImageFile};

/// What containerd keeps a pod's namespaces with.
pub(super) const PAUSE: &str = "registry.k8s.io/pause:3.10.1";
/// Kubernetes' own test server: `netexec` answers on TCP and UDP with its name and the client's address.
pub const AGNHOST: &str = "registry.k8s.io/e2e-test-images/agnhost:2.59";
/// The cluster's DNS.
pub(super) const DNS: &str = "registry.k8s.io/coredns/coredns:v1.13.1";

/// Writes those that every cluster has into a folder, and returns the archives.
pub(super) fn write_all(folder: &Path) -> Result<Vec<PathBuf>> {
    let agnhost = NODE.program("agnhost")?;
    let coredns = COREDNS.program("coredns")?;
    let image = |name: &str, program: &Path, path: &str, arguments: &[&str]| Image {
        name: name.to_owned(),
        entrypoint: vec![format!("/{path}")],
        arguments: arguments.iter().map(|&word| word.to_owned()).collect(),
        user: "0:0".to_owned(),
        files: vec![ImageFile::program(path, program)],
        ..Image::default()
    };
    let images = [
        (image(PAUSE, &agnhost, "agnhost", &["pause"]), "pause.tar"),
        (
            image(AGNHOST, &agnhost, "agnhost", &["pause"]),
            "agnhost.tar",
        ),
        (image(DNS, &coredns, "coredns", &[]), "coredns.tar"),
    ];
    images
        .into_iter()
        .map(|(image, file)| {
            let archive = folder.join(file);
            image.write(&archive)?;
            Ok(archive)
        })
        .collect()
}
