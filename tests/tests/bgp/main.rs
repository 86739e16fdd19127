//! The agents' BGP against real routers: what sessions do over their life, and one lab for each routing daemon that runs
//! all cells of the table of what sessions can be. Needs root and the daemons.

mod calico;
mod cells;
mod collision;
mod drain;
mod dynamic;
mod flood;
mod graceful_restart;
mod interop;
mod local;
mod loss;
mod manuals;
mod next_hops;
mod policy;
mod scale;
mod scripted;
mod sessions;
mod stuck;
mod unnumbered;
