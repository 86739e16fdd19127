//! What routers do with the routes of a speaker that goes away and comes back (RFC 4724, RFC 8538), row by row: the table
//! on which the agent's own way of leaving rests. The speaker is a script, so that it can do what the agent never would.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use lb_lab::{Lab, NODE_ASN, Neighbour, Profile, ReceivedRoute, Router};

use crate::{
    cells::{SESSION_LIMIT, SOON},
    scripted::{Restart, Script, Session},
};

/// What becomes of the routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Kept,
    Dropped,
}

/// How the session ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Fin,
    Rst,
    /// Cease/Administrative Shutdown (RFC 4486).
    Shutdown,
    /// Hard Reset around the same (RFC 8538 section 3).
    HardReset,
}

/// How the speaker comes back, before it announces anything.
#[derive(Clone, Copy, Debug)]
struct Return {
    forwarding: bool,
    fate: Fate,
}

/// A row: how the session ends, whether the speaker had offered to keep routes over NOTIFICATIONs, what becomes of them,
/// and what becomes of those kept when it is back.
struct Row {
    end: End,
    notification: bool,
    fate: Fate,
    back: Option<Return>,
}

const fn row(end: End, notification: bool, fate: Fate) -> Row {
    Row {
        end,
        notification,
        fate,
        back: None,
    }
}

const fn and_back(end: End, forwarding: bool, fate: Fate) -> Row {
    Row {
        end,
        notification: true,
        fate: Fate::Kept,
        back: Some(Return { forwarding, fate }),
    }
}

#[test]
fn bird() -> Result<()> {
    // BIRD 2.0.12 has no RFC 8538: any NOTIFICATION ends it.
    let rows = [
        and_back(End::Fin, true, Fate::Kept),
        and_back(End::Rst, false, Fate::Dropped),
        row(End::Shutdown, true, Fate::Dropped),
        row(End::Shutdown, false, Fate::Dropped),
        row(End::HardReset, true, Fate::Dropped),
    ];
    all_rows(&rows, |lab, neighbour| {
        Ok(Box::new(lab.start_bird_with(neighbour)?))
    })
}

#[test]
fn frr() -> Result<()> {
    let rows = [
        and_back(End::Fin, true, Fate::Kept),
        and_back(End::Rst, false, Fate::Dropped),
        row(End::Shutdown, true, Fate::Kept),
        row(End::Shutdown, false, Fate::Dropped),
        row(End::HardReset, true, Fate::Dropped),
    ];
    all_rows(&rows, |lab, neighbour| {
        Ok(Box::new(lab.start_frr(neighbour)?))
    })
}

#[test]
fn gobgp() -> Result<()> {
    // GoBGP 3.10 looks neither at F nor at the other end's N.
    let rows = [
        and_back(End::Fin, true, Fate::Kept),
        and_back(End::Rst, false, Fate::Kept),
        row(End::Shutdown, true, Fate::Kept),
        row(End::Shutdown, false, Fate::Kept),
        row(End::HardReset, true, Fate::Dropped),
    ];
    all_rows(&rows, |lab, neighbour| {
        Ok(Box::new(lab.start_gobgp(neighbour)?))
    })
}

fn all_rows(
    rows: &[Row],
    start: impl FnOnce(&Lab, &[Neighbour]) -> Result<Box<dyn Router>>,
) -> Result<()> {
    let lab = Lab::build(&Profile::default())?;
    let neighbour = Neighbour {
        passive: true,
        ..Neighbour::of(lab.node(1))
    };
    let router = start(&lab, std::slice::from_ref(&neighbour))?;
    let mut table = Table {
        router,
        lab,
        neighbour,
    };
    for row in rows {
        let name = format!(
            "{}: {:?}, N={}",
            table.router.name(),
            row.end,
            row.notification
        );
        table.check(row).with_context(|| name.clone())?;
        println!("{name}: {:?}, then {:?}", row.fate, row.back);
    }
    Ok(())
}

/// The host that is announced.
const HOST: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
/// How long routes that are kept are watched, and longer than a router takes to drop what it drops at once.
const WATCH: Duration = Duration::from_secs(2);
/// The same of a speaker that is back and takes its time to announce.
const WATCH_RETURNED: Duration = Duration::from_secs(6);

struct Table {
    // Before the lab that it runs in.
    router: Box<dyn Router>,
    lab: Lab,
    neighbour: Neighbour,
}

impl Table {
    fn check(&mut self, row: &Row) -> Result<()> {
        let script = self.script(Restart {
            restarted: false,
            notification: row.notification,
            forwarding: true,
        });
        let mut session = self.connect(&script)?;
        script.announce(&mut session, &[HOST])?;
        session.end_of_rib()?;
        self.wait(
            "announced",
            |routes| matches!(routes, [route] if !route.stale),
        )?;
        row.end.carry_out(session)?;
        let address = self.neighbour.address;
        self.router
            .wait_for(SOON, "the session is over", |router| {
                Ok((!router.established()?.contains(&address)).then_some(()))
            })?;
        self.expect(row.fate, WATCH)?;
        let Some(back) = row.back else {
            return self.forget();
        };

        let script = self.script(Restart {
            restarted: true,
            notification: row.notification,
            forwarding: back.forwarding,
        });
        let mut session = self.connect(&script)?;
        self.expect(back.fate, WATCH_RETURNED)
            .context("back, and nothing announced yet")?;
        // What was not announced again goes with End-of-RIB.
        session.end_of_rib()?;
        self.wait("forgotten after End-of-RIB", <[_]>::is_empty)?;
        End::HardReset.carry_out(session)
    }

    /// Leaves nothing to the next row: GoBGP keeps even what a speaker without graceful restart has not announced again.
    fn forget(&mut self) -> Result<()> {
        let script = self.script(Restart {
            restarted: true,
            notification: false,
            forwarding: false,
        });
        let mut session = self.connect(&script)?;
        session.end_of_rib()?;
        self.wait("forgotten", <[_]>::is_empty)?;
        End::HardReset.carry_out(session)
    }

    fn script(&self, restart: Restart) -> Script {
        Script {
            asn: u16::try_from(NODE_ASN).expect("two octets"),
            address: self.lab.node(1).addresses().v4,
            restart: Some(restart),
        }
    }

    fn connect(&mut self, script: &Script) -> Result<Session> {
        let router = SocketAddr::new(self.lab.node(1).router().v4.into(), 179);
        let session = script.connect(self.lab.node(1).namespace(), router, SESSION_LIMIT)?;
        let address = self.neighbour.address;
        self.router.wait_established(SOON, &[address])?;
        Ok(session)
    }

    fn expect(&mut self, fate: Fate, watch: Duration) -> Result<()> {
        if fate == Fate::Dropped {
            return self.wait("dropped", <[_]>::is_empty);
        }
        let begin = Instant::now();
        while begin.elapsed() < watch {
            let routes = self.router.routes()?;
            ensure!(routes.len() == 1, "not kept: {routes:?}");
        }
        Ok(())
    }

    fn wait(&mut self, what: &str, check: impl Fn(&[ReceivedRoute]) -> bool) -> Result<()> {
        let from = (self.neighbour.address, (HOST.into(), 32));
        self.router.wait_routes(SOON, from, what, check).map(drop)
    }
}

impl End {
    fn carry_out(self, session: Session) -> Result<()> {
        match self {
            Self::Fin => session.close(),
            Self::Rst => session.reset()?,
            Self::Shutdown => session.notify(&[6, 2])?,
            Self::HardReset => session.notify(&[6, 9, 6, 2])?,
        }
        Ok(())
    }
}
