//! The images that pods of a cluster are made of, written here from static programs and imported into each node's
//! containerd: no registry is asked. All bear the names that Kubernetes' own tests and manifests use.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::cluster::programs::{COREDNS, E2E, NODE};
use crate::oci::{Image, ImageFile};

/// What containerd keeps a pod's namespaces with.
pub(super) const PAUSE: &str = "registry.k8s.io/pause:3.10.1";
/// Kubernetes' own test server: `netexec` answers on TCP and UDP with its name and the client's address.
pub const AGNHOST: &str = "registry.k8s.io/e2e-test-images/agnhost:2.59";
/// What PorterLB's manual makes its pods of: it answers any request with the pod's name. Here it is agnhost that does so.
pub const KUBIA: &str = "docker.io/luksa/kubia:latest";
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

/// agnhost with what Kubernetes' own end-to-end tests call in its pods: a shell, which is busybox's, curl, nc and wget.
pub(super) fn write_agnhost_for_e2e(folder: &Path) -> Result<PathBuf> {
    let busybox = Path::new(BUSYBOX)
        .canonicalize()
        .context("busybox is needed (Debian package busybox-static)")?;
    let tools = E2E.program("tools")?;
    let programs = [
        ("agnhost", NODE.program("agnhost")?),
        ("bin/busybox", busybox),
        ("usr/bin/wget", tools.clone()),
        ("bin/sh", tools.clone()),
        ("usr/bin/curl", tools.clone()),
        ("usr/bin/nc", tools),
    ];
    let files = programs.iter();
    let image = Image {
        name: AGNHOST.to_owned(),
        entrypoint: vec!["/agnhost".to_owned()],
        arguments: vec!["pause".to_owned()],
        user: "0:0".to_owned(),
        files: files
            .map(|(path, program)| ImageFile::program(path, program))
            .collect(),
        ..Image::default()
    };
    let archive = folder.join("agnhost-e2e.tar");
    image.write(&archive)?;
    Ok(archive)
}

const BUSYBOX: &str = "/bin/busybox";

pub(super) fn kubia() -> Result<Image> {
    let arguments = ["serve-hostname", "--port=8080"];
    Ok(Image {
        name: KUBIA.to_owned(),
        entrypoint: vec!["/agnhost".to_owned()],
        arguments: arguments.map(str::to_owned).to_vec(),
        user: "0:0".to_owned(),
        files: vec![ImageFile::program("agnhost", &NODE.program("agnhost")?)],
        ..Image::default()
    })
}
