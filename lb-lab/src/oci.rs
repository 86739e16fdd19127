//! Container images without a daemon: an archive in OCI's image layout, with one uncompressed layer of a few files. The
//! same files give the same bytes: no time, no owner but root, no name of the machine gets in. Formats: OCI image
//! specification 1.0 (image-layout.md, config.md, manifest.md), POSIX ustar.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

/// An image to be written.
#[derive(Clone, Debug, Default)]
pub struct Image {
    /// Its whole name, `example.org/name:tag`.
    pub name: String,
    /// The program that is started, by its path in the image.
    pub entrypoint: Vec<String>,
    /// Arguments, unless others are given.
    pub arguments: Vec<String>,
    /// `user:group` as numbers.
    pub user: String,
    /// What is in it.
    pub files: Vec<ImageFile>,
    /// What it says of itself (`org.opencontainers.image.*`).
    pub labels: Vec<(String, String)>,
}

/// An image in parts.
pub(crate) struct Blobs {
    /// Which of them is its manifest.
    pub(crate) manifest: String,
    /// Contents by digest.
    pub(crate) by_digest: BTreeMap<String, Vec<u8>>,
}

/// A file of an image.
#[derive(Clone, Debug)]
pub struct ImageFile {
    /// Its path in the image, without the first slash.
    pub path: String,
    /// Where its content is.
    pub source: PathBuf,
    /// Its permissions.
    pub mode: u32,
}

impl ImageFile {
    /// A program.
    pub fn program(path: &str, source: &Path) -> Self {
        Self {
            path: path.to_owned(),
            source: source.to_owned(),
            mode: 0o755,
        }
    }
}

impl Image {
    /// What it consists of: its manifest, the configuration and the layer.
    pub(crate) fn blobs(&self) -> Result<Blobs> {
        let mut blobs = BTreeMap::new();
        let mut add = |bytes: Vec<u8>| -> Result<(String, usize)> {
            let (digest, size) = (format!("sha256:{}", sha256(&bytes)?), bytes.len());
            blobs.insert(digest.clone(), bytes);
            Ok((digest, size))
        };
        let (layer, layer_size) = add(self.layer()?)?;
        let (config, config_size) = add(self.config(&layer).to_string().into_bytes())?;
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": config, "size": config_size},
            "layers": [{"mediaType": LAYER, "digest": layer, "size": layer_size}],
        });
        let (manifest, _) = add(manifest.to_string().into_bytes())?;
        Ok(Blobs {
            manifest,
            by_digest: blobs,
        })
    }

    /// Writes the archive, and returns the digest of its manifest, `sha256:...`.
    pub fn write(&self, archive: &Path) -> Result<String> {
        let Blobs {
            manifest,
            by_digest,
        } = self.blobs()?;
        let manifest_size = by_digest[&manifest].len();
        let tag = self.name.rsplit(':').next().unwrap_or_default();
        let index = json!({
            "schemaVersion": 2,
            "mediaType": INDEX,
            "manifests": [{
                "mediaType": MANIFEST,
                "digest": manifest,
                "size": manifest_size,
                "annotations": {"org.opencontainers.image.ref.name": tag, "io.containerd.image.name": self.name},
            }],
        });
        let mut tar = Tar::default();
        tar.file("oci-layout", 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        tar.file("index.json", 0o644, index.to_string().as_bytes())?;
        for folder in ["blobs", "blobs/sha256"] {
            tar.folder(folder)?;
        }
        for (digest, bytes) in &by_digest {
            let path = format!("blobs/{}", digest.replace(':', "/"));
            tar.file(&path, 0o644, bytes)?;
        }
        fs::write(archive, tar.end()).with_context(|| format!("writing {}", archive.display()))?;
        Ok(manifest)
    }

    fn layer(&self) -> Result<Vec<u8>> {
        let mut tar = Tar::default();
        let mut folders = Vec::new();
        for file in &self.files {
            let above: Vec<&Path> = Path::new(&file.path).ancestors().skip(1).collect();
            for folder in above
                .into_iter()
                .rev()
                .filter(|path| path.parent().is_some())
            {
                if !folders.contains(&folder) {
                    folders.push(folder);
                    tar.folder(&folder.to_string_lossy())?;
                }
            }
            let content = fs::read(&file.source)
                .with_context(|| format!("reading {}", file.source.display()))?;
            tar.file(&file.path, file.mode, &content)?;
        }
        Ok(tar.end())
    }

    fn config(&self, layer: &str) -> Value {
        let labels: serde_json::Map<String, Value> = self
            .labels
            .iter()
            .map(|(name, value)| (name.clone(), json!(value)))
            .collect();
        json!({
            "architecture": "amd64",
            "os": "linux",
            "config": {
                "User": self.user,
                "Env": ["PATH=/usr/local/bin:/usr/bin:/bin"],
                "Entrypoint": self.entrypoint,
                "Cmd": self.arguments,
                "Labels": labels,
            },
            "rootfs": {"type": "layers", "diff_ids": [layer]},
        })
    }
}

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// By coreutils, so that no dependency is needed for it.
fn sha256(bytes: &[u8]) -> Result<String> {
    let mut child = Command::new("sha256sum")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("starting sha256sum")?;
    let mut input = child
        .stdin
        .take()
        .context("sha256sum has no standard input")?;
    input.write_all(bytes)?;
    drop(input);
    let output = child.wait_with_output()?;
    ensure!(
        output.status.success(),
        "sha256sum failed: {}",
        output.status
    );
    let text = String::from_utf8(output.stdout)?;
    let digest = text
        .split_whitespace()
        .next()
        .context("sha256sum said nothing")?;
    Ok(digest.to_owned())
}

/// An archive in the making.
#[derive(Default)]
struct Tar(Vec<u8>);

impl Tar {
    fn file(&mut self, path: &str, mode: u32, content: &[u8]) -> Result<()> {
        self.header(path, mode, content.len(), b'0')?;
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(BLOCK_BYTES), 0);
        Ok(())
    }

    fn folder(&mut self, path: &str) -> Result<()> {
        self.header(&format!("{path}/"), 0o755, 0, b'5')
    }

    /// Two empty blocks end an archive.
    fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 2 * BLOCK_BYTES, 0);
        self.0
    }

    /// The ustar header of pax(1): owner and time are zero.
    fn header(&mut self, path: &str, mode: u32, size: usize, kind: u8) -> Result<()> {
        ensure!(path.len() <= NAME_BYTES, "too long for an archive: {path}");
        let mut header = [0; BLOCK_BYTES];
        let mut put = |at: usize, text: &[u8]| header[at..at + text.len()].copy_from_slice(text);
        put(0, path.as_bytes());
        put(100, format!("{mode:07o}\0").as_bytes());
        put(108, b"0000000\0");
        put(116, b"0000000\0");
        put(124, format!("{size:011o}\0").as_bytes());
        put(136, b"00000000000\0");
        // While it is computed, the checksum counts as spaces.
        put(148, b"        ");
        put(156, &[kind]);
        put(257, b"ustar\x0000");
        let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend_from_slice(&header);
        Ok(())
    }
}

const BLOCK_BYTES: usize = 512;
/// Of the field `name`.
const NAME_BYTES: usize = 100;

#[cfg(test)]
mod tests;
