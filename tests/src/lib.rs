//! What several test binaries share: a data path filled from YAML without any agent, frames that are checked by a
//! parser of others, and a lab with agents and what must hold in it. Nothing here is used by the product.

pub mod addresses;
pub mod binary;
pub mod case;
pub mod cases;
pub mod cpu;
pub mod dice;
pub mod fragments;
pub mod frame;
pub mod hitless;
pub mod icmp_error;
pub mod loaded;
pub mod mutants;
pub mod neighbour;
pub mod odd;
pub mod outer;
pub mod reference;
pub mod steered;
pub mod steering;
pub mod traffic;
pub mod world;
