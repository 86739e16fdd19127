//! A program at tc where that has no links (before Linux 6.6): a filter of the qdisc clsact. The kernel keeps a filter
//! until somebody removes it, whatever becomes of its loader; a restart replaces the program in the filter, so that no
//! packet passes without one. Filters are ours by priority and handle, and a pin named by the interface's index says
//! that there is one. The qdisc itself stays: others' filters may be on it by then.

use std::{fs, io, path::Path};

use aya::programs::{
    ProgramError, SchedClassifier, TcAttachType,
    tc::{NlOptions, SchedClassifierLink, TcAttachOptions, TcError, TcHandle, qdisc_add_clsact},
};

use crate::{Uplink, pins, sys};

/// A side of the qdisc.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// What comes in: ours is the first filter, as XDP comes before all.
    Ingress,
    /// What leaves: ours is the last.
    Egress,
}

impl Side {
    /// Both.
    pub(crate) const ALL: [Self; 2] = [Self::Ingress, Self::Egress];

    const fn attach_type(self) -> TcAttachType {
        match self {
            Self::Ingress => TcAttachType::Ingress,
            Self::Egress => TcAttachType::Egress,
        }
    }

    /// The kernel numbers filters from 0xc000 down and runs them by ascending priority.
    const fn priority(self) -> u16 {
        match self {
            Self::Ingress => 1,
            Self::Egress => 0xfa1e,
        }
    }
}

const HANDLE: TcHandle = TcHandle::new(0, 0xfa1e);

/// Puts the program into our filter, which is made if it is not there. With a pin folder it outlives this process.
pub(crate) fn attach(
    program: &mut SchedClassifier,
    uplink: &Uplink,
    side: Side,
    pin_dir: Option<&Path>,
) -> Result<(), ProgramError> {
    match qdisc_add_clsact(&uplink.name) {
        Err(TcError::NetlinkError(error)) if error.raw_os_error() == Some(libc::EEXIST) => {}
        result => result?,
    }
    let pin = pin_dir.map(|folder| pins::filter(folder, side, uplink.ifindex));
    if let Some(pin) = &pin {
        mark(program, pin)?;
    }
    let options = TcAttachOptions::Netlink(NlOptions {
        priority: side.priority(),
        handle: HANDLE,
        classid: None,
    });
    let made = program.attach_with_options(&uplink.name, side.attach_type(), options);
    let id = match made {
        Err(ProgramError::TcError(TcError::NetlinkError(error)))
            if error.raw_os_error() == Some(libc::EEXIST) =>
        {
            program.attach_to_link(filter_on(&uplink.name, side).map_err(TcError::IoError)?)?
        }
        made => made?,
    };
    if pin.is_some() {
        leave_to_the_kernel(program.take_link(id)?);
    }
    Ok(())
}

/// Dropped, the link would take the filter away.
#[expect(
    clippy::disallowed_methods,
    reason = "the kernel owns the filter from here on; the pin says so"
)]
fn leave_to_the_kernel(link: SchedClassifierLink) {
    std::mem::forget(link);
}

/// Takes our filter off an interface, if both are there.
pub(crate) fn detach(ifindex: u32, side: Side) {
    let Some(name) = sys::interface_name(ifindex) else {
        return;
    };
    if let Ok(filter) = filter_on(&name, side) {
        // The filter may have been removed by hand, or with its qdisc: what counts is that it is gone.
        drop(filter);
    }
}

/// Our filter as something that is detached when dropped.
fn filter_on(interface: &str, side: Side) -> io::Result<SchedClassifierLink> {
    SchedClassifierLink::attached(interface, side.attach_type(), side.priority(), HANDLE, None)
}

/// Pins the program, in place of an earlier one: before it is attached, so that `cleanup` finds the filter in any case.
fn mark(program: &mut SchedClassifier, pin: &Path) -> Result<(), ProgramError> {
    let fresh = pin.with_file_name("filter_new");
    let io = |error: io::Error| ProgramError::TcError(TcError::IoError(error));
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io(error)),
        _ => {}
    }
    program
        .pin(&fresh)
        .map_err(|error| io(io::Error::other(error.to_string())))?;
    fs::rename(&fresh, pin).map_err(io)
}
