//! A data path on loan: what one test has given back, cleared, is the next one's. To load the programs takes a second
//! or two here and many where the kernel is emulated, and a test needs its own maps only while it runs.

use std::{
    env,
    ops::{Deref, DerefMut},
    path::Path,
    sync::{Mutex, OnceLock, PoisonError},
};

use anyhow::{Context as _, Result};
use lb_datapath::{Datapath, Options, Variant};

/// Loaded and idle.
static IDLE: Mutex<Vec<(Options, Datapath)>> = Mutex::new(Vec::new());

/// A data path that goes back to the others when it is dropped.
pub struct Loaded {
    /// What it was opened with, and it; taken when dropped.
    lent: Option<(Options, Datapath)>,
}

impl Loaded {
    /// An idle one that was opened with the same options, or a new one. A pinned one is never shared.
    ///
    /// # Errors
    /// The kernel does not take the programs, or does not let a map be cleared.
    pub fn open(options: &Options) -> Result<Self> {
        let options = &Options {
            variant: chosen(options.variant)?,
            ..options.clone()
        };
        let idle = {
            let mut idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner);
            let found = idle.iter().position(|(have, _)| have == options);
            found.map(|at| idle.swap_remove(at))
        };
        let mut lent = match idle {
            Some(lent) => lent,
            None => (options.clone(), Datapath::open(options)?),
        };
        if lent.0.pin_dir.is_none() {
            lent.1.clear()?;
        }
        Ok(Self { lent: Some(lent) })
    }

    fn datapath(&self) -> &(Options, Datapath) {
        self.lent
            .as_ref()
            .unwrap_or_else(|| unreachable!("taken only when dropped"))
    }
}

/// The build that `FAIRLEAD_OBJECT` names in place of the shipped one: a mutant must fail what the other passes.
fn chosen(variant: Variant) -> Result<Variant> {
    static GIVEN: OnceLock<Variant> = OnceLock::new();
    let Some(path) = env::var_os("FAIRLEAD_OBJECT") else {
        return Ok(variant);
    };
    if let Some(given) = GIVEN.get() {
        return Ok(*given);
    }
    let read = Variant::from_file(Path::new(&path));
    let read = read.with_context(|| format!("cannot read {}", path.display()))?;
    Ok(*GIVEN.get_or_init(|| read))
}

impl Deref for Loaded {
    type Target = Datapath;

    fn deref(&self) -> &Datapath {
        &self.datapath().1
    }
}

impl DerefMut for Loaded {
    fn deref_mut(&mut self) -> &mut Datapath {
        match &mut self.lent {
            Some((_, datapath)) => datapath,
            None => unreachable!("taken only when dropped"),
        }
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        let lent = self.lent.take();
        let shared = lent.filter(|(options, _)| options.pin_dir.is_none());
        IDLE.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(shared);
    }
}
