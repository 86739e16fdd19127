//! The only loop that decides.

pub mod feedback;
