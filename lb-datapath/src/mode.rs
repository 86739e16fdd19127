//! Where on an uplink the ingress program runs: what an operator asks for, and what the driver let us have.

use std::fmt;

/// What is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The driver's own hook if it takes the program, the generic one otherwise; tc's ingress where somebody else's
    /// program has both.
    #[default]
    Auto,
    /// The driver's hook, or no start.
    Native,
    /// The hook of the network stack, which every driver has.
    Generic,
    /// tc's ingress, whoever has XDP.
    Tc,
}

/// What an uplink has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IngressHook {
    /// XDP in the driver, before there is an skb.
    Native,
    /// XDP in the network stack; the kernel has turned GRO and LRO off on the interface for it.
    Generic,
    /// tc's ingress, behind everything that XDP does there: first of its chain.
    Tc,
}

impl IngressHook {
    /// Those of XDP, as they are looked for.
    pub(crate) const XDP: [Self; 2] = [Self::Native, Self::Generic];

    /// Those of XDP that a mode allows, best first.
    pub(crate) fn allowed_by(mode: Mode) -> &'static [Self] {
        match mode {
            Mode::Auto => &Self::XDP,
            Mode::Native => &[Self::Native],
            Mode::Generic => &[Self::Generic],
            Mode::Tc => &[],
        }
    }

    /// The first word of the pinned link's name.
    pub(crate) fn pin_name(self) -> &'static str {
        match self {
            Self::Native => "xdp",
            Self::Generic => "generic",
            Self::Tc => "tc",
        }
    }
}

impl fmt::Display for IngressHook {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Native => "native",
            Self::Generic => "generic",
            Self::Tc => "tc",
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
    pub ingress: IngressHook,
    /// Why it is not in the driver, if it was tried there.
    pub refusal: Option<String>,
    /// Where the egress program is.
    pub egress: EgressHook,
}
