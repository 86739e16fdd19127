//! The speaker of this node, put together from the objects that say what it is to be. Passwords are wanted as files, in a
//! folder of this agent's own; which file has which content follows from the objects and the Secrets. Pure.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use lb_core::model::{Bgp, Node, Remote};

use super::stores::Stores;
use crate::{
    crd::BGP_CONF_NAME,
    project::{
        bgp::{self, Password},
        gobgp::Policy,
    },
};

/// Key of a Secret that has a password, unless the BgpPeer names another.
const PASSWORD_KEY: &str = "password";

/// Files by path; `None`: what is to be in it is not known yet.
pub type Files = BTreeMap<PathBuf, Option<Vec<u8>>>;

/// The speaker, and what comes with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Speaker {
    /// `None`: there is none.
    pub bgp: Option<Arc<Bgp>>,
    /// There is a BgpConf that counts.
    pub is_there: bool,
    /// BgpPeers by name: who they are.
    pub remotes: BTreeMap<String, Remote>,
    /// Passwords.
    pub files: Files,
    /// Names of the Secrets that have them.
    pub secrets: BTreeSet<String>,
    /// What is wrong with the objects, a sentence each.
    pub problems: Vec<String>,
}

impl Speaker {
    /// Reads the objects as the node `own` does.
    #[must_use]
    pub fn of(stores: &Stores, own: &Node, namespace: &str, folder: &Path) -> Self {
        let conf = stores.speakers.get(BGP_CONF_NAME).map(|conf| &conf.spec);
        let peers = stores.peers.iter().map(|(name, spec)| (&**name, &**spec));
        let needed = RefCell::new((Files::new(), BTreeSet::new()));
        let file = |peer: &str, password: Password<'_>| {
            let (files, secrets) = &mut *needed.borrow_mut();
            let (path, content) = match password {
                Password::Text(text) => (folder.join(format!("peer-{peer}")), Some(text.into())),
                Password::Secret(named) => {
                    secrets.insert(named.name.clone());
                    let key = named.key.as_deref().unwrap_or(PASSWORD_KEY);
                    let secret = stores.secrets.get(&format!("{namespace}/{}", named.name));
                    let content = secret.and_then(|secret| secret.0.get(key)).cloned();
                    (folder.join(format!("secret-{}-{key}", named.name)), content)
                }
            };
            files.insert(path.clone(), content);
            path
        };
        let policy = conf.and_then(bgp::policy_name);
        let policy = policy.and_then(|name| stores.policies.get(&format!("{namespace}/{name}")));
        let policy = policy.and_then(|record| Policy::read(&record.0).ok());
        let policy = policy.map(|(policy, _)| policy);
        let read = bgp::speaker(conf, policy.as_ref(), peers, own, &file);
        let of_conf = read.of_conf.wrong_ones();
        let of_conf = of_conf.map(|why| format!("BgpConf {BGP_CONF_NAME}: {why}"));
        let of_peers = read.of_peers.iter().filter_map(|(name, findings)| {
            let why = findings.wrong_ones()?;
            Some(format!("BgpPeer {name}: {why}"))
        });
        let problems = of_conf.into_iter().chain(of_peers).collect();
        let (files, secrets) = needed.into_inner();
        Self {
            bgp: read.bgp.map(Arc::new),
            is_there: conf.is_some(),
            remotes: read.remotes,
            files,
            secrets,
            problems,
        }
    }
}
