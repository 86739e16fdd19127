//! A real cluster of three nodes in namespaces, beside a BIRD router and a client: what an operator of a cluster does and
//! sees. Each test has a cluster of its own; one is up at a time, but for the test that wants two. Needs root.

mod standing;
