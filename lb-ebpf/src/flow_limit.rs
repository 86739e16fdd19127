//! Whether one more flow may begin ([`lb_common::flow_limit`]). Known flows are never asked.

use lb_common::{
    Address,
    config::Config,
    flow_limit::{self, Window},
    service::{ServiceCold, ServiceValue},
    verdict::Verdict,
};

use crate::{maps, ptr};

/// Counts a new flow of a client to a service.
///
/// # Errors
/// `SourceLimited`, `ServiceLimited`: enough have begun from there, or to there, in this tick.
#[inline(always)]
pub(crate) fn admit<const V6: bool>(
    config: &Config,
    client: &Address,
    service: ServiceValue,
    now: u32,
) -> Result<(), Verdict> {
    let limit = config.new_flows_per_prefix;
    if limit != 0 {
        let (first, second) = flow_limit::prefix_windows::<V6>(config.seed[0], client);
        if limit_admits(first, second, limit, now) == 0 {
            return Err(Verdict::SourceLimited);
        }
    }
    if service.has(ServiceValue::LIMITED) {
        let cold = maps::SERVICE_COLD.get_ptr(u32::from(service.id()));
        let cold: &ServiceCold = ptr::by_ref(cold.ok_or(Verdict::TableInconsistent)?);
        let window = flow_limit::service_window(service.id());
        if limit_admits(window, window, cold.new_flows_per_tick, now) == 0 {
            return Err(Verdict::ServiceLimited);
        }
    }
    Ok(())
}

/// Counts in both windows, or says 0 if both are full.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn limit_admits(first: u32, second: u32, limit: u32, now: u32) -> u32 {
    let (Some(first), Some(second)) = (window(first), window(second)) else {
        return 0;
    };
    let begun = [
        Window(ptr::load_word(first)),
        Window(ptr::load_word(second)),
    ];
    if begun[0].flows(now) >= limit && begun[1].flows(now) >= limit {
        return 0;
    }
    // Another CPU's flow that comes between is counted instead of this one.
    ptr::swap_word(first, begun[0].0, begun[0].with_another(now).0);
    // A service's two are one, which has changed by now.
    ptr::swap_word(second, begun[1].0, begun[1].with_another(now).0);
    1
}

#[inline(always)]
fn window(index: u32) -> Option<*mut u64> {
    maps::NEW_FLOWS.get_ptr_mut(index)
}
