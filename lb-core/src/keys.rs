//! Keys that all nodes of a cluster share: one of the hashes, one of the GUE tag, both from the cluster's
//! secret. The derivation is part of the wire contract: nodes that derive differently send the same flow to
//! different pods. It spreads the secret; it is no cryptographic extraction (HKDF comes with membership).

use lb_common::hash;

/// Shortest secret that is accepted, in bytes.
pub const SECRET_BYTES_MIN: usize = 16;

/// What the cluster's secret yields.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ClusterKeys {
    /// Key of the flow hash, the filters, the IPv6 service keys and the tables.
    pub seed: [u64; 2],
    /// Key of the GUE tag.
    pub gue_key: [u64; 2],
}

/// The secret is too short to be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the cluster key has {bytes} bytes, it needs at least {SECRET_BYTES_MIN}")]
pub struct SecretTooShort {
    /// Its length.
    pub bytes: usize,
}

impl ClusterKeys {
    /// From the content of the key file, white space at its ends ignored.
    ///
    /// Word `i` starts as `i + 1` and absorbs length and eight-byte pieces (little endian, zero-padded), each
    /// by one [`hash::word`] keyed with the state so far.
    ///
    /// # Errors
    /// If fewer than [`SECRET_BYTES_MIN`] bytes are left.
    pub fn from_secret(secret: &[u8]) -> Result<Self, SecretTooShort> {
        let secret = secret.trim_ascii();
        if secret.len() < SECRET_BYTES_MIN {
            return Err(SecretTooShort {
                bytes: secret.len(),
            });
        }
        let key = |label: u64| absorb(label, secret);
        Ok(Self {
            seed: [key(1), key(2)],
            gue_key: [key(3), key(4)],
        })
    }
}

/// Says nothing of the keys: a [`ClusterKeys`] must not end up in a log.
impl std::fmt::Debug for ClusterKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClusterKeys(..)")
    }
}

fn absorb(label: u64, secret: &[u8]) -> u64 {
    let start = hash::word(label, secret.len() as u64);
    secret.chunks(8).fold(start, |state, piece| {
        let mut bytes = [0; 8];
        bytes[..piece.len()].copy_from_slice(piece);
        hash::word(state, u64::from_le_bytes(bytes))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_derivation_is_fixed_and_ignores_a_final_newline() {
        let keys = ClusterKeys::from_secret(b"0123456789abcdef").unwrap();
        assert_eq!(
            keys,
            ClusterKeys::from_secret(b"0123456789abcdef\n").unwrap()
        );
        let other = ClusterKeys::from_secret(b"0123456789abcdeg").unwrap();
        for (a, b) in [(keys.seed, other.seed), (keys.gue_key, other.gue_key)] {
            assert!(a[0] != b[0] && a[1] != b[1]);
        }
        assert_ne!(keys.seed, keys.gue_key);
    }

    #[test]
    fn a_short_secret_is_refused() {
        let error = ClusterKeys::from_secret(b"  short \n").unwrap_err();
        assert_eq!(error.bytes, 5);
    }
}
