//! Routes as `lb-bgp` takes them, with the VIPs that they lead to. Peers of one policy share one value, and what
//! each of them holds is mostly one of its sets: so a peer more costs no memory for routes.

use std::{
    collections::BTreeSet,
    sync::{Arc, OnceLock},
};

use lb_bgp::{Family, PerFamily, RouteSet};

use super::held::Vips;

/// What a peer shall be told.
#[derive(Debug, Default)]
pub(super) struct Routes {
    set: Arc<RouteSet>,
    /// By which families: none, IPv4, IPv6, both.
    vips: [OnceLock<Vips>; 4],
}

impl Routes {
    pub(super) fn new(set: RouteSet) -> Self {
        Self {
            set: Arc::new(set),
            vips: Default::default(),
        }
    }

    pub(super) fn set(&self) -> &Arc<RouteSet> {
        &self.set
    }

    /// VIPs of these families. Of an announced network nobody can tell which VIPs are held.
    pub(super) fn vips(&self, families: PerFamily<bool>) -> Vips {
        let [v4, v6] = Family::ALL.map(|family| usize::from(families[family]));
        let vips = || -> BTreeSet<_> {
            let prefixes = self.set.keys();
            let hosts =
                prefixes.filter(|prefix| prefix.bits() == prefix.family().host_prefix_bits());
            hosts
                .filter(|prefix| families[prefix.family()])
                .map(|prefix| prefix.address())
                .collect()
        };
        let found = self.vips[v4 | v6 << 1].get_or_init(|| Arc::new(vips()));
        Arc::clone(found)
    }
}

impl PartialEq for Routes {
    fn eq(&self, other: &Self) -> bool {
        self.set == other.set
    }
}
