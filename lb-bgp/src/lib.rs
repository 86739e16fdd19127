//! Announce-only BGP-4 speaker, sans-IO.
//!
//! A [`Peer`] is one session's machine: it is told what happened ([`Input`]) and the time, and says what to
//! do ([`Output`]). It owns no socket and no clock, so a test can run years of it in a second. Routes are set
//! whole ([`RouteSet`]); a peer's own routes are checked, counted and dropped.
//!
//! Spoken: RFC 4271 with 4-octet AS numbers (6793), multiprotocol IPv4 and IPv6 unicast (4760), several paths to a
//! prefix (7911, sending), IPv6 next hops for IPv4 (8950), communities (1997, 4360, 8092), route refresh (2918,
//! 7313), graceful restart as the one that restarts (4724, 8538, 9494), capabilities (5492, 9072), long messages
//! (8654), revised error handling (7606), Cease subcodes (4486, 9384), shutdown text (9003), FSM error subcodes
//! (6608), the send hold timer (9687), AS-wide unique identifiers (6286).
//!
//! The caller's loop: hand in what happened, carry out what comes, and wait as long as told.
//!
//! ```
//! use lb_bgp::{Input, Output, Peer, PeerConfig};
//! use std::time::Instant;
//!
//! let now = Instant::now();
//! let mut peer = Peer::new(PeerConfig::new(65000, 65001, [10, 0, 0, 11].into()), now)?;
//! peer.handle(now, Input::Start);
//! let wait = loop {
//!     match peer.poll(now) {
//!         Output::Connect(_conn) => { /* dial */ }
//!         Output::Send { .. } => { /* write, then Input::Sent */ }
//!         Output::Close(_conn) => { /* flush, then close */ }
//!         Output::Event(event) => println!("{event:?}"),
//!         Output::Wait(deadline) => break deadline,
//!     }
//! };
//! // Here the caller waits for a socket, a command, or `wait`.
//! # assert!(wait > Some(now));
//! # Ok::<(), lb_bgp::ConfigError>(())
//! ```

#![forbid(unsafe_code)]

mod attributes;
mod config;
mod family;
mod io;
mod peer;
mod random;
mod rib_out;
mod route;
pub mod wire;

pub use attributes::{
    Community, ExtendedCommunity, LargeCommunity, RouteAttributes, TooManyCommunities,
};
pub use config::{
    CONNECT_RETRY_DEFAULT, ConfigError, GracefulRestart, HOLD_TIME_SECS_DEFAULT, PeerConfig,
};
pub use family::{Family, PerFamily};
pub use io::{ConnId, Event, Input, Output, Reason, Shutdown, State};
pub use peer::{
    ConnectionStatus, Counters, FamilyStatus, HeldBack, LastError, Negotiated, Origin, Peer,
    PeerStatus, Told,
};
pub use route::{NextHops, Prefix, PrefixTooLong, Route, RouteSet};
