//! `accept`: has the running agent let the removals take effect that it holds because the API server's word of them
//! cannot be right.

use crate::{api::client, cli::AcceptArgs, failure::Failure};

/// Runs the command.
///
/// # Errors
/// If no agent answers, or it does not read an API server.
pub fn accept(args: &AcceptArgs) -> Result<(), Failure> {
    client::put(&args.socket, "/v1/accept").map_err(|error| Failure::from_error(&error))?;
    super::print("accepted: what the API server says counts\n")
}
