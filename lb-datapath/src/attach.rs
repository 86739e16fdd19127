//! Attaching an instance to its uplink. A link that an earlier agent pinned is updated in place, so that no
//! packet passes without a program; a link whose interface is gone, or that somebody detached, is replaced.
//! Nobody else's program is ever removed.

use std::{
    io,
    os::fd::AsFd as _,
    path::{Path, PathBuf},
};

use aya::programs::{
    LinkOrder, ProgramError, SchedClassifier, TcAttachType, Xdp, XdpMode,
    links::{FdLink, PinnedLink},
    tc::{SchedClassifierLink, TcAttachOptions},
    xdp::XdpLink,
};

use crate::{Error, Uplink, load::Instance, pins, sys};

/// Attaches both programs; without a pin folder they stay as long as the instance.
pub(crate) fn attach(
    instance: &mut Instance,
    uplink: &Uplink,
    pin_dir: Option<&Path>,
) -> Result<(), Error> {
    attach_xdp(
        instance.xdp()?,
        uplink,
        pin_dir.map(|folder| pins::link(folder, "xdp", &uplink.name)),
    )?;
    attach_egress(
        instance.egress()?,
        uplink,
        pin_dir.map(|folder| pins::link(folder, "egress", &uplink.name)),
    )
}

fn attach_xdp(program: &mut Xdp, uplink: &Uplink, pin: Option<PathBuf>) -> Result<(), Error> {
    let refused = |error: ProgramError| refused(uplink, "XDP", &error);
    if let Some(pinned) = pin.as_deref().and_then(|pin| usable(pin, uplink)) {
        let link =
            XdpLink::try_from(FdLink::from(pinned)).map_err(|_| not_a_link(uplink, "XDP"))?;
        let id = program.attach_to_link(link).map_err(refused)?;
        drop(program.take_link(id).map_err(refused)?);
        return Ok(());
    }
    let id = program
        .attach_to_if_index(uplink.ifindex, XdpMode::Default)
        .map_err(refused)?;
    let Some(pin) = pin else { return Ok(()) };
    let link = FdLink::try_from(program.take_link(id).map_err(refused)?)
        .map_err(|_| not_a_link(uplink, "XDP"))?;
    pin_link(link, &pin, uplink)
}

fn attach_egress(
    program: &mut SchedClassifier,
    uplink: &Uplink,
    pin: Option<PathBuf>,
) -> Result<(), Error> {
    let refused = |error: ProgramError| refused(uplink, "egress", &error);
    if let Some(pinned) = pin.as_deref().and_then(|pin| usable(pin, uplink)) {
        let link = SchedClassifierLink::try_from(FdLink::from(pinned))
            .map_err(|_| not_a_link(uplink, "egress"))?;
        let id = program.attach_to_link(link).map_err(refused)?;
        drop(program.take_link(id).map_err(refused)?);
        return Ok(());
    }
    // Last of the chain: what others' programs do to a packet is done before its source changes.
    let options = TcAttachOptions::TcxOrder(LinkOrder::last());
    let id = program
        .attach_with_options(&uplink.name, TcAttachType::Egress, options)
        .map_err(refused)?;
    let Some(pin) = pin else { return Ok(()) };
    let link = FdLink::try_from(program.take_link(id).map_err(refused)?)
        .map_err(|_| not_a_link(uplink, "egress"))?;
    pin_link(link, &pin, uplink)
}

/// The pinned link, if it is still attached to this interface; another's remains are removed.
fn usable(pin: &Path, uplink: &Uplink) -> Option<PinnedLink> {
    let pinned = PinnedLink::from_pin(pin).ok()?;
    let fd = sys::open_pin(pin).ok()?;
    if sys::link_ifindex(fd.as_fd()).is_ok_and(|ifindex| ifindex == uplink.ifindex) {
        return Some(pinned);
    }
    drop(pinned.unpin());
    None
}

fn pin_link(link: FdLink, pin: &Path, uplink: &Uplink) -> Result<(), Error> {
    link.pin(pin).map(drop).map_err(|error| Error::Attach {
        interface: uplink.name.clone(),
        hook: "pin",
        source: io::Error::other(error.to_string()),
        hint: "",
    })
}

fn not_a_link(uplink: &Uplink, hook: &'static str) -> Error {
    Error::Attach {
        interface: uplink.name.clone(),
        hook,
        source: io::Error::from_raw_os_error(libc::EOPNOTSUPP),
        hint: ": this kernel attaches without BPF links, which a restart without a gap needs (kernel 6.6 or newer)",
    }
}

/// The kernel's error in an operator's words.
fn refused(uplink: &Uplink, hook: &'static str, error: &ProgramError) -> Error {
    let source = match error {
        ProgramError::SyscallError(error) => {
            io::Error::from_raw_os_error(error.io_error.raw_os_error().unwrap_or(0))
        }
        other => io::Error::other(other.to_string()),
    };
    let hint = match source.raw_os_error() {
        Some(libc::EBUSY | libc::EEXIST) if hook == "XDP" => {
            return Error::XdpTaken {
                interface: uplink.name.clone(),
            };
        }
        Some(libc::EPERM) => {
            return Error::NotPermitted {
                what: "attach BPF programs",
            };
        }
        Some(libc::ERANGE) => {
            ": its MTU is too large for XDP without fragments: lower the interface's MTU"
        }
        Some(libc::EOPNOTSUPP) => ": the driver does not take XDP programs",
        Some(libc::ENODEV) => ": the interface is gone",
        _ => "",
    };
    Error::Attach {
        interface: uplink.name.clone(),
        hook,
        source,
        hint,
    }
}
