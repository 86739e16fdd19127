//! A proven flow gets its place among the established ones, where no flood reaches it.

use lb_common::{TCP, config::Config, flow::State};

use crate::{
    deliver::{Steered, tcp},
    flows,
    reverse::{self, Tuple},
};

/// Moves a flow; its number afterwards, which stays if there is no room.
#[inline(always)]
pub(crate) fn promote<const V6: bool>(
    config: &Config,
    steered: &Steered,
    number: u32,
    flags: u8,
) -> u32 {
    let now = flows::now(config);
    match move_to_established::<V6>(config, steered, number, flags, now) {
        Some(number) => number,
        None => {
            if let Some(meta) = flows::meta(number) {
                flows::touch(flows::Found { number, meta }, meta.state(), now);
            }
            number
        }
    }
}

/// The copy lives before the reverse index leads to it, and the old place is given back last, so that replies find the
/// flow at every instant. What a reply notes in the old record on another CPU meanwhile is lost, which costs
/// nothing: the flow has been answered already.
#[inline(always)]
fn move_to_established<const V6: bool>(
    config: &Config,
    steered: &Steered,
    from: u32,
    flags: u8,
    now: u32,
) -> Option<u32> {
    let old = flows::meta(from)?;
    let line = flows::established_line(config, steered.hash);
    let number = flows::claim(line, steered.hash, now)?;
    flows::copy_record(from, number)?;
    let state = match (steered.protocol, flags & tcp::FIN != 0) {
        (TCP, true) => State::Closing,
        (TCP, false) => State::Established,
        _ => State::Stream,
    };
    flows::publish(number, state, steered.hash, now);
    let hash = Tuple::of(flows::record(number)?).hash::<V6>(config);
    reverse::redirect(config, hash, steered.hash, from, number);
    // If another CPU was first, the place may be somebody else's by now.
    flows::touch(
        flows::Found {
            number: from,
            meta: old,
        },
        State::Free as u32,
        now,
    );
    Some(number)
}
