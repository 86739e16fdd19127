//! `cleanup`: takes everything of ours off this node. Refuses while an agent runs, which would put it back.

use crate::{api::client, cli::CleanupArgs, failure::Failure};

/// Runs the command.
///
/// # Errors
/// If an agent runs, or the kernel refuses.
pub fn cleanup(args: &CleanupArgs) -> Result<(), Failure> {
    if client::is_alive(&args.socket) {
        let socket = args.socket.display();
        return Err(Failure::Failed(format!(
            "an agent runs here (it listens on {socket}); stop it first"
        )));
    }
    let removed =
        lb_datapath::cleanup(&args.pin_dir).map_err(|error| Failure::from_error(&error))?;
    if removed.is_empty() {
        println!("nothing of ours below {}", args.pin_dir.display());
    }
    for item in removed {
        println!("removed {item}");
    }
    Ok(())
}
