//! What the benches share: a cluster of any size written into a real data path, CPU time of one thread, and
//! rows with their bars. Benches report; they never fail a build.

pub mod cluster;
pub mod measure;
pub mod report;
