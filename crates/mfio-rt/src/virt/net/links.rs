//! The ways between hosts: how long a message takes, and which ways are cut.
//!
//! Messages of one end arrive in the order in which they left, whatever their delays; between ends any order is
//! possible. A message that meets a cut waits until the way is healed, as TCP sends again what was not acknowledged;
//! one that is lost comes later by as much as it takes to notice.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    vec::Vec,
};
use core::{ops::Range, time::Duration};

use super::{
    end::EndId,
    hosts::HostId,
    network::{Message, Network, State},
};
use crate::sim::Trace;

/// After so long it is noticed that a message was lost; twice as long the next time (RFC 6298: at least; Linux
/// begins with 200 ms).
const RETRY: Duration = Duration::from_millis(200);
/// So often in a row at most is a message lost.
const LOST_IN_A_ROW: u32 = 6;

/// See the module's own words.
pub(super) struct Links {
    delay: Range<Duration>,
    /// Of a thousand messages.
    lost: usize,
    cut: BTreeSet<(HostId, HostId)>,
    /// What met a cut, oldest first.
    held: Vec<Envelope>,
    trace: Trace,
}

/// A message, and its way.
pub(super) struct Envelope {
    from: HostId,
    to: HostId,
    /// The end whose messages keep their order.
    stream: Option<EndId>,
    message: Message,
}

impl Links {
    pub(super) const fn new() -> Self {
        Self {
            delay: Duration::ZERO..Duration::ZERO,
            lost: 0,
            cut: BTreeSet::new(),
            held: Vec::new(),
            trace: Trace::new(),
        }
    }
}

impl State {
    /// Sends a message on its way.
    pub(super) fn post(&mut self, stream: Option<EndId>, message: Message) {
        // Whoever it is for may be gone: then it is for nobody.
        if let Some((from, to)) = self.way_of(&message) {
            let _at = self.post_at(Envelope { from, to, stream, message }, Duration::ZERO);
        }
    }

    fn way_of(&self, message: &Message) -> Option<(HostId, HostId)> {
        match message {
            Message::Syn(id) | Message::Answer(id, _) => {
                let connect = self.connects.get(id)?;
                let there = self.route(connect.host, connect.to.ip()).unwrap_or(connect.host);
                let is_asking = matches!(message, Message::Syn(_));
                Some(if is_asking { (connect.host, there) } else { (there, connect.host) })
            }
            Message::Bytes(from, ..) => self.ends.get(from).map(|end| (end.host, end.peer_host)),
            Message::Fin(to) | Message::Reset(to) => {
                self.ends.get(to).map(|end| (end.peer_host, end.host))
            }
        }
    }

    /// Says when it arrives: not before `earliest`, and after what its end has sent before.
    fn post_at(&mut self, envelope: Envelope, earliest: Duration) -> Duration {
        let mut at = (self.now + self.delay(envelope.from, envelope.to)).max(earliest);
        if let Some(end) = envelope.stream.and_then(|stream| self.ends.get_mut(&stream)) {
            at = at.max(end.last_arrival);
            end.last_arrival = at;
        }
        let number = self.next_id();
        self.messages.insert((at, number), envelope);
        at
    }

    fn delay(&mut self, from: HostId, to: HostId) -> Duration {
        if from == to {
            return Duration::ZERO;
        }
        let Range { start, end } = self.links.delay;
        let span = end.saturating_sub(start).as_micros();
        let span = usize::try_from(span).unwrap_or(usize::MAX);
        let more = if span > 0 { self.chance.below(span + 1) } else { 0 };
        let mut delay = start + Duration::from_micros(super::super::content::bytes(more));
        for again in 0..LOST_IN_A_ROW {
            if self.links.lost == 0 || self.chance.below(1000) >= self.links.lost {
                break;
            }
            delay += RETRY * (1 << again);
        }
        delay
    }

    /// The next message whose time has come and whose way is not cut.
    pub(super) fn next_message(&mut self) -> Option<Message> {
        while let Some(first) = self.messages.first_entry()
            && first.key().0 <= self.now
        {
            let envelope = first.remove();
            if self.links.cut.contains(&(envelope.from, envelope.to)) {
                self.links.held.push(envelope);
                continue;
            }
            self.note(&envelope);
            return Some(envelope.message);
        }
        None
    }

    /// What arrives is what a run is.
    fn note(&mut self, envelope: &Envelope) {
        let trace = &mut self.links.trace;
        trace.add_duration(self.now);
        trace.add_len(envelope.from.0);
        trace.add_len(envelope.to.0);
        match &envelope.message {
            Message::Syn(_) => trace.add(1),
            Message::Answer(_, made) => trace.add(2 + u64::from(*made)),
            Message::Bytes(_, _, bytes) => {
                trace.add(4);
                trace.add_bytes(bytes);
            }
            Message::Fin(_) => trace.add(5),
            Message::Reset(_) => trace.add(6),
        }
    }
}

/// What a simulator asks of the network.
impl Network {
    /// It is `now`.
    pub(crate) fn advance(self: &Arc<Self>, now: Duration) {
        self.change(|state| state.now = now);
    }

    /// When the next message arrives.
    pub(crate) fn next_arrival(&self) -> Option<Duration> {
        self.look(|state| state.messages.first_key_value().map(|((at, _), _)| *at))
    }

    pub(crate) fn trace(&self) -> u64 {
        self.look(|state| state.links.trace.hash())
    }

    /// From now on, messages take as long as this.
    pub(crate) fn set_delay(&self, delay: Range<Duration>) {
        self.look(|state| state.links.delay = delay);
    }

    /// From now on, so many of a thousand messages are lost.
    pub(crate) fn set_loss(&self, of_a_thousand: usize) {
        self.look(|state| state.links.lost = of_a_thousand.min(1000));
    }

    /// Nothing gets from the one host to the other.
    pub(crate) fn cut(&self, from: HostId, to: HostId) {
        self.look(|state| state.links.cut.insert((from, to)));
    }

    /// Messages get from the one host to the other again, those of before first.
    pub(crate) fn heal(self: &Arc<Self>, from: HostId, to: HostId) {
        self.change(|state| {
            if !state.links.cut.remove(&(from, to)) {
                return;
            }
            let is_there = |envelope: &Envelope| (envelope.from, envelope.to) == (from, to);
            let mut again: Vec<_> =
                state.links.held.extract_if(.., |envelope| is_there(envelope)).collect();
            let on_their_way = state.messages.extract_if(.., |_, envelope| is_there(envelope));
            again.extend(on_their_way.map(|(_, envelope)| envelope));
            // An end may be gone by now; what it sent keeps its order all the same.
            let mut last = BTreeMap::new();
            for envelope in again {
                let stream = envelope.stream;
                let before = last.get(&stream).filter(|_| stream.is_some()).copied();
                let at = state.post_at(envelope, before.unwrap_or_default());
                last.insert(stream, at);
            }
        });
    }

    /// A host is there again.
    pub(crate) fn revive(&self, host: HostId) {
        self.look(|state| {
            if let Some(host) = state.hosts.get_mut(host.0) {
                host.revive();
            }
        });
    }
}
