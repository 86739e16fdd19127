//! The last known state on disk, so that an agent that starts while the API server is away has something to announce
//! by. The file is its owner's alone (mode 0600: Secrets are in it) and is replaced whole. It bears the id of the boot:
//! after a reboot the pods of this node are not what they were, and its endpoints are left out.

use std::{
    fs, io,
    io::Write,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::{
    store::{Known, Store},
    stores::{PolicyRecord, SecretRecord, SpeakerRecord, Stores},
};
use crate::{
    crd::{BgpPeerSpec, EipSpec},
    project::{node::NodeRecord, service::ServiceRecord, slice::SliceRecord},
};

/// Version of the format; another one is not read.
const FORMAT: u32 = 1;
/// What is put together before the file system is asked.
const BUFFER_BYTES: usize = 256 << 10;

/// Why there is no file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read or written.
    #[error("the last known state, {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// It is something else.
    #[error("the last known state, {}, is not understood and not used", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
}

#[derive(Serialize, Deserialize)]
struct Kept<T> {
    format: u32,
    boot_id: String,
    stores: T,
}

/// What is to be written: shared with the stores, so that nothing is copied and they can go on meanwhile.
#[derive(Clone, Debug, Serialize)]
pub struct State {
    services: Vec<Arc<Known<ServiceRecord>>>,
    slices: Vec<Arc<Known<SliceRecord>>>,
    nodes: Vec<Arc<Known<NodeRecord>>>,
    pools: Vec<Arc<Known<EipSpec>>>,
    speakers: Vec<Arc<Known<SpeakerRecord>>>,
    peers: Vec<Arc<Known<Arc<BgpPeerSpec>>>>,
    secrets: Vec<Arc<Known<SecretRecord>>>,
    policies: Vec<Arc<Known<PolicyRecord>>>,
}

impl State {
    /// The stores as they are now.
    #[must_use]
    pub fn of(stores: &Stores) -> Self {
        Self {
            services: stores.services.items().cloned().collect(),
            slices: stores.slices.items().cloned().collect(),
            nodes: stores.nodes.items().cloned().collect(),
            pools: stores.pools.items().cloned().collect(),
            speakers: stores.speakers.items().cloned().collect(),
            peers: stores.peers.items().cloned().collect(),
            secrets: stores.secrets.items().cloned().collect(),
            policies: stores.policies.items().cloned().collect(),
        }
    }
}

#[derive(Deserialize)]
struct Read {
    services: Vec<Known<ServiceRecord>>,
    slices: Vec<Known<SliceRecord>>,
    nodes: Vec<Known<NodeRecord>>,
    pools: Vec<Known<EipSpec>>,
    speakers: Vec<Known<SpeakerRecord>>,
    peers: Vec<Known<Arc<BgpPeerSpec>>>,
    secrets: Vec<Known<SecretRecord>>,
    policies: Vec<Known<PolicyRecord>>,
}

/// The id of this boot; empty if the kernel does not tell.
#[must_use]
pub fn boot_id() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id");
    id.unwrap_or_default().trim_end().to_owned()
}

/// Replaces the file, making its folder if there is none. Takes a second for the largest clusters: it belongs into a
/// thread that may block.
///
/// # Errors
/// If the file system refuses.
pub fn write(path: &Path, boot_id: &str, state: &State) -> Result<(), Error> {
    let replaced = || -> io::Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let new = path.with_extension("new");
        let mut options = fs::OpenOptions::new();
        let options = options.write(true).create(true).truncate(true).mode(0o600);
        let file = options.open(&new)?;
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        let mut buffer = io::BufWriter::with_capacity(BUFFER_BYTES, &file);
        let kept = Kept {
            format: FORMAT,
            boot_id: boot_id.to_owned(),
            stores: state,
        };
        serde_json::to_writer(&mut buffer, &kept)?;
        buffer.flush()?;
        drop(buffer);
        file.sync_data()?;
        fs::rename(&new, path)
    };
    replaced().map_err(|source| Error::Io {
        path: path.to_owned(),
        source,
    })
}

/// What an earlier agent of the node `own` knew; `None` if there was none.
///
/// # Errors
/// If the file cannot be read or understood.
pub fn read(path: &Path, own: &str, boot_id: &str) -> Result<Option<Stores>, Error> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(Error::Io {
                path: path.to_owned(),
                source,
            });
        }
    };
    let kept: Kept<Read> = serde_json::from_slice(&text).map_err(|source| Error::Format {
        path: path.to_owned(),
        source,
    })?;
    if kept.format != FORMAT {
        return Ok(None);
    }
    let mut read = kept.stores;
    if kept.boot_id != boot_id {
        read.slices = read
            .slices
            .into_iter()
            .map(|slice| without(slice, own))
            .collect();
    }
    Ok(Some(Stores {
        services: Store::recovered(read.services),
        slices: Store::recovered(read.slices),
        nodes: Store::recovered(read.nodes),
        pools: Store::recovered(read.pools),
        speakers: Store::recovered(read.speakers),
        peers: Store::recovered(read.peers),
        secrets: Store::recovered(read.secrets),
        policies: Store::recovered(read.policies),
    }))
}

/// A slice without the endpoints of a node.
fn without(mut slice: Known<SliceRecord>, node: &str) -> Known<SliceRecord> {
    let is_elsewhere = |name: &Option<Arc<str>>| name.as_deref() != Some(node);
    let endpoints = std::mem::take(&mut slice.record.endpoints).into_vec();
    let kept = endpoints
        .into_iter()
        .filter(|endpoint| is_elsewhere(&endpoint.node));
    slice.record.endpoints = kept.collect();
    slice
}
