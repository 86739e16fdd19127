//! What several test binaries share: a data path filled from YAML without any agent, and frames that are
//! checked by a parser of others. Nothing here is used by the product.

pub mod frame;
pub mod world;
