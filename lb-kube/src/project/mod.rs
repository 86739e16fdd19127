//! From objects of the API server to compact records, and from records to `lb-core`'s model. Each object is
//! looked at once, while a list or a watch streams in, and only what decisions need is kept. Pure: objects and
//! records in, records and model out; what an object says that cannot be honoured becomes a sentence in its
//! record, never an error that stops the rest.

pub mod bgp;
pub mod claim;
pub mod gobgp;
pub mod hints;
pub mod join;
pub mod names;
pub mod node;
pub mod pool;
pub mod request;
pub mod service;
pub mod slice;

#[cfg(test)]
mod tests;
