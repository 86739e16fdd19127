//! The agents' BGP against real routers: what sessions do over their life, and one lab for each routing daemon that runs
//! all cells of the table of what sessions can be. Needs root and the daemons.

mod cells;
mod graceful_restart;
mod interop;
mod loss;
mod scripted;
mod sessions;
