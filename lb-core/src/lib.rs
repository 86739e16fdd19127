//! Decisions, and nothing else: what the sources know (a [`Snapshot`]) becomes one immutable
//! [`DesiredState`] by [`plan()`], and that becomes ordered map writes by [`image()`]. Everything here is pure
//! and synchronous: no clock but [`Snapshot::now`], no IO, no async; all memory is in the previous state.
//! `clippy.toml` beside this crate bans the rest.

pub mod allocate;
pub mod config;
pub mod desired;
pub mod image;
pub mod keys;
pub mod model;
pub mod ord_map;
pub mod plan;
pub mod probes;
pub mod snapshot;
pub mod table;
#[cfg(test)]
mod world;

pub use desired::DesiredState;
pub use image::image;
pub use plan::plan;
pub use snapshot::Snapshot;
