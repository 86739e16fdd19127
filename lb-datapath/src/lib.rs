//! The BPF object: load, pins, apply, observe.

/// The object.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/fairlead.o"));
