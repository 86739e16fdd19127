//! Where on an uplink the ingress program runs: what an operator asks for, and what the driver let us have.

use std::fmt;

/// What is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The driver's own hook if it takes the program, the generic one otherwise.
    #[default]
    Auto,
    /// The driver's hook, or no start.
    Native,
    /// The hook of the network stack, which every driver has.
    Generic,
}

/// What an uplink has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpHook {
    /// In the driver, before there is an skb.
    Native,
    /// In the network stack; the kernel has turned GRO and LRO off on the interface for it.
    Generic,
}

impl XdpHook {
    /// Both, as they are looked for.
    pub(crate) const ALL: [Self; 2] = [Self::Native, Self::Generic];

    /// Those that a mode allows, best first.
    pub(crate) fn allowed_by(mode: Mode) -> &'static [Self] {
        match mode {
            Mode::Auto => &Self::ALL,
            Mode::Native => &[Self::Native],
            Mode::Generic => &[Self::Generic],
        }
    }

    /// The first word of the pinned link's name.
    pub(crate) fn pin_name(self) -> &'static str {
        match self {
            Self::Native => "xdp",
            Self::Generic => "generic",
        }
    }
}

impl fmt::Display for XdpHook {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Native => "native",
            Self::Generic => "generic",
        })
    }
}

/// Where the egress program is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EgressHook {
    /// A link of tcx, last of its chain.
    Tcx,
    /// A filter of the clsact qdisc, last by its priority.
    Clsact,
}

impl fmt::Display for EgressHook {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Tcx => "tcx",
            Self::Clsact => "clsact",
        })
    }
}

/// An uplink with the programs on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// The interface's name.
    pub interface: String,
    /// Where the ingress program is.
    pub xdp: XdpHook,
    /// Why it is not in the driver, in the kernel's words, if it was tried there.
    pub refusal: Option<String>,
    /// Where the egress program is.
    pub egress: EgressHook,
}
