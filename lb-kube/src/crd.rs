//! The custom resources: OpenELB's own kinds (`Eip`, `BgpConf`, `BgpPeer` of `network.kubesphere.io`) with more fields, so
//! that manifests of its users apply unchanged. One schema, the union of what v0.1 to v0.6 stored and what is new here, is
//! served as v1alpha1 and as v1alpha2: the API server converts nothing between them and prunes what the storage schema
//! does not have. Numbers are signed 64-bit on purpose: what OpenELB's API accepted must be readable; whether it makes
//! sense is judged by whoever converts it. Nothing here talks to an API server.

#[expect(
    unreachable_pub,
    reason = "kube's derive copies the struct into a block"
)]
mod bgp_conf;
#[expect(
    unreachable_pub,
    reason = "kube's derive copies the struct into a block"
)]
mod bgp_peer;
mod condition;
mod definition;
#[expect(
    unreachable_pub,
    reason = "kube's derive copies the struct into a block"
)]
mod eip;
mod gobgp;
mod selector;
mod spelling;

pub use bgp_conf::{BgpConf, BgpConfSpec, BgpConfStatus, Drain, NodeConfStatus};
pub use bgp_peer::{
    AddPathsV1Alpha1, AfiSafi, AfiSafiAddPaths, AfiSafiAddPathsConfig, AfiSafiConfig, Bfd, BgpPeer,
    BgpPeerSpec, BgpPeerStatus, ConfigV1Alpha1, EbgpMultihop, Family, MpGracefulRestart,
    MpGracefulRestartConfig, NextHop, NodePeerStatus, PeerConf, PeerState, SecretKey, Timers,
    TimersConfig, TimersState, Transport,
};
pub use condition::Condition;
pub use definition::{definitions, manifest};
pub use eip::{Announcement, Claim, Eip, EipSpec, EipStatus, Protocol};
pub use gobgp::GracefulRestart;
pub use selector::{LabelSelector, Requirement};
pub use spelling::SpellingConflict;

/// The API group of all kinds.
pub const GROUP: &str = "network.kubesphere.io";
/// The version that is stored and read.
pub const VERSION: &str = "v1alpha2";
/// The name of the one `BgpConf` that counts.
pub const BGP_CONF_NAME: &str = "default";

#[cfg(test)]
mod tests;
