//! Strategies for the values that can be sent.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lb_bgp::wire::capability::{
    AddPath, GracefulRestart, LongLived, RESTART_TIME_SECS_MAX, STALE_TIME_SECS_MAX,
};
use lb_bgp::wire::header::MESSAGE_LEN_MAX;
use lb_bgp::wire::received::ReadContext;
use lb_bgp::wire::update::SessionAttributes;
use lb_bgp::wire::{Capability, Open};
use lb_bgp::{
    Community, ExtendedCommunity, Family, LargeCommunity, PerFamily, Prefix, RouteAttributes,
};
use proptest::collection::vec;
use proptest::prelude::*;

/// Prefixes of unicast addresses: other decoders refuse multicast ones.
pub(crate) fn prefix(family: Family) -> BoxedStrategy<Prefix> {
    let make = |(address, bits): (IpAddr, u8)| Prefix::new(address, bits).unwrap();
    match family {
        Family::Ipv4Unicast => {
            let address = (0..1u32 << 30).prop_map(|low| Ipv4Addr::from(low).into());
            (address, 0..=32u8).prop_map(make).boxed()
        }
        Family::Ipv6Unicast => {
            let global = |low: u128| Ipv6Addr::from(low >> 3 | 1 << 125).into();
            (any::<u128>().prop_map(global), 0..=128u8)
                .prop_map(make)
                .boxed()
        }
    }
}

/// How many cases to try. A failure prints its smallest input, so none is kept in a file.
pub(crate) fn cases(count: u32) -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(count)
    }
}

/// A family and enough prefixes of it to need several messages now and then.
pub(crate) fn prefixes() -> impl Strategy<Value = (Family, Vec<Prefix>)> {
    let count = prop_oneof![9 => 1..20usize, 1 => 1..1500usize];
    (family(), count).prop_flat_map(|(family, count)| (Just(family), vec(prefix(family), count)))
}

pub(crate) fn family() -> impl Strategy<Value = Family> {
    prop_oneof![Just(Family::Ipv4Unicast), Just(Family::Ipv6Unicast)]
}

pub(crate) fn attributes() -> impl Strategy<Value = RouteAttributes> {
    let count = 0..RouteAttributes::COMMUNITIES_MAX;
    let communities = vec(any::<u32>().prop_map(Community), count.clone());
    let extended = vec(any::<[u8; 8]>().prop_map(ExtendedCommunity), count.clone());
    let large = vec(any::<[u32; 3]>().prop_map(LargeCommunity), count);
    let kinds = (communities, extended, large);
    let prepend = 0..=RouteAttributes::PREPEND_MAX;
    (any::<Option<u32>>(), any::<Option<u32>>(), prepend, kinds).prop_map(
        |(med, local_pref, prepend, (communities, extended, large))| {
            let plain = RouteAttributes::default().with_prepend(prepend);
            let plain = plain.with_communities(communities).unwrap();
            let plain = plain.with_extended_communities(extended).unwrap();
            let plain = plain.with_large_communities(large).unwrap();
            let plain = med.into_iter().fold(plain, RouteAttributes::with_med);
            local_pref
                .into_iter()
                .fold(plain, RouteAttributes::with_local_pref)
        },
    )
}

pub(crate) fn session() -> impl Strategy<Value = SessionAttributes> {
    (asn(), any::<bool>(), any::<bool>()).prop_map(|(local_asn, internal, four_octet_asn)| {
        SessionAttributes {
            local_asn,
            internal,
            four_octet_asn,
            message_len_max: MESSAGE_LEN_MAX,
        }
    })
}

/// How the peer of such a session reads it.
pub(crate) fn read_context(session: SessionAttributes) -> ReadContext {
    ReadContext {
        four_octet_asn: session.four_octet_asn,
        internal: session.internal,
    }
}

fn asn() -> impl Strategy<Value = u32> {
    prop_oneof![1..65536u32, 1..u32::MAX]
}

pub(crate) fn next_hop(family: Family) -> BoxedStrategy<IpAddr> {
    match family {
        Family::Ipv4Unicast => (1..1u32 << 30)
            .prop_map(|low| Ipv4Addr::from(low).into())
            .boxed(),
        Family::Ipv6Unicast => any::<u64>()
            .prop_map(|host| Ipv6Addr::from(0x2001_0db8 << 96 | u128::from(host)).into())
            .boxed(),
    }
}

fn graceful_restart() -> impl Strategy<Value = GracefulRestart> {
    let families = any::<[Option<bool>; 2]>();
    (any::<(bool, bool)>(), 0..=RESTART_TIME_SECS_MAX, families).prop_map(
        |((restarted, notification), restart_time_secs, [v4, v6])| GracefulRestart {
            restarted,
            notification,
            restart_time_secs,
            families: per_family([v4, v6]),
        },
    )
}

fn per_family<T: Copy>(values: [Option<T>; 2]) -> PerFamily<Option<T>> {
    PerFamily::from_fn(|family| match family {
        Family::Ipv4Unicast => values[0],
        Family::Ipv6Unicast => values[1],
    })
}

fn add_path() -> impl Strategy<Value = Capability> {
    let mode = prop_oneof![
        Just(None),
        Just(Some(AddPath::Receive)),
        Just(Some(AddPath::Send)),
        Just(Some(AddPath::Both)),
    ];
    (mode.clone(), mode).prop_map(|(v4, v6)| Capability::AddPath(per_family([v4, v6])))
}

fn long_lived() -> impl Strategy<Value = Capability> {
    let of = |(forwarding_preserved, stale_time_secs)| LongLived {
        forwarding_preserved,
        stale_time_secs,
    };
    let of = proptest::option::of((any::<bool>(), 0..=STALE_TIME_SECS_MAX).prop_map(of));
    (of.clone(), of).prop_map(|(v4, v6)| Capability::LongLivedGracefulRestart(per_family([v4, v6])))
}

pub(crate) fn open() -> impl Strategy<Value = Open> {
    let capability = prop_oneof![
        family().prop_map(Capability::Multiprotocol),
        Just(Capability::RouteRefresh),
        Just(Capability::ExtendedNextHop),
        Just(Capability::ExtendedMessage),
        Just(Capability::EnhancedRouteRefresh),
        add_path(),
        long_lived(),
        graceful_restart().prop_map(Capability::GracefulRestart),
        Just(Capability::MultiprotocolOther(1, 128)),
    ];
    (
        asn(),
        prop_oneof![Just(0), 3..u16::MAX],
        1..0xe000_0000u32,
        vec(capability, 0..8),
    )
        .prop_map(|(asn, hold_time_secs, identifier, mut capabilities)| {
            capabilities.push(Capability::FourOctetAsn(asn));
            Open::new(asn, hold_time_secs, identifier.into(), capabilities)
        })
}
