//! `cleanup`: takes everything of ours off this node. Refuses while an agent runs, which would put it back.

use crate::{cli::CleanupArgs, failure::Failure, hostnet, neighbours, pin_lock::PinLock};

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
    let kept = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::from_error(&error))?
        .block_on(off_the_network())?;
    if removed.is_empty() && kept.is_empty() {
        println!("nothing of ours below {}", args.pin_dir.display());
    }
    for item in removed.into_iter().chain(kept) {
        println!("removed {item}");
    }
    Ok(())
}

/// Routes, rules, groups and neighbour entries of ours.
async fn off_the_network() -> Result<Vec<String>, Failure> {
    let entries = hostnet::remove_all().await;
    let mut removed = entries.map_err(|error| Failure::from_error(&error))?;
    let ways = neighbours::remove_all().await;
    removed.extend(ways.map_err(|error| Failure::from_error(&error))?);
    Ok(removed)
}
