//! The key that an API server signs service-account tokens with: a random private key on the curve P-256, in the form of
//! RFC 5915 without its optional public key, which Go computes. It is made anew for every API server.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result};

/// SEQUENCE { INTEGER 1, OCTET STRING of 32 bytes ...
const HEAD: [u8; 7] = [0x30, 0x31, 0x02, 0x01, 0x01, 0x04, 0x20];
/// ... [0] OBJECT IDENTIFIER prime256v1 }.
const TAIL: [u8; 12] = [
    0xa0, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07,
];
const KEY_BYTES: usize = 32;

/// Writes a new key to a file, as PEM.
pub(super) fn write(path: &Path) -> Result<()> {
    let mut key = [0; KEY_BYTES];
    File::open("/dev/urandom")?.read_exact(&mut key)?;
    fs::write(path, pem(key)).with_context(|| format!("writing {}", path.display()))
}

fn pem(key: [u8; KEY_BYTES]) -> String {
    let der = [HEAD.as_slice(), &key, &TAIL].concat();
    let text = base64(&der);
    let (first, second) = text.split_at(PEM_LINE);
    format!("-----BEGIN EC PRIVATE KEY-----\n{first}\n{second}\n-----END EC PRIVATE KEY-----\n")
}

/// RFC 7468 section 2.
const PEM_LINE: usize = 64;

/// RFC 4648 section 4.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let byte = |index: usize| u32::from(group.get(index).copied().unwrap_or(0));
        let word = byte(0) << 16 | byte(1) << 8 | byte(2);
        for position in 0..4 {
            let symbol = ALPHABET[(word >> (18 - 6 * position) & 63) as usize];
            text.push(if position <= group.len() {
                symbol.into()
            } else {
                '='
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_as_the_rfc_shows() {
        let pairs = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
        ];
        for (plain, encoded) in pairs {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
    }
}
