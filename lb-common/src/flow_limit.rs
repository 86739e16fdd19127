//! How many flows were begun in the current tick, by source prefix (IPv4 /24, IPv6 /64) and by service. A source prefix
//! has two hashed windows and is refused only if both are full, so that a flood from elsewhere seldom closes one
//! for it; a service has one by its id. Windows belong to no CPU and begin anew with each tick; two CPUs at the
//! same instant may count one flow too few.

use crate::{Address, hash};

/// Windows of source prefixes in map `new_flows`, 512 KiB; the services' follow.
pub const PREFIX_WINDOWS: u32 = 65_536;

/// One word of map `new_flows`: flows 32 bits, tick 32 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window(pub u64);

impl Window {
    /// Flows begun in this tick.
    #[inline(always)]
    #[must_use]
    pub const fn flows(self, now: u32) -> u32 {
        if (self.0 >> 32) as u32 == now {
            self.0 as u32
        } else {
            0
        }
    }

    /// With one more.
    #[inline(always)]
    #[must_use]
    pub const fn with_another(self, now: u32) -> Self {
        Self((now as u64) << 32 | self.flows(now).wrapping_add(1) as u64)
    }
}

/// The two windows of a client's prefix.
#[inline(always)]
#[must_use]
pub const fn prefix_windows<const V6: bool>(seed: u64, client: &Address) -> (u32, u32) {
    let prefix = if V6 {
        (client[0] as u64) << 32 | client[1] as u64
    } else {
        (client[0] & u32::from_ne_bytes([255, 255, 255, 0])) as u64
    };
    let hash = hash::word(seed ^ PREFIX_SALT, prefix);
    let mask = PREFIX_WINDOWS - 1;
    ((hash >> 32) as u32 & mask, (hash >> 48) as u32 & mask)
}

/// So that what collides here is not what collides elsewhere under the same seed.
const PREFIX_SALT: u64 = 0x6c69_6d69_7473_2121;

/// The window of a service.
#[inline(always)]
#[must_use]
pub const fn service_window(id: u16) -> u32 {
    PREFIX_WINDOWS + id as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_counts_one_tick() {
        let mut window = Window::default();
        for flows in 0..5 {
            assert_eq!(window.flows(7), flows);
            window = window.with_another(7);
        }
        assert_eq!((window.flows(8), window.flows(6)), (0, 0));
        assert_eq!(window.with_another(8).flows(8), 1);
    }

    #[test]
    fn clients_of_a_prefix_share_windows() {
        let v4 = |last: [u8; 4]| prefix_windows::<false>(9, &[u32::from_ne_bytes(last), 0, 0, 0]);
        assert_eq!(v4([192, 0, 2, 1]), v4([192, 0, 2, 254]));
        assert_ne!(v4([192, 0, 2, 1]), v4([192, 0, 3, 1]));
        let v6 = |subnet: u32, host: u32| prefix_windows::<true>(9, &[1, subnet, 7, host]);
        assert_eq!(v6(2, 3), v6(2, 4));
        assert_ne!(v6(2, 3), v6(3, 3));
    }
}
