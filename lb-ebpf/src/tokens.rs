//! Token buckets, one of a kind a CPU: an answer costs as much as what draws it, and must not become somebody's
//! amplifier.

use lb_common::{
    config::Config,
    counter::{AnswerBuckets, TokenBucket},
    limits::NEIGHBOUR_ANSWERS_PER_SECOND,
    verdict::Verdict,
};

use crate::{count, maps, ptr};

/// Takes a token for what a VIP says. Counts if there is none. Global, so that the verifier walks it once a program.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn token_of_vip() -> u32 {
    let taken = both().map(|(config, buckets)| {
        let rate = config.answers_per_second;
        take(&mut buckets.vips, rate, config)
    });
    u32::from(taken.unwrap_or(false))
}

/// The same for an answer to ARP or Neighbour Discovery.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn token_of_neighbour() -> u32 {
    let taken = both().map(|(config, buckets)| {
        let rate = NEIGHBOUR_ANSWERS_PER_SECOND;
        take(&mut buckets.neighbours, rate, config)
    });
    u32::from(taken.unwrap_or(false))
}

#[inline(always)]
fn both() -> Option<(&'static Config, &'static mut AnswerBuckets)> {
    let buckets = maps::ANSWERS.get_ptr_mut(ptr::cpu()).map(ptr::by_mut)?;
    Some((maps::config()?, buckets))
}

/// A bucket gets `rate` tokens a second and holds as many. What is kept are tokens times jiffies, so that no fraction of
/// one is lost however often somebody asks.
#[inline(always)]
fn take(bucket: &mut TokenBucket, rate: u32, config: &Config) -> bool {
    let rate = u64::from(rate);
    let now = ptr::jiffies();
    let token = 1_u64 << (config.tick_shift & 31);
    let passed = now.wrapping_sub(bucket.filled_at).min(token);
    let filled = (bucket.filling + passed * rate).min(token * rate);
    bucket.filled_at = now;
    let is_there = filled >= token;
    bucket.filling = filled - if is_there { token } else { 0 };
    if !is_there {
        count::verdict(Verdict::AnswerLimited);
    }
    is_there
}
