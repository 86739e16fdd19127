//! Names that many records share, each kept once: nodes, zones, ports. A cluster of 100,000 endpoints has a few
//! thousand of them.

use std::{collections::BTreeSet, sync::Arc};

/// Names from which the unused ones are dropped when so many are kept, and again at each doubling.
const FIRST_SWEEP: usize = 4096;

/// The names.
#[derive(Debug)]
pub struct Names {
    known: BTreeSet<Arc<str>>,
    sweep_at: usize,
}

impl Default for Names {
    fn default() -> Self {
        Self {
            known: BTreeSet::new(),
            sweep_at: FIRST_SWEEP,
        }
    }
}

impl Names {
    /// The one copy of a name.
    pub fn get(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.known.get(name) {
            return Arc::clone(known);
        }
        if self.known.len() >= self.sweep_at {
            self.known.retain(|name| Arc::strong_count(name) > 1);
            self.sweep_at = FIRST_SWEEP.max(self.known.len() * 2);
        }
        let name: Arc<str> = name.into();
        self.known.insert(Arc::clone(&name));
        name
    }
}
