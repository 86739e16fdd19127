//! Test support: namespaces, topologies, processes, real peers; the demo.
