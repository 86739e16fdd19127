//! v1alpha1's spelling of what v1alpha2 calls otherwise. The API server converts nothing, so an object stored by an old
//! release, or posted as v1alpha1, still has the old words; here they become the new ones. Both spellings with one value
//! are fine; two values are an error, because nothing says which one is meant.

use super::{AfiSafi, AfiSafiAddPaths, AfiSafiAddPathsConfig, BgpConfSpec, BgpPeerSpec, PeerConf};

/// Both spellings of a field are there and differ.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{old} is the old spelling of {new} and says {old_value}, not {new_value}: remove one of them"
)]
pub struct SpellingConflict {
    /// The old field.
    pub old: &'static str,
    /// The new field.
    pub new: &'static str,
    /// What the old one says.
    pub old_value: String,
    /// What the new one says.
    pub new_value: String,
}

impl BgpConfSpec {
    /// The same without old spellings.
    pub fn normalised(&self) -> Result<Self, SpellingConflict> {
        let mut spec = self.clone();
        let (id, port) = (spec.router_id_v1alpha1.take(), spec.port_v1alpha1.take());
        merge(&mut spec.router_id, id, ("routerID", "routerId"))?;
        merge(&mut spec.listen_port, port, ("port", "listenPort"))?;
        Ok(spec)
    }
}

impl BgpPeerSpec {
    /// The same without old spellings.
    pub fn normalised(&self) -> Result<Self, SpellingConflict> {
        let mut spec = self.clone();
        if let Some(config) = spec.config.take() {
            let conf = spec.conf.get_or_insert_with(PeerConf::default);
            let address = ("config.neighborAddress", "conf.neighborAddress");
            merge(&mut conf.neighbor_address, config.neighbor_address, address)?;
            let asn = ("config.peerAs", "conf.peerAs");
            merge(&mut conf.peer_as, config.peer_as, asn)?;
        }
        if let Some(send_max) = spec.add_paths.take().and_then(|paths| paths.send_max) {
            spec.set_send_max(send_max)?;
        }
        Ok(spec)
    }

    /// v1alpha1 had one number for the one family there was.
    fn set_send_max(&mut self, send_max: i64) -> Result<(), SpellingConflict> {
        if self.afi_safis.is_empty() {
            self.afi_safis.push(AfiSafi::default());
        }
        for family in &mut self.afi_safis {
            let paths = family
                .add_paths
                .get_or_insert_with(AfiSafiAddPaths::default);
            let config = paths
                .config
                .get_or_insert_with(AfiSafiAddPathsConfig::default);
            let words = ("addPaths.sendMax", "afiSafis[].addPaths.config.sendMax");
            merge(&mut config.send_max, Some(send_max), words)?;
        }
        Ok(())
    }
}

fn merge<T: PartialEq + std::fmt::Display>(
    value: &mut Option<T>,
    old_value: Option<T>,
    (old, new): (&'static str, &'static str),
) -> Result<(), SpellingConflict> {
    match (&*value, old_value) {
        (Some(now), Some(before)) if *now != before => Err(SpellingConflict {
            old,
            new,
            old_value: before.to_string(),
            new_value: now.to_string(),
        }),
        (None, before @ Some(_)) => {
            *value = before;
            Ok(())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn conf(value: serde_json::Value) -> BgpConfSpec {
        serde_json::from_value(value).unwrap()
    }

    fn peer(value: serde_json::Value) -> BgpPeerSpec {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn old_words_become_the_new_ones() {
        let old = conf(json!({"as": 65000, "routerID": "10.0.0.1", "port": 17900}));
        let new = conf(json!({"as": 65000, "routerId": "10.0.0.1", "listenPort": 17900}));
        assert_eq!(old.normalised().unwrap(), new);
        assert_eq!(new.normalised().unwrap(), new);

        let old = peer(json!({
            "config": {"neighborAddress": "10.0.0.5", "peerAs": 65001}, "addPaths": {"sendMax": 8},
            "transport": {"passiveMode": true, "remotePort": 1179}, "usingPortForward": true,
        }));
        let new = peer(json!({
            "conf": {"neighborAddress": "10.0.0.5", "peerAs": 65001},
            "afiSafis": [{"addPaths": {"config": {"sendMax": 8}}}],
            "transport": {"passiveMode": true, "remotePort": 1179}, "usingPortForward": true,
        }));
        assert_eq!(old.normalised().unwrap(), new);
    }

    #[test]
    fn both_spellings_may_say_the_same() {
        let both = conf(
            json!({"routerID": "10.0.0.1", "routerId": "10.0.0.1", "port": 1, "listenPort": 1}),
        );
        let new = conf(json!({"routerId": "10.0.0.1", "listenPort": 1}));
        assert_eq!(both.normalised().unwrap(), new);
    }

    #[test]
    fn two_values_are_an_error_that_names_them() {
        let error = conf(json!({"port": 179, "listenPort": 17900})).normalised();
        assert_eq!(
            error.unwrap_err().to_string(),
            "port is the old spelling of listenPort and says 179, not 17900: remove one of them"
        );
        let conflicts = [
            json!({"config": {"peerAs": 1}, "conf": {"peerAs": 2}}),
            json!({"config": {"neighborAddress": "10.0.0.1"}, "conf": {"neighborAddress": "10.0.0.2"}}),
            json!({"addPaths": {"sendMax": 1}, "afiSafis": [{"addPaths": {"config": {"sendMax": 2}}}]}),
        ];
        for conflict in conflicts {
            assert!(peer(conflict.clone()).normalised().is_err(), "{conflict}");
        }
        assert!(
            conf(json!({"routerID": "10.0.0.1", "routerId": "10.0.0.2"}))
                .normalised()
                .is_err()
        );
    }
}
