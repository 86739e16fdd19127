//! Which address a Service gets that has none, or that asks for another one. What a Service asks for by address or by
//! pool is given from there or not at all. Otherwise pools made for it come first, lower priority first, then the
//! default pools, and if there are none, pools made for nobody in particular.

use std::{net::IpAddr, sync::Arc};

use super::{
    ClaimState, Cluster, Family, Pool, REST, Request, Service, Sharing, ledger::Ledger, range,
    words::Obstacle,
};

/// Finds an address of a family and claims it.
pub(super) fn choose(
    cluster: &Cluster,
    ledger: &mut Ledger,
    service: &Service,
    request: &Request,
    family: Family,
) -> Result<usize, Obstacle> {
    if let Some(address) = request.address(family) {
        return choose_address(cluster, ledger, service, request, address);
    }
    if let Some(name) = &request.pool {
        let pool = cluster.pools.get(name);
        let pool = pool.ok_or_else(|| Obstacle::no_such_pool(name))?;
        return choose_from(cluster, ledger, service, pool, family);
    }
    let mut passed_over = Vec::new();
    for pool in candidates(cluster, service, request) {
        match choose_from(cluster, ledger, service, pool, family) {
            Ok(index) => return Ok(index),
            Err(obstacle) => passed_over.push(obstacle),
        }
    }
    Err(Obstacle::no_pool(family, &passed_over))
}

fn choose_address(
    cluster: &Cluster,
    ledger: &mut Ledger,
    service: &Service,
    request: &Request,
    address: IpAddr,
) -> Result<usize, Obstacle> {
    let pool = pool_of(cluster, request, address).ok_or_else(|| Obstacle::in_no_pool(address))?;
    check_pool(cluster, service, pool)?;
    check_address(cluster, ledger, service, address)?;
    Ok(ledger.claim(cluster, pool, service, address))
}

/// The pool that gives an address: the one that is named, else an open one, else the oldest.
pub(super) fn pool_of<'a>(
    cluster: &'a Cluster,
    request: &Request,
    address: IpAddr,
) -> Option<&'a Arc<Pool>> {
    let pools = cluster.pools.values();
    let containing = pools.filter(|pool| pool.contains(address));
    containing.min_by_key(|pool| {
        let is_named = request.pool.as_ref() == Some(&pool.name);
        (
            !is_named,
            !pool.is_open(),
            pool.created,
            Arc::clone(&pool.name),
        )
    })
}

fn choose_from(
    cluster: &Cluster,
    ledger: &mut Ledger,
    service: &Service,
    pool: &Pool,
    family: Family,
) -> Result<usize, Obstacle> {
    check_pool(cluster, service, pool)?;
    if !pool.has_family(family) {
        return Err(Obstacle::family(pool, family));
    }
    let address = own_address(cluster, ledger, service, pool, family)
        .or_else(|| shared_address(cluster, ledger, service, pool, family))
        .or_else(|| free_address(cluster, ledger, service, pool, family))
        .ok_or_else(|| Obstacle::exhausted(pool, family))?;
    Ok(ledger.claim(cluster, pool, service, address))
}

/// Whether a pool may give this Service anything.
fn check_pool(cluster: &Cluster, service: &Service, pool: &Pool) -> Result<(), Obstacle> {
    if let Some(error) = &pool.invalid {
        return Err(Obstacle::invalid_pool(pool, error));
    }
    if pool.is_deleting {
        return Err(Obstacle::deleted(pool));
    }
    if pool.is_disabled {
        return Err(Obstacle::disabled(pool));
    }
    if pool.is_fenced && !pool.audience.includes(service, &cluster.namespaces) {
        return Err(Obstacle::fenced(pool));
    }
    Ok(())
}

/// Pools that give a Service an address by themselves, in order.
fn candidates<'a>(
    cluster: &'a Cluster,
    service: &Service,
    request: &Request,
) -> Vec<&'a Arc<Pool>> {
    let has_default = cluster.pools.values().any(|pool| pool.is_default);
    let rank = |pool: &Pool| {
        let is_bound = !pool.audience.is_empty();
        if is_bound {
            let is_included = pool.audience.includes(service, &cluster.namespaces);
            return is_included.then_some(0);
        }
        match (pool.is_default, pool.auto_assign) {
            (true, _) => Some(1),
            (false, Some(true)) => Some(2),
            (false, None) if !has_default => Some(2),
            (false, _) => None,
        }
    };
    let serves = |pool: &Pool| {
        let fits = request.protocol.is_none_or(|asked| asked == pool.protocol);
        fits && pool.auto_assign != Some(false)
    };
    let pools = cluster.pools.values().filter(|pool| serves(pool));
    let mut ranked: Vec<_> = pools.filter_map(|pool| Some((rank(pool)?, pool))).collect();
    ranked.sort_by_key(|(rank, pool)| (*rank, pool.priority, Arc::clone(&pool.name)));
    ranked.into_iter().map(|(_, pool)| pool).collect()
}

/// Whether a Service may have an address that it asks for.
fn check_address(
    cluster: &Cluster,
    ledger: &Ledger,
    service: &Service,
    address: IpAddr,
) -> Result<(), Obstacle> {
    if let Some(owner) = cluster.refused.owner(address) {
        return Err(Obstacle::refused(address, owner));
    }
    for other in ledger.shown_by(address) {
        let holder = cluster.services.get(other);
        let is_shared = holder.is_some_and(|holder| Sharing::permits(service, holder));
        if *other != service.name && !is_shared {
            return Err(Obstacle::in_use(address, other));
        }
    }
    for index in ledger.of_address(address) {
        let entry = &ledger.entries[index];
        let Some(claim) = entry.planned.as_ref() else {
            continue;
        };
        if entry.service == service.name {
            continue;
        }
        if let ClaimState::Resting { since } = claim.state {
            let until = since.min(cluster.now).plus(REST);
            return Err(Obstacle::resting(address, &entry.service, until));
        }
        let holder = cluster.services.get(&entry.service);
        let Some(holder) = holder.filter(|holder| Sharing::permits(service, holder)) else {
            return Err(Obstacle::in_use(address, &entry.service));
        };
        let mut theirs = claim.ports.union(&holder.ports);
        if let Some(&port) = theirs.find(|port| service.ports.contains(port)) {
            return Err(Obstacle::port_conflict(address, port, &entry.service));
        }
    }
    Ok(())
}

/// One that still rests after a Service of this name.
fn own_address(
    cluster: &Cluster,
    ledger: &Ledger,
    service: &Service,
    pool: &Pool,
    family: Family,
) -> Option<IpAddr> {
    let own: Vec<IpAddr> = ledger
        .of_service(&service.name)
        .map(|index| &ledger.entries[index])
        .filter(|entry| entry.planned.is_some() && entry.pool == pool.name)
        .map(|entry| entry.address)
        .collect();
    own.into_iter().find(|&address| {
        Family::of(address) == family
            && pool.contains(address)
            && !service.leave.contains(&address)
            && check_address(cluster, ledger, service, address).is_ok()
    })
}

/// One whose holders share by the same key.
fn shared_address(
    cluster: &Cluster,
    ledger: &Ledger,
    service: &Service,
    pool: &Pool,
    family: Family,
) -> Option<IpAddr> {
    let Sharing::Key(key) = &service.sharing else {
        return None;
    };
    let shared: Vec<IpAddr> = ledger.of_key(key).collect();
    shared.into_iter().find(|&address| {
        let has_holder = ledger
            .of_address(address)
            .any(|index| ledger.entries[index].is_live());
        has_holder
            && Family::of(address) == family
            && pool.contains(address)
            && !service.leave.contains(&address)
            && check_address(cluster, ledger, service, address).is_ok()
    })
}

/// The lowest one that nobody has. Where the search ended is where the next one begins: within a pass addresses are only
/// taken.
fn free_address(
    cluster: &Cluster,
    ledger: &mut Ledger,
    service: &Service,
    pool: &Pool,
    family: Family,
) -> Option<IpAddr> {
    let cursor = match ledger.cursor(pool, family) {
        Some(cursor) => cursor,
        None => lowest_from(pool, family, None),
    };
    let mut free = next_free(cluster, ledger, pool, family, cursor);
    ledger.set_cursor(pool, family, free);
    while let Some(address) = free.filter(|address| service.leave.contains(address)) {
        let after = range::next(address);
        let after = after.and_then(|next| lowest_from(pool, family, Some(next)));
        free = next_free(cluster, ledger, pool, family, after);
    }
    free
}

/// The lowest free address of a pool, from one of its addresses on.
fn next_free(
    cluster: &Cluster,
    ledger: &Ledger,
    pool: &Pool,
    family: Family,
    mut candidate: Option<IpAddr>,
) -> Option<IpAddr> {
    while let Some(address) = candidate {
        let last_useless = match cluster.refused.prefix(address) {
            Some((prefix, _)) => range::last_of(*prefix),
            None if is_free(cluster, ledger, pool, address) => return Some(address),
            None => address,
        };
        let next = range::next(last_useless);
        candidate = next.and_then(|next| lowest_from(pool, family, Some(next)));
    }
    None
}

fn is_free(cluster: &Cluster, ledger: &Ledger, pool: &Pool, address: IpAddr) -> bool {
    let is_useless = cluster.refused.addresses.contains_key(&address)
        || (pool.avoids_buggy && is_buggy(address));
    let mut claims = ledger.of_address(address);
    !is_useless
        && ledger.shown_by(address).is_empty()
        && claims.all(|index| ledger.entries[index].planned.is_none())
}

/// Some routers and clients take these for a network or a broadcast address, whatever the mask.
fn is_buggy(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => matches!(address.octets()[3], 0 | 255),
        IpAddr::V6(_) => false,
    }
}

/// The lowest address of a family that a pool has, not below `from`.
fn lowest_from(pool: &Pool, family: Family, from: Option<IpAddr>) -> Option<IpAddr> {
    let ranges = pool.ranges.iter().filter(|range| range.family() == family);
    ranges
        .filter(|range| from.is_none_or(|from| from <= range.last()))
        .map(|range| from.map_or(range.first(), |from| from.max(range.first())))
        .min()
}
