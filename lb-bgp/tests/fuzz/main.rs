//! Whatever a stranger sends: the decoder never panics and never reads past a message, and the machine keeps its laws
//! through any order of events. Random octets rarely get past a header, so both targets also build what looks right and
//! is wrong inside. `BOLERO_RANDOM_ITERATIONS` sets how many inputs are tried.

#![expect(
    clippy::disallowed_methods,
    reason = "the test is the caller that reads the clock, once a script"
)]

mod decoder;
mod session;

/// Tries of one target: a few seconds.
const TRIES: usize = 20_000;

#[test]
fn whatever_comes_is_read_or_refused() {
    bolero::check!()
        .with_iterations(TRIES)
        .with_max_len(1024)
        .for_each(decoder::read);
}

#[test]
fn whatever_happens_the_machine_keeps_its_laws() {
    bolero::check!()
        .with_iterations(TRIES)
        .with_max_len(1024)
        .for_each(session::play);
}
