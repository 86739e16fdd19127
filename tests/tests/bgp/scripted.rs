//! A BGP speaker that does exactly what a test tells it, octet by octet, and shares no code with the agent's: it dials,
//! opens a session, announces IPv4 host routes, and ends the session in any of the ways there are. It sends KEEPALIVEs
//! only to open: its sessions are over before the hold time is.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    os::fd::AsRawFd as _,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use lb_lab::Namespace;

/// Message types of RFC 4271 section 4.1.
pub(crate) const OPEN: u8 = 1;
pub(crate) const UPDATE: u8 = 2;
pub(crate) const NOTIFICATION: u8 = 3;
pub(crate) const KEEPALIVE: u8 = 4;
/// RFC 4271 section 10. Not 0: GoBGP 3.10 cannot write to a session without timers.
const HOLD_TIME_S: u16 = 90;
/// How long the other end may take to answer.
const ANSWER: Duration = Duration::from_secs(5);

/// Who speaks, and what its OPEN says.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    /// Its AS number, of two octets.
    pub(crate) asn: u16,
    /// Its BGP identifier, and the next hop of its routes.
    pub(crate) address: Ipv4Addr,
    /// What it says of restarts; none: the capability is left out.
    pub(crate) restart: Option<Restart>,
}

/// The value of the capability of RFC 4724 section 3, with RFC 8538's bit, for both families.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Restart {
    /// R: this is a restart.
    pub(crate) restarted: bool,
    /// N: NOTIFICATIONs do not end it.
    pub(crate) notification: bool,
    /// F: forwarding went on.
    pub(crate) forwarding: bool,
}

/// An established session.
pub(crate) struct Session {
    stream: TcpStream,
}

impl Script {
    /// Dials from a namespace until a session is established.
    pub(crate) fn connect(
        &self,
        namespace: &Arc<Namespace>,
        to: SocketAddr,
        limit: Duration,
    ) -> Result<Session> {
        let deadline = Instant::now() + limit;
        loop {
            let dial = || Ok(TcpStream::connect_timeout(&to, ANSWER)?);
            let opened = namespace.run(dial).and_then(|stream| self.open(stream));
            match opened {
                Err(error) if Instant::now() > deadline => {
                    return Err(error).with_context(|| format!("no session with {to}"));
                }
                Ok(session) => return Ok(session),
                // The other end takes no connection yet.
                Err(_) => std::thread::sleep(Duration::from_millis(100)),
            }
        }
    }

    /// Opens a session on a connection.
    pub(crate) fn open(&self, stream: TcpStream) -> Result<Session> {
        let mut session = Session::on(stream)?;
        self.say_open(&mut session)?;
        session.expect(OPEN)?;
        session.send(KEEPALIVE, &[])?;
        session.expect(KEEPALIVE)?;
        Ok(session)
    }

    /// Sends the OPEN, and nothing more.
    pub(crate) fn say_open(&self, session: &mut Session) -> Result<()> {
        session.send(OPEN, &self.open_body())
    }

    fn open_body(&self) -> Vec<u8> {
        // Both families (RFC 4760), route refresh (RFC 2918), AS numbers of four octets (RFC 6793).
        let mut capabilities = vec![1, 4, 0, 1, 0, 1, 1, 4, 0, 2, 0, 1, 2, 0, 65, 4, 0, 0];
        capabilities.extend(self.asn.to_be_bytes());
        if let Some(restart) = self.restart {
            let flags = u8::from(restart.restarted) << 7 | u8::from(restart.notification) << 6;
            let forwarding = u8::from(restart.forwarding) << 7;
            capabilities.extend([64, 10, flags, 120, 0, 1, 1, forwarding, 0, 2, 1, forwarding]);
        }
        let length = capabilities.len() as u8;
        let mut body = vec![4];
        body.extend(self.asn.to_be_bytes());
        body.extend(HOLD_TIME_S.to_be_bytes());
        body.extend(self.address.octets());
        body.extend([length + 2, 2, length]);
        body.extend(capabilities);
        body
    }

    /// Announces host routes.
    pub(crate) fn announce(&self, session: &mut Session, hosts: &[Ipv4Addr]) -> Result<()> {
        // ORIGIN IGP, AS_PATH of one AS, NEXT_HOP (RFC 4271 section 5.1).
        let mut attributes = vec![0x40, 1, 1, 0, 0x40, 2, 6, 2, 1, 0, 0];
        attributes.extend(self.asn.to_be_bytes());
        attributes.extend([0x40, 3, 4]);
        attributes.extend(self.address.octets());
        for some in hosts.chunks(HOSTS_PER_UPDATE) {
            let mut body = vec![0, 0];
            body.extend((attributes.len() as u16).to_be_bytes());
            body.extend(&attributes);
            for host in some {
                body.push(32);
                body.extend(host.octets());
            }
            session.send(UPDATE, &body)?;
        }
        Ok(())
    }
}

/// What fits a message of 4096 octets.
const HOSTS_PER_UPDATE: usize = 800;

impl Session {
    /// A connection on which nothing was said yet.
    pub(crate) fn on(stream: TcpStream) -> Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER))?;
        Ok(Self { stream })
    }

    /// All routes have been sent (RFC 4724 section 2); GoBGP waits for that of every family that it is configured with.
    pub(crate) fn end_of_rib(&mut self) -> Result<()> {
        self.send(UPDATE, &[0; 4])?;
        self.send(UPDATE, &[0, 0, 0, 6, 0x80, 15, 3, 0, 2, 1])
    }

    /// Sends a NOTIFICATION and closes.
    pub(crate) fn notify(mut self, octets: &[u8]) -> Result<()> {
        self.send(NOTIFICATION, octets)
    }

    /// Closes without a word: FIN.
    pub(crate) fn close(self) {}

    /// Closes without a word: RST.
    pub(crate) fn reset(self) -> Result<()> {
        let linger = libc::linger {
            l_onoff: 1,
            l_linger: 0,
        };
        // SAFETY: the socket is open, and the option is a `linger` of the given size (socket(7)).
        let code = unsafe {
            libc::setsockopt(
                self.stream.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_LINGER,
                (&raw const linger).cast(),
                size_of::<libc::linger>() as libc::socklen_t,
            )
        };
        ensure!(code == 0, "{}", std::io::Error::last_os_error());
        Ok(())
    }

    /// Sends a message of this type.
    pub(crate) fn send(&mut self, kind: u8, body: &[u8]) -> Result<()> {
        let length = u16::try_from(19 + body.len())?;
        let mut message = vec![0xff; 16];
        message.extend(length.to_be_bytes());
        message.push(kind);
        message.extend(body);
        Ok(self.stream.write_all(&message)?)
    }

    /// The next message, which must be of this type.
    fn expect(&mut self, kind: u8) -> Result<()> {
        let (is, body) = self.receive()?;
        if is != kind {
            bail!("got a message of type {is} with {body:?}");
        }
        Ok(())
    }

    /// The next message: its type and body.
    pub(crate) fn receive(&mut self) -> Result<(u8, Vec<u8>)> {
        let mut header = [0; 19];
        self.stream.read_exact(&mut header)?;
        let length = u16::from_be_bytes([header[16], header[17]]);
        let mut body = vec![0; usize::from(length).saturating_sub(19)];
        self.stream.read_exact(&mut body)?;
        Ok((header[18], body))
    }
}
