//! Keys for TCP segments, given to the kernel before the first SYN goes or comes: TCP MD5 (RFC 2385) and, where the
//! kernel has it, TCP-AO (RFC 5925). A key is for one address or, on a listener, for a network.

use std::{io, net::SocketAddr, os::fd::AsRawFd};

use lb_core::model::Prefix;
use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};

use super::super::password::{PASSWORD_LEN_MAX, Signature};
use super::set_option;

/// Of include/uapi/linux/tcp.h, which libc does not have.
const TCP_MD5SIG_EXT: libc::c_int = 32;
const TCP_MD5SIG_FLAG_PREFIX: u8 = 1;
const TCP_AO_ADD_KEY: libc::c_int = 38;

/// `struct tcp_md5sig` of include/uapi/linux/tcp.h.
#[repr(C)]
struct TcpMd5Sig {
    /// Transparent around `struct sockaddr_storage`.
    address: SockAddrStorage,
    flags: u8,
    prefix_bits: u8,
    key_len: u16,
    interface_index: libc::c_int,
    key: [u8; PASSWORD_LEN_MAX],
}

/// `struct tcp_ao_add` of include/uapi/linux/tcp.h.
#[repr(C, align(8))]
struct TcpAoAdd {
    address: SockAddrStorage,
    algorithm: [u8; 64],
    interface_index: i32,
    /// Bits `set_current`, `set_rnext`; the rest is reserved.
    flags: u32,
    reserved: u16,
    prefix_bits: u8,
    send_id: u8,
    receive_id: u8,
    /// Zero: the algorithm's usual 12 octets.
    mac_len: u8,
    key_flags: u8,
    key_len: u8,
    key: [u8; PASSWORD_LEN_MAX],
}

/// From now on, segments from and to this network carry a signature, and those without are dropped.
pub(super) fn sign(socket: &impl AsRawFd, peers: Prefix, signature: &Signature) -> io::Result<()> {
    match signature {
        Signature::Md5(password) => {
            let (key, len) = padded(password.bytes());
            let option = match peers.is_host() {
                true => libc::TCP_MD5SIG,
                false => TCP_MD5SIG_EXT,
            };
            let value = TcpMd5Sig {
                address: storage(peers),
                flags: if peers.is_host() {
                    0
                } else {
                    TCP_MD5SIG_FLAG_PREFIX
                },
                prefix_bits: if peers.is_host() { 0 } else { peers.bits() },
                key_len: len.into(),
                interface_index: 0,
                key,
            };
            set_option(socket, libc::IPPROTO_TCP, option, &value)
        }
        Signature::Ao {
            key,
            send_id,
            receive_id,
            algorithm,
        } => {
            let (key, key_len) = padded(key.bytes());
            let mut name = [0; 64];
            name[..algorithm.len()].copy_from_slice(algorithm.as_bytes());
            let value = TcpAoAdd {
                address: storage(peers),
                algorithm: name,
                interface_index: 0,
                flags: 0,
                reserved: 0,
                prefix_bits: peers.bits(),
                send_id: *send_id,
                receive_id: *receive_id,
                mac_len: 0,
                key_flags: 0,
                key_len,
                key,
            };
            set_option(socket, libc::IPPROTO_TCP, TCP_AO_ADD_KEY, &value)
        }
    }
}

/// Whether the kernel knows TCP-AO: one that does not says so of the option, whatever its value.
pub(in super::super) fn knows_tcp_ao() -> bool {
    let Ok(socket) = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)) else {
        return false;
    };
    let refused = set_option(&socket, libc::IPPROTO_TCP, TCP_AO_ADD_KEY, &0u8);
    refused.is_err_and(|error| error.raw_os_error() != Some(libc::ENOPROTOOPT))
}

fn padded(bytes: &[u8]) -> ([u8; PASSWORD_LEN_MAX], u8) {
    let mut key = [0; PASSWORD_LEN_MAX];
    key[..bytes.len()].copy_from_slice(bytes);
    (key, bytes.len() as u8)
}

fn storage(peers: Prefix) -> SockAddrStorage {
    SockAddr::from(SocketAddr::new(peers.address(), 0)).as_storage()
}
