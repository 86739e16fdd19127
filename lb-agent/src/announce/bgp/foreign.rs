//! Another BGP speaker on this node, as a CNI brings one. A router tells its sessions apart by the far end's
//! address: a connection that we dialled from the node's address would take the place of the other speaker's. So
//! where somebody else listens on BGP's port, or has a session with the same router, that router is not dialled,
//! unless from an address of our own. Reads the kernel's tables of sockets (proc(5)); changes nothing.

use std::{
    collections::BTreeSet,
    fs,
    net::{IpAddr, SocketAddr},
};

use super::port_holder::{self, Row, TcpState};

/// BGP's port (RFC 4271 section 8.2.1).
const BGP_PORT: u16 = 179;

/// What another speaker on this node has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Foreign {
    /// It listens, on this address.
    listens: Option<SocketAddr>,
    /// It has sessions with these routers.
    routers: BTreeSet<IpAddr>,
}

impl Foreign {
    /// Looks for it.
    pub(super) fn find() -> Self {
        let own = own_inodes();
        Self::among(port_holder::rows().iter(), |row| own.contains(&row.inode))
    }

    fn among<'a>(rows: impl Iterator<Item = &'a Row>, is_ours: impl Fn(&Row) -> bool) -> Self {
        let mut found = Self::default();
        for row in rows.filter(|row| !is_ours(row)) {
            match row.state {
                TcpState::Listen
                    if row.local.port() == BGP_PORT && !row.local.ip().is_loopback() =>
                {
                    found.listens = Some(row.local);
                }
                TcpState::Established
                    if row.local.port() == BGP_PORT || row.remote.port() == BGP_PORT =>
                {
                    found.routers.insert(row.remote.ip());
                }
                _ => {}
            }
        }
        found
    }

    /// Why a router is not to be dialled from the node's own address, if it is not.
    pub(super) fn why_not(&self, router: IpAddr, listen_port: u16) -> Option<String> {
        let what = match self.listens {
            Some(address) => {
                let holder = port_holder::find(address);
                let holder = holder.unwrap_or_else(|| "another process".to_owned());
                format!("{holder} speaks BGP on this node (port {BGP_PORT})")
            }
            None if self.routers.contains(&router) => {
                "another process of this node has a session with it".to_owned()
            }
            None => return None,
        };
        Some(format!(
            "not dialled: {what}, and the router would take our connection for its own; set \
             `sourceAddress` to another address of this node, or let the router dial port {listen_port}"
        ))
    }
}

/// Sockets that this process has open.
fn own_inodes() -> BTreeSet<u64> {
    let Ok(descriptors) = fs::read_dir("/proc/self/fd") else {
        return BTreeSet::new();
    };
    let inode = |entry: fs::DirEntry| {
        let target = fs::read_link(entry.path()).ok()?;
        let target = target
            .to_str()?
            .strip_prefix("socket:[")?
            .strip_suffix(']')?;
        target.parse().ok()
    };
    descriptors
        .filter_map(Result::ok)
        .filter_map(inode)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(state: TcpState, local: &str, remote: &str, inode: u64) -> Row {
        Row {
            state,
            local: local.parse().unwrap(),
            remote: remote.parse().unwrap(),
            inode,
        }
    }

    #[test]
    fn a_stranger_that_listens_keeps_us_from_dialling_anybody() {
        let rows = [
            row(TcpState::Listen, "0.0.0.0:179", "0.0.0.0:0", 1),
            row(TcpState::Listen, "0.0.0.0:17900", "0.0.0.0:0", 2),
        ];
        let found = Foreign::among(rows.iter(), |_| false);
        let why = found.why_not([10, 0, 0, 1].into(), 17_900).unwrap();
        assert!(
            why.contains("sourceAddress") && why.contains("port 17900"),
            "{why}"
        );
        let ours = Foreign::among(rows.iter(), |row| row.inode == 1);
        assert_eq!(ours.why_not([10, 0, 0, 1].into(), 17_900), None);
    }

    #[test]
    fn a_strangers_session_keeps_us_from_dialling_that_router() {
        let rows = [
            row(TcpState::Established, "10.0.0.11:41000", "10.0.0.1:179", 1),
            row(TcpState::Established, "10.0.0.11:22", "10.0.0.2:50000", 2),
            row(TcpState::Listen, "127.0.0.1:179", "0.0.0.0:0", 3),
        ];
        let found = Foreign::among(rows.iter(), |_| false);
        assert!(found.why_not([10, 0, 0, 1].into(), 17_900).is_some());
        assert_eq!(found.why_not([10, 0, 0, 2].into(), 17_900), None);
    }
}
