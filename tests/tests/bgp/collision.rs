//! Two connections at once, forced: the peer is a script that waits for the agent's OPEN on the connection that the agent has
//! dialled before it dials itself, so that both ends have both. Which one stays is RFC 4271 section 6.8's to say, whichever
//! end has the higher identifier and whichever OPEN comes first.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use lb_lab::{AgentOptions, Lab, NODE_BGP_PORT, Profile, ROUTER_ASN, wait_until};

use crate::{
    cells::SESSION_LIMIT,
    scripted::{KEEPALIVE, NOTIFICATION, OPEN, Script, Session, UPDATE},
};

/// Where the script listens.
const PORT: u16 = 1790;
/// Cease/Connection Collision Resolution (RFC 4486).
const COLLISION: [u8; 2] = [6, 7];
/// Lower and higher than the agent's, 10.0.0.11.
const IDENTIFIERS: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(203, 0, 113, 1)];

/// Who has dialled a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialler {
    Agent,
    Script,
}

#[test]
fn the_connection_of_the_higher_identifier_stays() -> Result<()> {
    let lab = Lab::build(&Profile::default())?;
    let router = lab.node(1).router().v4;
    let listener = lab
        .router_namespace()
        .run(|| Ok(TcpListener::bind((router, PORT))?))?;
    let bgp = format!(
        "  asn: 65000
  routerId: 10.0.0.11
  listenPort: {NODE_BGP_PORT}
  peers:
    - {{address: {router}, asn: {ROUTER_ASN}, port: {PORT}, holdTime: 90s, connectRetry: 1s}}
"
    );
    let yaml = lab.agent_configuration_with(1, &bgp, &lab.web_service("web", 1));
    let _agent = lab.start_agent(1, &yaml, &AgentOptions::default())?;
    for identifier in IDENTIFIERS {
        for first in [Dialler::Agent, Dialler::Script] {
            collide(&lab, &listener, identifier, first)
                .with_context(|| format!("identifier {identifier}, first OPEN to {first:?}"))?;
        }
    }
    Ok(())
}

fn collide(lab: &Lab, listener: &TcpListener, identifier: Ipv4Addr, first: Dialler) -> Result<()> {
    let script = Script {
        asn: u16::try_from(ROUTER_ASN)?,
        address: identifier,
        restart: None,
    };
    let mut by_agent = Session::on(accept(listener)?)?;
    ensure!(by_agent.receive()?.0 == OPEN, "no OPEN of the agent");
    let agent = SocketAddr::new(lab.node(1).addresses().v4.into(), NODE_BGP_PORT);
    let dial = || Ok(TcpStream::connect(agent)?);
    let mut by_script = Session::on(lab.router_namespace().run(dial)?)?;
    ensure!(by_script.receive()?.0 == OPEN, "no OPEN of the agent");

    let order = match first {
        Dialler::Agent => [&mut by_agent, &mut by_script],
        Dialler::Script => [&mut by_script, &mut by_agent],
    };
    for session in order {
        script.say_open(session)?;
    }
    let (mut winner, loser) = match identifier > lab.node(1).addresses().v4 {
        true => (by_script, by_agent),
        false => (by_agent, by_script),
    };
    is_refused(loser)?;
    winner.send(KEEPALIVE, &[])?;
    // Routes come only in an established session.
    while winner.receive()?.0 != UPDATE {}
    winner.close();
    Ok(())
}

/// Ends with a NOTIFICATION that says collision, after the KEEPALIVE if its OPEN was the first.
fn is_refused(mut loser: Session) -> Result<()> {
    loop {
        match loser.receive()? {
            (KEEPALIVE, _) => {}
            (NOTIFICATION, body) => {
                ensure!(body.starts_with(&COLLISION), "{body:?}");
                return Ok(());
            }
            (kind, body) => anyhow::bail!("got a message of type {kind} with {body:?}"),
        }
    }
}

fn accept(listener: &TcpListener) -> Result<TcpStream> {
    listener.set_nonblocking(true)?;
    let accepted = wait_until(SESSION_LIMIT, "the agent dials", || {
        match listener.accept() {
            Ok((stream, _)) => Ok(Some(stream)),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error.into()),
        }
    })?;
    accepted.set_nonblocking(false)?;
    accepted.set_read_timeout(Some(Duration::from_secs(5)))?;
    Ok(accepted)
}
