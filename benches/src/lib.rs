//! What the benches share: a cluster of any size, a peer to compare tables with, CPU time of one thread, and
//! rows with their bars. Benches report; they never fail a build.

pub mod cluster;
pub mod maglev;
pub mod measure;
pub mod plot;
pub mod report;
