//! What the API server tells, kept up to date: one task a kind lists and watches, the records meet in
//! [`cluster::Cluster`], and what changes of the model goes on. An API server that is away, comes back older, or forgets
//! half of what it knew takes nothing away at once.

pub mod cluster;
pub mod last_known;
pub mod passwords;
pub mod source;
pub mod speaker;
pub mod store;
pub mod stores;
pub mod understood;
pub mod watch;
