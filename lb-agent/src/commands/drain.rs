//! `drain`: takes this node out of service, or back: asks the running agent, and with `--wait` stays until it is done.

use std::{thread, time::Duration};

use crate::{
    api::{
        client,
        rows::{Answer, DrainPhase, DrainRow},
    },
    cli::DrainArgs,
    failure::Failure,
};

/// Time between two questions of `--wait`.
const POLL: Duration = Duration::from_millis(200);

/// Runs the command.
///
/// # Errors
/// If no agent answers, or another node is named than the agent's.
pub fn drain(args: &DrainArgs) -> Result<(), Failure> {
    let asked = state(args)?;
    if let Some(named) = args.node.as_ref().filter(|named| **named != asked.node) {
        return Err(Failure::Failed(format!(
            "{named} is another node: the agent here is that of {}; run the command there",
            asked.node
        )));
    }
    let set = match args.undo {
        true => client::delete(&args.socket, "/v1/drain"),
        false => client::put(&args.socket, &format!("/v1/drain/{}", args.flows_wait)),
    };
    set.map_err(|error| Failure::from_error(&error))?;
    if args.undo {
        return super::print(&format!("{}: back in service\n", asked.node));
    }
    if args.wait {
        return wait(args);
    }
    super::print(&format!(
        "{}: on its way out of service; `lb-agent show bgp` says how far it is\n",
        asked.node
    ))
}

/// Says each step once.
fn wait(args: &DrainArgs) -> Result<(), Failure> {
    let mut told = None;
    loop {
        let answer = state(args)?;
        let Some(row) = answer.rows.first() else {
            return Err(Failure::Failed(
                "the agent tells nothing of drains".to_owned(),
            ));
        };
        if told != Some(row.phase) {
            told = Some(row.phase);
            super::print(&sentence(&answer.node, row))?;
        }
        match row.phase {
            DrainPhase::Drained => return Ok(()),
            DrainPhase::InService => {
                return Err(Failure::Failed(
                    "somebody took it back meanwhile".to_owned(),
                ));
            }
            _ => thread::sleep(POLL),
        }
    }
}

fn sentence(node: &str, row: &DrainRow) -> String {
    match row.flows {
        Some(flows @ 1..) if row.phase == DrainPhase::Drained => format!(
            "{node}: {}; {flows} flows of its pods were alive after {} s\n",
            row.phase, row.flows_wait_seconds
        ),
        _ => format!("{node}: {}\n", row.phase),
    }
}

fn state(args: &DrainArgs) -> Result<Answer<DrainRow>, Failure> {
    client::get(&args.socket, "/v1/drain").map_err(|error| Failure::from_error(&error))
}
