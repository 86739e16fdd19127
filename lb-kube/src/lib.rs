//! Kubernetes, the API side: the custom resources, what is read from the API server, and what is written to it.
//!
//! It converts objects into `lb-core`'s model and decisions back into objects; it decides nothing itself and never
//! touches the data path or a router. Only here: kube and k8s-openapi.

#![allow(clippy::duplicated_attributes, reason = "printer columns of one type")]

pub mod client;
pub mod controller;
pub mod crd;
pub mod import;
pub mod install;
pub mod project;
pub mod reflect;
pub mod speakers;
pub mod status;
