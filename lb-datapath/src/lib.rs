//! The BPF object: load, pins, apply, observe.
