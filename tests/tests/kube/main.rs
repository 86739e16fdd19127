//! Against a real API server, without nodes: the custom resources, what is read and written, and who may do what. One
//! server for all tests of this binary, each test with a Namespace of its own; a test that stops or breaks the server,
//! or needs an object of which a cluster has one, starts another.

mod allocation;
mod announce_only;
mod cluster;
mod fixture;
mod kinds;
mod manuals;
mod next_hops;
mod reflect;
mod rights;
mod server;
mod serving;
mod speakers;
mod status;
mod storm;
mod takeover;
