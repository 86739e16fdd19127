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
    tc::{SchedClassifierLink, TcAttachOptions, TcError},
    xdp::{XdpError, XdpLink},
};

use crate::{
    Abilities, Datapath, EgressHook, Error, IngressHook, Mode, Uplink,
    clsact::{self, Side},
    load::Instance,
    pins, sys,
};

/// Attaches the egress program, last of its chain: what others' programs do to a packet is done before its source changes.
/// Without a pin folder it stays as long as the instance.
pub(crate) fn egress(
    instance: &mut Instance,
    uplink: &Uplink,
    abilities: Abilities,
    pin_dir: Option<&Path>,
) -> Result<EgressHook, Error> {
    let program = instance.egress()?;
    if abilities.tcx {
        let pin = pin_dir.map(|folder| pins::link(folder, "egress", &uplink.name));
        attach_tcx(program, uplink, Side::Egress, pin)?;
        return Ok(EgressHook::Tcx);
    }
    clsact::attach(program, uplink, Side::Egress, pin_dir)
        .map_err(|error| refused(uplink, "egress", &error))?;
    Ok(EgressHook::Clsact)
}

/// Attaches the entry program to tc's ingress, first of its chain: it comes as near to XDP as can be.
pub(crate) fn tc(
    instance: &mut Instance,
    uplink: &Uplink,
    abilities: Abilities,
    pin_dir: Option<&Path>,
) -> Result<(), Error> {
    let program = instance.tc()?;
    if abilities.tcx {
        let pin = pin_dir.map(|folder| tc_pin(folder, uplink));
        return attach_tcx(program, uplink, Side::Ingress, pin);
    }
    clsact::attach(program, uplink, Side::Ingress, pin_dir)
        .map_err(|error| refused(uplink, "tc ingress", &error))
}

/// Takes the entry program off tc's ingress, if an agent has pinned it there.
pub(crate) fn leave_tc(uplink: &Uplink, pin_dir: Option<&Path>) -> Result<(), Error> {
    let Some(folder) = pin_dir else {
        return Ok(());
    };
    leave_link(&tc_pin(folder, uplink));
    let filter = pins::filter(folder, Side::Ingress, uplink.ifindex);
    if filter.exists() {
        pins::remove_link(&filter)?;
    }
    Ok(())
}

/// Takes our programs off both hooks of XDP, if an agent has pinned them there.
pub(crate) fn leave_xdp(uplink: &Uplink, pin_dir: Option<&Path>) {
    let Some(folder) = pin_dir else { return };
    for hook in IngressHook::XDP {
        leave_link(&pins::link(folder, hook.pin_name(), &uplink.name));
    }
}

fn tc_pin(folder: &Path, uplink: &Uplink) -> PathBuf {
    pins::link(folder, IngressHook::Tc.pin_name(), &uplink.name)
}

/// Detaches a pinned link at once: the kernel puts off what it does for a last reference that goes, and until then the
/// interface would be taken.
fn leave_link(pin: &Path) {
    let Ok(pinned) = PinnedLink::from_pin(pin) else {
        return;
    };
    if let Ok(link) = sys::open_pin(pin) {
        let _ = sys::detach_link(link.as_fd());
    }
    drop(pinned.unpin());
}

/// Attaches the entry program to XDP. Where it is now, and why not in the driver if it was tried there.
///
/// # Errors
/// `XdpTaken` if somebody else's program is there.
pub(crate) fn xdp(
    instance: &mut Instance,
    uplink: &Uplink,
    mode: Mode,
    pin_dir: Option<&Path>,
) -> Result<(IngressHook, Option<String>), Error> {
    let program = instance.xdp()?;
    let pin =
        |hook: IngressHook| pin_dir.map(|folder| pins::link(folder, hook.pin_name(), &uplink.name));
    let allowed = IngressHook::allowed_by(mode);
    for hook in IngressHook::XDP {
        let Some(path) = pin(hook) else { continue };
        let Some(pinned) = usable(&path, uplink) else {
            continue;
        };
        if allowed.contains(&hook) {
            update_xdp(program, pinned, uplink)?;
            return Ok((hook, None));
        }
        // The operator asks for the other hook: for a moment there is none.
        drop(pinned);
        leave_link(&path);
    }
    let mut refusal = None;
    for hook in allowed {
        match attach_xdp_to(program, uplink, *hook, pin(*hook)) {
            Ok(()) => return Ok((*hook, refusal)),
            Err(error @ (Error::XdpTaken { .. } | Error::NotPermitted { .. })) => {
                return Err(error);
            }
            Err(error) if *hook == allowed[allowed.len() - 1] => return Err(error),
            Err(error) => refusal = Some(error.to_string()),
        }
    }
    unreachable!("every mode of XDP allows a hook")
}

fn update_xdp(program: &mut Xdp, pinned: PinnedLink, uplink: &Uplink) -> Result<(), Error> {
    let refused = |error: ProgramError| refused(uplink, "XDP", &error);
    let link = XdpLink::try_from(FdLink::from(pinned)).map_err(|_| not_a_link(uplink, "XDP"))?;
    let id = program.attach_to_link(link).map_err(refused)?;
    drop(program.take_link(id).map_err(refused)?);
    Ok(())
}

fn attach_xdp_to(
    program: &mut Xdp,
    uplink: &Uplink,
    hook: IngressHook,
    pin: Option<PathBuf>,
) -> Result<(), Error> {
    let refused = |error: ProgramError| refused(uplink, "XDP", &error);
    let mode = match hook {
        IngressHook::Native => XdpMode::Driver,
        _ => XdpMode::Skb,
    };
    let id = program
        .attach_to_if_index(uplink.ifindex, mode)
        .map_err(refused)?;
    let Some(pin) = pin else { return Ok(()) };
    let link = FdLink::try_from(program.take_link(id).map_err(refused)?)
        .map_err(|_| not_a_link(uplink, "XDP"))?;
    pin_link(link, &pin, uplink)
}

fn attach_tcx(
    program: &mut SchedClassifier,
    uplink: &Uplink,
    side: Side,
    pin: Option<PathBuf>,
) -> Result<(), Error> {
    let (hook, attach_type, order) = match side {
        Side::Ingress => ("tc ingress", TcAttachType::Ingress, LinkOrder::first()),
        Side::Egress => ("egress", TcAttachType::Egress, LinkOrder::last()),
    };
    let refused = |error: ProgramError| refused(uplink, hook, &error);
    if let Some(pinned) = pin.as_deref().and_then(|pin| usable(pin, uplink)) {
        let link = SchedClassifierLink::try_from(FdLink::from(pinned))
            .map_err(|_| not_a_link(uplink, hook))?;
        let id = program.attach_to_link(link).map_err(refused)?;
        drop(program.take_link(id).map_err(refused)?);
        return Ok(());
    }
    let options = TcAttachOptions::TcxOrder(order);
    let id = program
        .attach_with_options(&uplink.name, attach_type, options)
        .map_err(refused)?;
    let Some(pin) = pin else { return Ok(()) };
    let link = FdLink::try_from(program.take_link(id).map_err(refused)?)
        .map_err(|_| not_a_link(uplink, hook))?;
    pin_link(link, &pin, uplink)
}

impl Datapath {
    /// Whether programs that this or an earlier agent pinned are on the uplink's way in.
    #[must_use]
    pub fn is_on(&self, uplink: &Uplink) -> bool {
        let folder = self.options.pin_dir.as_deref();
        folder.is_some_and(|folder| is_on(uplink, folder))
    }
}

/// Whether an entry program that was pinned is attached to this interface, by whichever hook.
fn is_on(uplink: &Uplink, pin_dir: &Path) -> bool {
    let hooks = IngressHook::XDP.iter().chain([&IngressHook::Tc]);
    let mut pins = hooks.map(|hook| pins::link(pin_dir, hook.pin_name(), &uplink.name));
    pins.any(|pin| leads_to(&pin, uplink))
        || pins::filter(pin_dir, Side::Ingress, uplink.ifindex).exists()
}

/// The pinned link, if it is still attached to this interface; another's remains are removed.
fn usable(pin: &Path, uplink: &Uplink) -> Option<PinnedLink> {
    let pinned = PinnedLink::from_pin(pin).ok()?;
    if leads_to(pin, uplink) {
        return Some(pinned);
    }
    drop(pinned.unpin());
    None
}

fn leads_to(pin: &Path, uplink: &Uplink) -> bool {
    let Ok(link) = sys::open_pin(pin) else {
        return false;
    };
    sys::link_ifindex(link.as_fd()).is_ok_and(|ifindex| ifindex == uplink.ifindex)
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
        hint: ": the driver attaches without a BPF link, which a restart without a gap needs: `node.mode: generic` does without the driver",
    }
}

/// The kernel's error in an operator's words.
fn refused(uplink: &Uplink, hook: &'static str, error: &ProgramError) -> Error {
    let source = match error {
        ProgramError::SyscallError(error) => {
            io::Error::from_raw_os_error(error.io_error.raw_os_error().unwrap_or(0))
        }
        ProgramError::TcError(TcError::NetlinkError(error))
        | ProgramError::XdpError(XdpError::NetlinkError(error)) => {
            io::Error::from_raw_os_error(error.raw_os_error().unwrap_or(0))
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
