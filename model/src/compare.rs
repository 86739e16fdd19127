//! What a packet may come to, and whether it did.

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is gone.
    Drop,
    /// Into the stack, or on to the wire.
    Pass,
    /// Back out of the uplink.
    Transmit,
}

/// What the data path made of a packet.
#[derive(Clone, Debug)]
pub struct Observed {
    /// What became of the frame.
    pub action: Action,
    /// The frame afterwards.
    pub frame: Vec<u8>,
    /// Labels of the verdicts that it was counted under, sorted.
    pub counted: Vec<&'static str>,
}

/// One thing that a packet may come to.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    pub(crate) action: Action,
    /// `None`: nobody sees it.
    pub(crate) frame: Option<Vec<u8>>,
    /// Offsets of checksums of which only the value counts: 0 and 65,535 are the same.
    pub(crate) checksums: Vec<usize>,
    /// Bytes that the design says nothing of.
    pub(crate) free: Vec<std::ops::Range<usize>>,
    pub(crate) counted: Vec<&'static str>,
    /// What the model knows afterwards.
    pub(crate) effects: Vec<Effect>,
}

/// A change of what the model knows.
#[derive(Clone, Debug)]
pub(crate) enum Effect {
    /// Something of the kind that the model takes the data path's word for.
    Learn(crate::learned::Secret, u64),
    /// A keyed hash leads to this one of its list.
    Choose(crate::learned::Draw, u32),
    /// A flow of a node begins, goes on or ends.
    Flow(crate::flows::Change),
    /// The first fragment of a reply left.
    Fragment(crate::replies::Datagram, crate::flows::Tuple),
    /// What has come of a datagram in parts.
    Part(crate::parts::Datagram, crate::parts::Known),
    /// Counted for a service port.
    Count(crate::counters::Key, crate::counters::Tally),
    /// An answer was sent.
    Answer,
}

impl Expected {
    pub(crate) fn new(action: Action, frame: Option<Vec<u8>>, counted: &[&'static str]) -> Self {
        let mut counted = counted.to_vec();
        counted.sort_unstable();
        Self {
            action,
            frame,
            checksums: Vec::new(),
            free: Vec::new(),
            counted,
            effects: Vec::new(),
        }
    }

    /// None of ours: as it is, uncounted.
    pub(crate) fn untouched(frame: &[u8]) -> Self {
        Self::new(Action::Pass, Some(frame.to_vec()), &[])
    }

    pub(crate) fn drop(reason: &'static str) -> Self {
        Self::new(Action::Drop, None, &[reason])
    }

    pub(crate) fn with(mut self, effect: Effect) -> Self {
        self.effects.push(effect);
        self
    }

    /// Counted under one more.
    pub(crate) fn also(mut self, verdict: &'static str) -> Self {
        self.counted.push(verdict);
        self.counted.sort_unstable();
        self
    }

    /// Whether it is this, or what differs.
    pub(crate) fn difference(&self, observed: &Observed) -> Option<String> {
        if self.action != observed.action || self.counted != observed.counted {
            return Some(format!("{:?} {:?}", self.action, self.counted));
        }
        let mut wanted = self.frame.clone()?;
        if wanted.len() != observed.frame.len() {
            return Some(format!("{} bytes: {}", wanted.len(), hex(&wanted)));
        }
        for range in &self.free {
            wanted[range.clone()].copy_from_slice(&observed.frame[range.clone()]);
        }
        for at in &self.checksums {
            let have = crate::wire::half(&observed.frame, *at);
            if have % 0xffff == crate::wire::half(&wanted, *at) % 0xffff {
                crate::wire::put(&mut wanted, *at, &have.to_be_bytes());
            }
        }
        (wanted != observed.frame).then(|| {
            let at = wanted.iter().zip(&observed.frame).position(|(a, b)| a != b);
            format!("differs at byte {at:?}: {}", hex(&wanted))
        })
    }
}

pub(crate) fn hex(frame: &[u8]) -> String {
    frame.iter().map(|byte| format!("{byte:02x}")).collect()
}
