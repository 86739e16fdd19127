//! The pin folder: `PIN_DIR/vN/maps/NAME` and `PIN_DIR/vN/links/...`, N being the ABI version. A pinned map is
//! reused only if its definition is the one we would make: reuse by name alone would let the programs run on
//! memory of another shape.

use std::{
    fs, io,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::fs::DirBuilderExt as _,
    },
    path::{Path, PathBuf},
};

use lb_common::{
    abi::{self, ABI_VERSION, MapId, data},
    affinity::ENTRIES_PER_LINE,
    config::Config,
    flow::FLOWS_PER_LINE,
    limits::Capacity,
    row::LINES_PER_UNIT,
    source::TrieKey,
    walk::ROOMS_MAX,
};

use crate::{
    Error, Uplink,
    clsact::{self, Side},
    data_maps, load,
    memory::Arena,
    sys,
};

/// `BPF_FS_MAGIC` (linux/magic.h).
const BPF_FS_MAGIC: i64 = 0xcafe_4a11;

/// What the name of a filter's mark starts with, before the interface's index.
const fn filter_mark(side: Side) -> &'static str {
    match side {
        Side::Ingress => "ingress_filter_",
        Side::Egress => "filter_",
    }
}

/// The folder of this version's pins.
pub(crate) fn versioned(pin_dir: &Path) -> PathBuf {
    pin_dir.join(format!("v{ABI_VERSION}"))
}

/// Where a map is pinned.
pub(crate) fn map(folder: &Path, name: &str) -> PathBuf {
    folder.join("maps").join(name)
}

/// Where a link is pinned. bpffs refuses names with a dot, VLAN interfaces have one.
pub(crate) fn link(pin_dir: &Path, hook: &str, interface: &str) -> PathBuf {
    versioned(pin_dir)
        .join("links")
        .join(format!("{hook}_{}", interface.replace('.', "_")))
}

/// What [`prepare`] found.
pub(crate) struct Prepared {
    /// A whole set of maps can be adopted.
    pub(crate) adopted: bool,
    /// The program arrays of a set that cannot.
    pub(crate) replaced_rooms: Vec<OwnedFd>,
}

/// Where a clsact filter on an interface is marked.
pub(crate) fn filter(pin_dir: &Path, side: Side, ifindex: u32) -> PathBuf {
    versioned(pin_dir)
        .join("links")
        .join(format!("{}{ifindex}", filter_mark(side)))
}

/// Makes the folders, and removes maps whose definition is not ours.
pub(crate) fn prepare(
    pin_dir: &Path,
    capacity: &Capacity,
    notes: &mut Vec<String>,
) -> Result<Prepared, Error> {
    if !is_bpffs(nearest_existing(pin_dir)) {
        return Err(unusable(
            pin_dir,
            "it is not on a bpffs: `mount -t bpf bpf /sys/fs/bpf`, or name another folder".into(),
        ));
    }
    let folder = versioned(pin_dir);
    for wanted in [
        pin_dir,
        &folder,
        &folder.join("maps"),
        &folder.join("links"),
    ] {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(wanted)
            .map_err(|error| unusable(pin_dir, error.to_string()))?;
    }
    let cpus = load::cpus()?;
    let wanted: Vec<(&str, u32, usize)> = MapId::ALL
        .iter()
        .filter(|part| part.holder() == **part)
        .map(|map| (map.name(), capacity.elements(*map), map.value_bytes()))
        .chain(data_maps(capacity, cpus))
        .collect();
    let found = map_names(&folder)?;
    let good = wanted
        .iter()
        .filter(|(name, elements, bytes)| is_array(&map(&folder, name), *elements, *bytes));
    // Whichever hook there was a program at: the other's is not there.
    let rooms = [abi::ROOMS, abi::TC_ROOMS].map(|name| map(&folder, name));
    let rooms = rooms.iter().filter(|path| path.exists());
    let trie = map(&folder, abi::SOURCE_TRIE);
    if good.count() == wanted.len()
        && rooms.clone().all(|path| is_rooms(path))
        && is_trie(&trie, capacity)
    {
        return Ok(Prepared {
            adopted: true,
            replaced_rooms: Vec::new(),
        });
    }
    let replaced_rooms = rooms.filter_map(|path| sys::open_pin(path).ok()).collect();
    if !found.is_empty() {
        notes.push(format!(
            "the maps pinned in {} are not those of this version or capacity: made anew, flows start over",
            folder.display()
        ));
    }
    for name in found {
        remove(&map(&folder, &name))?;
    }
    Ok(Prepared {
        adopted: false,
        replaced_rooms,
    })
}

/// Whether a map of this shape is pinned there.
pub(crate) fn is_array(path: &Path, elements: u32, bytes: usize) -> bool {
    const BPF_MAP_TYPE_ARRAY: u32 = 2;
    const BPF_F_MMAPABLE: u32 = 1 << 10;
    definition(path).is_some_and(|definition| {
        definition.map_type == BPF_MAP_TYPE_ARRAY
            && definition.key_bytes == 4
            && definition.value_bytes as usize == bytes
            && definition.elements == elements
            && definition.flags & BPF_F_MMAPABLE != 0
    })
}

/// The sizes that a pinned data path was made with, if its maps are there.
pub(crate) fn capacity(folder: &Path) -> Option<Capacity> {
    let elements = |map: MapId| Some(definition(&self::map(folder, map.name()))?.elements);
    let flows = definition(&map(folder, data::FLOWS))?.elements;
    let config = sys::open_pin(&map(folder, MapId::Config.name())).ok()?;
    let config = Arena::of(config.as_fd(), 1, MapId::Config.value_bytes()).ok()?;
    let embryonic_flows = (config.element::<Config>(0).embryonic_mask + 1) * FLOWS_PER_LINE;
    Some(Capacity {
        services: elements(MapId::ServiceCold)?,
        row_units: elements(MapId::Rows)? / LINES_PER_UNIT,
        endpoints: elements(MapId::Endpoints)?,
        established_flows: flows.checked_sub(embryonic_flows)?,
        embryonic_flows,
        source_ranges: definition(&map(folder, abi::SOURCE_TRIE))?.elements,
        affinities: definition(&map(folder, data::AFFINITY))?.elements * ENTRIES_PER_LINE,
    })
}

fn is_rooms(path: &Path) -> bool {
    const BPF_MAP_TYPE_PROG_ARRAY: u32 = 3;
    definition(path).is_some_and(|definition| {
        definition.map_type == BPF_MAP_TYPE_PROG_ARRAY && definition.elements == ROOMS_MAX
    })
}

fn is_trie(path: &Path, capacity: &Capacity) -> bool {
    const BPF_MAP_TYPE_LPM_TRIE: u32 = 11;
    definition(path).is_some_and(|definition| {
        definition.map_type == BPF_MAP_TYPE_LPM_TRIE
            && definition.key_bytes as usize == size_of::<TrieKey>()
            && definition.elements == capacity.source_ranges
    })
}

fn definition(path: &Path) -> Option<sys::MapDefinition> {
    let fd = sys::open_pin(path).ok()?;
    sys::map_definition(fd.as_fd()).ok()
}

/// Names of the pinned maps, sorted.
pub(crate) fn map_names(folder: &Path) -> Result<Vec<String>, Error> {
    names(&folder.join("maps"))
}

/// Removes the links of interfaces that are not named; what was removed, in words.
pub(crate) fn remove_other_links(pin_dir: &Path, uplinks: &[Uplink]) -> Result<Vec<String>, Error> {
    let keep: Vec<PathBuf> = uplinks
        .iter()
        .flat_map(|uplink| {
            ["xdp", "generic", "tc", "egress"]
                .map(|hook| link(pin_dir, hook, &uplink.name))
                .into_iter()
                .chain(Side::ALL.map(|side| filter(pin_dir, side, uplink.ifindex)))
        })
        .collect();
    let links = versioned(pin_dir).join("links");
    let mut removed = Vec::new();
    for name in names(&links)? {
        let path = links.join(&name);
        if !keep.contains(&path) {
            remove_link(&path)?;
            removed.push(format!("link {name}"));
        }
    }
    Ok(removed)
}

/// Removes everything of ours below the folder, of whatever version: links first, so that no program runs on
/// maps that are gone. Says what was removed.
///
/// # Errors
/// A pin cannot be removed; the rest stays.
pub fn cleanup(pin_dir: &Path) -> Result<Vec<String>, Error> {
    let mut removed = Vec::new();
    for version in names(pin_dir)?.into_iter().filter(|name| is_version(name)) {
        for kind in ["links", "maps"] {
            let folder = pin_dir.join(&version).join(kind);
            for name in names(&folder)? {
                remove_link(&folder.join(&name))?;
                removed.push(format!("{kind} {name}").replacen("s ", " ", 1));
            }
            remove_folder(&folder)?;
        }
        remove_folder(&pin_dir.join(&version))?;
    }
    remove_folder(pin_dir)?;
    Ok(removed)
}

fn is_version(name: &str) -> bool {
    name.strip_prefix('v').is_some_and(|number| {
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

fn names(folder: &Path) -> Result<Vec<String>, Error> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unusable(folder, error.to_string())),
    };
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    names.sort();
    Ok(names)
}

fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(unusable(path, error.to_string()))
        }
        _ => Ok(()),
    }
}

/// Removes a pin: a link goes with it, a filter first. A map is neither.
pub(crate) fn remove_link(path: &Path) -> Result<(), Error> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    for side in Side::ALL {
        let ifindex = name.strip_prefix(filter_mark(side));
        if let Some(ifindex) = ifindex.and_then(|rest| rest.parse().ok()) {
            clsact::detach(ifindex, side);
        }
    }
    remove(path)
}

/// Removes an empty folder; one with other people's things in it stays.
fn remove_folder(path: &Path) -> Result<(), Error> {
    match fs::remove_dir(path) {
        Err(error)
            if !matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty
            ) =>
        {
            Err(unusable(path, error.to_string()))
        }
        _ => Ok(()),
    }
}

/// The folder itself, or the one in which it would be made.
fn nearest_existing(path: &Path) -> &Path {
    let existing = path.ancestors().find(|folder| folder.exists());
    existing.unwrap_or(path)
}

fn is_bpffs(path: &Path) -> bool {
    sys::file_system_magic(path).is_ok_and(|magic| magic == BPF_FS_MAGIC)
}

fn unusable(path: &Path, reason: String) -> Error {
    Error::PinFolder {
        path: path.to_path_buf(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_of_a_vlan_has_a_name_that_bpffs_takes() {
        let path = link(Path::new("/sys/fs/bpf/fairlead"), "xdp", "eth0.100");
        assert_eq!(
            path,
            Path::new("/sys/fs/bpf/fairlead/v1/links/xdp_eth0_100")
        );
    }

    #[test]
    fn only_version_folders_are_ours() {
        assert!(is_version("v1") && is_version("v12"));
        assert!(!is_version("v") && !is_version("vx") && !is_version("maps") && !is_version("1"));
    }

    #[test]
    fn a_folder_that_is_no_bpffs_is_refused_and_not_made() {
        let folder = std::env::temp_dir().join(format!("fairlead-pins-{}", std::process::id()));
        let error = prepare(&folder, &Capacity::DEFAULT, &mut Vec::new())
            .err()
            .expect("refused");
        assert!(error.to_string().contains("not on a bpffs"), "{error}");
        assert!(!folder.exists());
    }
}
