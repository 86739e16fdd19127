//! `cleanup`: takes everything of ours off this node. Refuses while an agent runs, which would put it back.

use crate::{cli::CleanupArgs, failure::Failure, pin_lock::PinLock};

/// Runs the command.
///
/// # Errors
/// If an agent runs, or the kernel refuses.
pub fn cleanup(args: &CleanupArgs) -> Result<(), Failure> {
    let exists = args.pin_dir.exists();
    let lock = exists.then(|| PinLock::take(&args.pin_dir)).transpose();
    let _lock = lock.map_err(|error| Failure::from_error(&error))?;
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
