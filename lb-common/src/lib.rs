//! What the kernel programs and the agent must agree on: the layout of every BPF map, how a packet is
//! parsed and hashed, how a checksum is mended, which verdicts there are. The same code runs in BPF and
//! in host tests. Nothing here allocates (but for `image`, the agent's side), reads a clock or can panic.
#![no_std]

#[cfg(feature = "alloc")]
extern crate alloc;

pub mod abi;
pub mod affinity;
pub mod arp;
pub mod checksum;
pub mod config;
pub mod counter;
pub mod endpoint;
pub mod filter;
pub mod flow;
pub mod flow_limit;
pub mod fragment;
pub mod gue;
pub mod hash;
pub mod headers;
#[cfg(feature = "alloc")]
pub mod image;
pub mod interface;
pub mod limits;
pub mod martian;
pub mod ndp;
pub mod node;
pub mod packet;
pub mod reply_fragment;
pub mod row;
pub mod service;
pub mod source;
pub mod verdict;
pub mod walk;

/// An IP address as four words in network byte order, as the packet holds them; an IPv4 address is the
/// first word and the others are zero.
pub type Address = [u32; 4];

/// IP protocol number of TCP (IANA).
pub const TCP: u8 = 6;
/// IP protocol number of UDP (IANA).
pub const UDP: u8 = 17;
