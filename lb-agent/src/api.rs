//! The agent's answers over its Unix socket: HTTP with JSON, read only, open to the socket's owner alone
//! (mode 0600). The types in [`rows`] are what programs may rely on; `show` prints the same, and
//! `/metrics` has them for Prometheus, which may ask over [`http`] as well.

pub mod client;
pub mod controller;
pub mod http;
pub mod metrics;
pub mod rows;
pub mod server;

#[cfg(test)]
mod tests;
