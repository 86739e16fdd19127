//! The object's bytes, built by this crate's build script and carried in the binary.

/// The programs as shipped.
pub(crate) static SHIPPED: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/fairlead.o"));

/// The same for kernels that lack what [`crate::Abilities`] names.
pub(crate) static BASIC: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/basic.o"));

/// The programs as shipped for tc's ingress hook.
pub(crate) static TC: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tc.o"));

/// The same for kernels that lack what [`crate::Abilities`] names.
pub(crate) static TC_BASIC: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tc-basic.o"));

/// The driver of `benches/packet`.
#[cfg(feature = "bench")]
pub(crate) static BENCH_DRIVER: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/bench-driver.o"));

/// Builds with one mistake each.
#[cfg(feature = "canaries")]
pub(crate) mod canary {
    pub(crate) static CHECKSUM: &[u8] =
        aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/canary-checksum.o"));
    pub(crate) static TTL: &[u8] =
        aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/canary-ttl.o"));
    pub(crate) static MAC: &[u8] =
        aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/canary-mac.o"));
    pub(crate) static REVERSE: &[u8] =
        aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/canary-reverse.o"));
}
