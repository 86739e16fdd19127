//! `lb-lab hold`: a process of its own that keeps connections open, since both ends of ten thousand are more than one process
//! may have files. Each is asked once when it is opened, and once more at the end.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lb_lab::{Connection, Request, wait_until};

/// A busy machine takes its time.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// Longer than anything that happens meanwhile.
const IDLE_LIMIT: Duration = Duration::from_secs(3600);

/// Opens `count` connections from the ports from `first_port` on, says `open`, waits until there is a file `until`, and
/// asks each again.
pub(crate) fn run(target: SocketAddr, first_port: u16, count: u16, until: &Path) -> Result<()> {
    let open = |port| {
        let request = Request {
            time_limit: ANSWER_LIMIT,
            ..Request::to(target).from_port(port)
        };
        let mut connection = Connection::open(&request)?;
        connection
            .get(0)
            .with_context(|| format!("the first request from port {port}"))?;
        Ok(connection)
    };
    let opened: Result<Vec<Connection>> = (first_port..first_port + count).map(open).collect();
    let mut connections = opened?;
    println!("open");
    wait_until(IDLE_LIMIT, "the end", || Ok(until.exists().then_some(())))?;
    let mut failed = 0;
    for connection in &mut connections {
        if let Err(error) = connection.get(0) {
            eprintln!("{error:#}");
            failed += 1;
        }
    }
    let answered = connections.len() - failed;
    println!("{answered} of {count} answered");
    ensure!(failed == 0, "{failed} of {count} no longer answer");
    Ok(())
}
