//! What is done once in a cluster, by hooks of the chart or by hand: writing the definitions of our kinds, and taking
//! everything of ours off the cluster again. Nothing here runs while agents serve.

mod definitions;
mod uninstall;

pub use definitions::{DefinitionError, apply_definitions};
pub use uninstall::{Removed, UninstallError, uninstall};
