//! The OPEN message (RFC 4271 section 4.2), with AS numbers of four octets (RFC 6793).
//!
//! Decoding checks what can be judged from the message alone; whether the peer is the configured one is
//! decided in `peer::negotiate`. Capabilities may come in any number of parameters (RFC 5492), in the long
//! form of RFC 9072 as well. That form is written only if the short one cannot hold it: old peers refuse it.

use std::net::Ipv4Addr;

use super::capability::{AddPaths, Capability, GracefulRestart, LongLivedRestart};
use super::header::{MessageType, message};
use super::notification::{Notification, open_error};
use super::reader::Reader;

/// Stands for an AS number that two octets cannot hold (RFC 6793 section 9).
pub const AS_TRANS: u16 = 23456;

const VERSION: u8 = 4;
const PARAMETER_CAPABILITIES: u8 = 2;

/// Longest parameter whose length, with its own header, still fits one octet.
const PARAMETER_LEN_MAX: u8 = 253;

/// In place of the first parameter's type: lengths have two octets (RFC 9072 section 2).
const EXTENDED_LENGTH_MARK: u8 = 255;

/// An OPEN message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// The two-octet "My Autonomous System" field; [`Open::asn`] has the AS number that counts.
    pub two_octet_asn: u16,
    /// Proposed hold time in seconds.
    pub hold_time_secs: u16,
    /// BGP identifier: four octets, by custom an address (RFC 6286).
    pub identifier: Ipv4Addr,
    /// In the order sent, duplicates included.
    pub capabilities: Vec<Capability>,
}

impl Open {
    /// An OPEN of a speaker whose capabilities include [`Capability::FourOctetAsn`].
    pub fn new(
        asn: u32,
        hold_time_secs: u16,
        identifier: Ipv4Addr,
        capabilities: Vec<Capability>,
    ) -> Self {
        let two_octet_asn = u16::try_from(asn).unwrap_or(AS_TRANS);
        Self {
            two_octet_asn,
            hold_time_secs,
            identifier,
            capabilities,
        }
    }

    /// The sender's AS number: that of its capability if there is one.
    pub fn asn(&self) -> u32 {
        self.four_octet_asn()
            .unwrap_or(u32::from(self.two_octet_asn))
    }

    /// The AS number in capability 65 (RFC 6793), if sent.
    pub fn four_octet_asn(&self) -> Option<u32> {
        self.capabilities
            .iter()
            .find_map(|capability| match capability {
                Capability::FourOctetAsn(asn) => Some(*asn),
                _ => None,
            })
    }

    /// The value of capability 64, if sent; of several the last counts (RFC 4724 section 3).
    pub fn graceful_restart(&self) -> Option<GracefulRestart> {
        self.last(|capability| match capability {
            Capability::GracefulRestart(value) => Some(*value),
            _ => None,
        })
    }

    /// The value of capability 69, if sent; of several the last counts.
    pub fn add_paths(&self) -> AddPaths {
        let value = self.last(|capability| match capability {
            Capability::AddPath(value) => Some(*value),
            _ => None,
        });
        value.unwrap_or_default()
    }

    /// The value of capability 71, if sent beside capability 64 (RFC 9494 section 4.1); of several the last counts.
    pub fn long_lived_restart(&self) -> Option<LongLivedRestart> {
        self.graceful_restart()?;
        self.last(|capability| match capability {
            Capability::LongLivedGracefulRestart(value) => Some(*value),
            _ => None,
        })
    }

    fn last<T>(&self, value: impl Fn(&Capability) -> Option<T>) -> Option<T> {
        self.capabilities.iter().rev().find_map(value)
    }

    /// The message's octets: all capabilities in one parameter.
    pub fn encode(&self) -> Vec<u8> {
        let mut capabilities = Vec::new();
        for capability in &self.capabilities {
            capability.encode(&mut capabilities);
        }
        message(MessageType::Open, |out| {
            out.push(VERSION);
            out.extend(self.two_octet_asn.to_be_bytes());
            out.extend(self.hold_time_secs.to_be_bytes());
            out.extend(self.identifier.octets());
            match u8::try_from(capabilities.len()) {
                Ok(0) => out.push(0),
                Ok(length @ ..=PARAMETER_LEN_MAX) => {
                    out.extend([length + 2, PARAMETER_CAPABILITIES, length]);
                }
                _ => {
                    let length = capabilities.len() as u16;
                    out.extend([EXTENDED_LENGTH_MARK; 2]);
                    out.extend((length + 3).to_be_bytes());
                    out.push(PARAMETER_CAPABILITIES);
                    out.extend(length.to_be_bytes());
                }
            }
            out.extend(capabilities);
        })
    }

    /// Reads a message body.
    pub fn decode(body: &[u8]) -> Result<Self, Notification> {
        let malformed = || Notification::new(open_error::UNSPECIFIC, &[]);
        let mut reader = Reader::new(body);
        let version = reader.u8().ok_or_else(malformed)?;
        if version != VERSION {
            let ours = u16::from(VERSION).to_be_bytes();
            return Err(Notification::new(open_error::UNSUPPORTED_VERSION, &ours));
        }
        let two_octet_asn = reader.u16().ok_or_else(malformed)?;
        let hold_time_secs = reader.u16().ok_or_else(malformed)?;
        let identifier = Ipv4Addr::from(reader.array::<4>().ok_or_else(malformed)?);
        let mut capabilities = Vec::new();
        for parameter in Parameters::new(reader).ok_or_else(malformed)? {
            let (kind, value) = parameter.ok_or_else(malformed)?;
            if kind != PARAMETER_CAPABILITIES {
                return Err(Notification::new(open_error::UNSUPPORTED_PARAMETER, &[]));
            }
            Capability::decode_all(value, &mut capabilities)?;
        }
        Ok(Self {
            two_octet_asn,
            hold_time_secs,
            identifier,
            capabilities,
        })
    }
}

/// The optional parameters: type and value of each, `None` where one is cut short.
struct Parameters<'a> {
    reader: Reader<'a>,
    extended: bool,
}

impl<'a> Parameters<'a> {
    /// Starts at the "Opt Parm Len" octet; `None` if the length contradicts the message.
    fn new(mut reader: Reader<'a>) -> Option<Self> {
        let short_length = reader.u8()?;
        let extended = short_length != 0 && reader.rest().first() == Some(&EXTENDED_LENGTH_MARK);
        let length = if extended {
            reader.u8()?;
            usize::from(reader.u16()?)
        } else {
            usize::from(short_length)
        };
        (length == reader.rest().len()).then_some(Self { reader, extended })
    }

    fn parameter(&mut self) -> Option<(u8, &'a [u8])> {
        let kind = self.reader.u8()?;
        let length = if self.extended {
            self.reader.u16()?
        } else {
            u16::from(self.reader.u8()?)
        };
        Some((kind, self.reader.take(usize::from(length))?))
    }
}

impl<'a> Iterator for Parameters<'a> {
    type Item = Option<(u8, &'a [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.is_empty() {
            return None;
        }
        let parameter = self.parameter();
        if parameter.is_none() {
            self.reader = Reader::new(&[]);
        }
        Some(parameter)
    }
}
