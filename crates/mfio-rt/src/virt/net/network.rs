//! The network: hosts, connections between them, and what is on its way, behind one lock.
//!
//! What there is to do for a host is in its `ready`, by [`Lane`]: a direction of a connection, or a connection to
//! be made. A drive of the host's runtime takes turns; a turn changes plain data and notes its effects, which are
//! carried out after the lock was let go. What leaves a host is a message, which arrives at its time: without a
//! simulator in the same turn.
//!
//! Invariant: no request ends, no task is woken and no end is dropped under the lock: any of these can come back
//! here.
//!
//! Invariant: while a receive is being ended, its lane serves no other: whether its bytes were delivered or given
//! back is known first.

use alloc::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    string::String,
    sync::Arc,
    vec::Vec,
};
use core::{
    fmt,
    net::{IpAddr, SocketAddr},
    ops::Bound,
    task::Waker,
    time::Duration,
};

use mfio::{
    error::{Error, ErrorKind, Result, Tried},
    packet::{
        BoundPacketView, Completion, Packet,
        perms::{Read, Write},
    },
};

use super::{
    super::{Metrics, content, queue::Chance},
    end::{End, EndId, Endpoint},
    hosts::{Host, HostId},
    links::{Envelope, Links},
    making::{Connect, ConnectId, Listener, ListenerId},
    receive::Filled,
    send::Drained,
};
use crate::{
    reply::Reply,
    sync::{Mutex, MutexGuard},
};

/// Something that a host can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lane {
    Connect(ConnectId),
    Receive(EndId),
    Send(EndId),
}

/// What is done with nothing locked.
pub(super) enum Effect {
    Filled(EndId, Filled),
    Drained(Drained),
    Wake(Waker),
    /// To be dropped.
    Unused(Waker),
    Connected(Reply<Endpoint>, Result<EndId>),
}

/// What goes from one host to another.
#[derive(Debug)]
pub(super) enum Message {
    /// A connection is asked for.
    Syn(ConnectId),
    /// It was made, or refused.
    Answer(ConnectId, bool),
    /// From the one end to the other.
    Bytes(EndId, EndId, Vec<u8>),
    Fin(EndId),
    Reset(EndId),
}

/// See the module's own words.
pub(crate) struct Network {
    state: Mutex<State>,
}

pub(super) struct State {
    pub(super) hosts: Vec<Host>,
    pub(super) ends: BTreeMap<EndId, End>,
    pub(super) listeners: BTreeMap<ListenerId, Listener>,
    pub(super) bound: BTreeMap<(HostId, SocketAddr), ListenerId>,
    pub(super) connects: BTreeMap<ConnectId, Connect>,
    pub(super) messages: BTreeMap<(Duration, u64), Envelope>,
    pub(super) links: Links,
    pub(super) effects: VecDeque<Effect>,
    /// Names and messages so far.
    count: u64,
    pub(super) chance: Chance,
    pub(super) now: Duration,
}

impl Network {
    pub(crate) fn new(seed: Option<u64>) -> Arc<Self> {
        let state = State {
            hosts: Vec::new(),
            ends: BTreeMap::new(),
            listeners: BTreeMap::new(),
            bound: BTreeMap::new(),
            connects: BTreeMap::new(),
            messages: BTreeMap::new(),
            links: Links::new(),
            effects: VecDeque::new(),
            count: 0,
            chance: Chance::new(seed),
            now: Duration::ZERO,
        };
        Arc::new(Self { state: Mutex::new(state) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Adds a host. `immediate`: what it can do is done by whoever asks for it.
    pub(crate) fn add_host(&self, name: String, addrs: Vec<IpAddr>, immediate: bool) -> HostId {
        let mut state = self.lock();
        state.hosts.push(Host::new(name, addrs, immediate));
        HostId(state.hosts.len() - 1)
    }

    /// The addresses of the host of that name.
    pub(super) fn addrs_of(&self, name: &str) -> Vec<IpAddr> {
        let state = self.lock();
        let named = state.hosts.iter().find(|host| host.name == name && !name.is_empty());
        named.map(|host| host.addrs.clone()).unwrap_or_default()
    }

    /// Looks at the state.
    pub(super) fn look<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.lock())
    }

    /// Changes the state, and carries out what comes of it.
    pub(super) fn change<T>(self: &Arc<Self>, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let changed = change(&mut state);
        state.deliver();
        drop(state);
        self.carry_out();
        changed
    }

    fn carry_out(self: &Arc<Self>) {
        loop {
            let mut state = self.lock();
            state.take_immediate_turns();
            let effect = state.effects.pop_front();
            drop(state);
            match effect {
                None => return,
                Some(Effect::Filled(id, filled)) => self.end_receive(id, filled),
                Some(Effect::Drained(Drained { view, good, rest })) => {
                    // It was sent, or not; there is nothing to keep.
                    drop(view.finish(good, Error::new(rest, Tried::Write)));
                }
                Some(Effect::Wake(waker)) => waker.wake(),
                Some(Effect::Unused(waker)) => drop(waker),
                Some(Effect::Connected(reply, made)) => {
                    reply.send(made.map(|id| Endpoint::new(Arc::clone(self), id)));
                }
            }
        }
    }

    fn end_receive(self: &Arc<Self>, id: EndId, filled: Filled) {
        let Filled { view, got, rest } = filled;
        let rest = Error::new(rest, Tried::Read);
        if got.is_empty() {
            if view.is_empty() {
                drop(view)
            } else {
                view.error(rest)
            }
            return;
        }
        // Also where a waker panics.
        let _goes_on = GoesOn(self, id);
        let (good, bad) = view.split_at(content::bytes(got.len()));
        // In this order, so that the second has what nobody took of the first.
        let completions = [good.transfer_from(&got), bad.fail(rest)];
        for completion in completions {
            if let Completion::Orphaned(view) = completion
                && let Some(end) = self.lock().ends.get_mut(&id)
            {
                end.receive.orphaned(&view);
            }
        }
    }

    /// What a drive of a host's runtime does. Says whether there is more to do, and whether anything was done.
    pub(in super::super) fn drive(self: &Arc<Self>, host: HostId, waker: &Waker) -> (bool, bool) {
        let mut state = self.lock();
        let State { hosts, chance, .. } = &mut *state;
        let Some(here) = hosts.get_mut(host.0) else { return (false, false) };
        let replaced = here.waker.replace(waker.clone());
        let ready = here.ready.len();
        let turns = if chance.is_random() { chance.below(ready + 1) } else { ready };
        drop(state);
        drop(replaced);
        for _ in 0..turns {
            self.change(|state| state.turn(host));
        }
        let more = self.lock().hosts.get(host.0).is_some_and(|host| !host.ready.is_empty());
        (more, turns > 0)
    }

    /// Ends all that a host has: its runtime has ended.
    pub(in super::super) fn end_host(self: &Arc<Self>, host: HostId) {
        self.change(|state| state.end_host(host));
    }

    pub(in super::super) fn metrics(&self, host: HostId) -> Metrics {
        self.lock().hosts.get(host.0).map(|host| host.metrics).unwrap_or_default()
    }
}

/// A lane that serves no other request while one is being ended.
struct GoesOn<'a>(&'a Arc<Network>, EndId);

impl Drop for GoesOn<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        if let Some(end) = state.ends.get_mut(&self.1) {
            end.receive.goes_on();
            state.mark(Lane::Receive(self.1));
        }
    }
}

impl State {
    pub(super) fn next_id(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    pub(super) fn host(&mut self, host: HostId) -> Option<&mut Host> {
        self.hosts.get_mut(host.0).filter(|host| !host.ended)
    }

    fn host_of(&self, lane: Lane) -> Option<HostId> {
        match lane {
            Lane::Connect(id) => self.connects.get(&id).map(|connect| connect.host),
            Lane::Receive(id) | Lane::Send(id) => self.ends.get(&id).map(|end| end.host),
        }
    }

    /// Something can be done there.
    pub(super) fn mark(&mut self, lane: Lane) {
        let Some(host) = self.host_of(lane).and_then(|host| self.hosts.get_mut(host.0)) else {
            return;
        };
        host.ready.insert(lane);
        if let Some(waker) = host.waker.take() {
            self.effects.push_back(Effect::Wake(waker));
        }
    }

    pub(super) fn wake(&mut self, wakers: impl IntoIterator<Item = Waker>) {
        self.effects.extend(wakers.into_iter().map(Effect::Wake));
    }

    fn take_immediate_turns(&mut self) {
        while self.effects.is_empty()
            && let Some(at) =
                self.hosts.iter().position(|host| host.immediate && !host.ready.is_empty())
        {
            self.turn(HostId(at));
            self.deliver();
        }
    }

    /// A turn of one lane, if one can do something: the next, or one by chance.
    fn turn(&mut self, host: HostId) {
        let Some(here) = self.hosts.get_mut(host.0) else { return };
        let lane = if self.chance.is_random() {
            here.ready.iter().nth(self.chance.below(here.ready.len())).copied()
        } else {
            let after = here.served.map_or(Bound::Unbounded, Bound::Excluded);
            let next = here.ready.range((after, Bound::Unbounded)).next();
            next.or_else(|| here.ready.first()).copied()
        };
        let Some(lane) = lane else { return };
        here.ready.remove(&lane);
        here.served = Some(lane);
        match lane {
            Lane::Connect(id) => self.post(None, Message::Syn(id)),
            Lane::Receive(id) => self.receive(id),
            Lane::Send(id) => self.send(id),
        }
    }

    fn receive(&mut self, id: EndId) {
        let Some(end) = self.ends.get_mut(&id) else { return };
        let (filled, taken) = end.receive.step(&mut self.chance);
        let peer = end.peer;
        match filled {
            Some(filled) => {
                let goes_on = filled.got.is_empty();
                self.filled(id, [filled]);
                if goes_on {
                    self.mark(Lane::Receive(id));
                }
            }
            None if taken > 0 => self.mark(Lane::Receive(id)),
            None => {}
        }
        if taken > 0 {
            self.was_taken(peer, taken);
        }
    }

    /// Requests of a host have ended.
    fn filled(&mut self, id: EndId, filled: impl IntoIterator<Item = Filled>) {
        let effects = self.effects.len();
        self.effects.extend(filled.into_iter().map(|filled| Effect::Filled(id, filled)));
        self.count_completions(id, self.effects.len() - effects);
    }

    fn drained(&mut self, id: EndId, drained: Vec<Drained>) {
        self.count_completions(id, drained.len());
        self.effects.extend(drained.into_iter().map(Effect::Drained));
    }

    fn count_completions(&mut self, id: EndId, completions: usize) {
        if let Some(end) = self.ends.get(&id)
            && let Some(host) = self.hosts.get_mut(end.host.0)
        {
            host.metrics.completions += content::bytes(completions);
        }
    }

    /// The peer of `id` has room for more.
    fn was_taken(&mut self, id: EndId, bytes: usize) {
        if let Some(end) = self.ends.get_mut(&id) {
            end.send.taken(bytes);
            if !end.send.is_empty() {
                self.mark(Lane::Send(id));
            }
        }
    }

    fn send(&mut self, id: EndId) {
        let Some(end) = self.ends.get_mut(&id) else { return };
        let peer = end.peer;
        let (bytes, drained) = end.send.step(&mut self.chance, end.capacity);
        let wakers = end.send.ends();
        let breaks_off = end.closed && (end.receive.has_unread() || end.breaks_off);
        let goes_on = self.chance.is_random() && !(bytes.is_empty() && drained.is_empty());
        self.drained(id, drained);
        if !bytes.is_empty() {
            self.post(Some(id), Message::Bytes(id, peer, bytes));
        }
        if let Some(wakers) = wakers {
            // What was not read tells the peer that it was sent in vain.
            let end = if breaks_off { Message::Reset(peer) } else { Message::Fin(peer) };
            self.post(Some(id), end);
            self.wake(wakers);
        } else if goes_on {
            self.mark(Lane::Send(id));
        }
        self.bury(id);
    }

    /// Lets an end go that nobody has and that has nothing left to do.
    fn bury(&mut self, id: EndId) {
        if let Some(end) = self.ends.get(&id)
            && end.closed
            && end.send.is_over()
        {
            let (host, port) = (end.host, end.owns_port.then_some(end.local.port()));
            self.ends.remove(&id);
            if let (Some(port), Some(host)) = (port, self.hosts.get_mut(host.0)) {
                host.release_port(port);
            }
        }
    }

    /// Has all arrive whose time has come.
    fn deliver(&mut self) {
        while let Some(message) = self.next_message() {
            match message {
                Message::Syn(id) => self.knock(id),
                Message::Answer(id, made) => self.answered(id, made),
                Message::Bytes(from, to, bytes) => self.bytes_arrive(from, to, &bytes),
                Message::Fin(to) => {
                    if let Some(end) = self.ends.get_mut(&to) {
                        end.receive.arrive_end(ErrorKind::UnexpectedEof);
                        self.mark(Lane::Receive(to));
                    }
                }
                Message::Reset(to) => self.reset(to),
            }
        }
    }

    fn bytes_arrive(&mut self, from: EndId, to: EndId, bytes: &[u8]) {
        match self.ends.get_mut(&to).map(|end| end.receive.arrive(bytes)) {
            Some(true) => self.mark(Lane::Receive(to)),
            // Taken, and thrown away.
            Some(false) => self.was_taken(from, bytes.len()),
            None => self.post(None, Message::Reset(from)),
        }
    }

    /// The peer broke the connection off.
    fn reset(&mut self, id: EndId) {
        let Some(end) = self.ends.get_mut(&id) else { return };
        // As on Linux: what is sent to a peer that had ended its side ends in a broken pipe.
        let kind = if end.receive.has_ended() {
            ErrorKind::BrokenPipe
        } else {
            ErrorKind::ConnectionReset
        };
        end.receive.arrive_end(ErrorKind::ConnectionReset);
        end.is_reset = true;
        let (drained, wakers) = end.send.break_off(kind);
        self.drained(id, drained);
        self.wake(wakers);
        self.mark(Lane::Receive(id));
        self.bury(id);
    }

    pub(super) fn push_receive(&mut self, id: EndId, view: BoundPacketView<Write>) {
        match self.end_for(id, 1) {
            Some(end) => {
                end.receive.push(view);
                self.mark(Lane::Receive(id));
            }
            None => {
                let ended = Filled { view, got: Vec::new(), rest: ErrorKind::Ended };
                self.effects.push_back(Effect::Filled(id, ended));
            }
        }
    }

    pub(super) fn push_send(&mut self, id: EndId, view: BoundPacketView<Read>) {
        let pieces: Vec<_> = view.into_segments().collect();
        match self.end_for(id, pieces.len()) {
            Some(end) => {
                end.send.push(pieces);
                self.mark(Lane::Send(id));
            }
            None => self.effects.extend(
                pieces
                    .into_iter()
                    .map(|view| Effect::Drained(Drained { view, good: 0, rest: ErrorKind::Ended })),
            ),
        }
    }

    /// The end that is to take so many requests, unless its host has ended.
    fn end_for(&mut self, id: EndId, requests: usize) -> Option<&mut End> {
        let end = self.ends.get_mut(&id)?;
        let host = self.hosts.get_mut(end.host.0).filter(|host| !host.ended)?;
        host.metrics.requests += content::bytes(requests);
        Some(end)
    }

    pub(super) fn cancel_receive(&mut self, id: EndId, packet: &Packet<Write>) {
        let Some(end) = self.ends.get_mut(&id) else { return };
        let filled = end.receive.cancel(packet);
        self.count_cancelled(id, filled.len());
        self.filled(id, filled);
        self.mark(Lane::Receive(id));
    }

    pub(super) fn cancel_send(&mut self, id: EndId, packet: &Packet<Read>) {
        let Some(end) = self.ends.get_mut(&id) else { return };
        let drained = end.send.cancel(packet);
        self.count_cancelled(id, drained.len());
        self.drained(id, drained);
        self.mark(Lane::Send(id));
    }

    fn count_cancelled(&mut self, id: EndId, cancelled: usize) {
        if let Some(end) = self.ends.get(&id)
            && let Some(host) = self.hosts.get_mut(end.host.0)
        {
            host.metrics.cancelled += content::bytes(cancelled);
        }
    }

    /// Ends a direction of sending after what was sent before. Says how that went, once it did.
    pub(super) fn shut_down_sending(
        &mut self,
        id: EndId,
        waker: &Waker,
    ) -> Option<Result<(), ErrorKind>> {
        let Some(end) = self.ends.get_mut(&id) else { return Some(Err(ErrorKind::Ended)) };
        let outcome = end.send.shut_down(waker);
        self.mark(Lane::Send(id));
        outcome
    }

    pub(super) fn shut_down_receiving(&mut self, id: EndId) -> Result<(), ErrorKind> {
        let end = self.ends.get_mut(&id).ok_or(ErrorKind::Ended)?;
        end.receive.shut_down();
        self.mark(Lane::Receive(id));
        Ok(())
    }

    /// Nobody has the end any more. What had been sent leaves; then it breaks off, if something was not read, or
    /// ends.
    pub(super) fn close(&mut self, id: EndId) {
        let Some(end) = self.ends.get_mut(&id) else { return };
        end.closed = true;
        end.send.close();
        let filled = end.receive.fail_all(ErrorKind::Cancelled);
        self.filled(id, filled);
        let was_in_vain = |end: &End| end.send.is_over() && end.receive.has_unread();
        if self.ends.get(&id).is_some_and(|end| end.breaks_off || was_in_vain(end)) {
            self.break_off(id);
        } else {
            self.mark(Lane::Send(id));
            self.bury(id);
        }
    }

    /// Breaks a connection off at once.
    pub(super) fn break_off(&mut self, id: EndId) {
        let Some(end) = self.ends.get_mut(&id) else { return };
        end.closed = true;
        let peer = end.peer;
        let (drained, wakers) = end.send.break_off(ErrorKind::ConnectionReset);
        self.drained(id, drained);
        self.wake(wakers);
        self.post(Some(id), Message::Reset(peer));
        self.bury(id);
    }

    fn end_host(&mut self, host: HostId) {
        let Some(here) = self.hosts.get_mut(host.0) else { return };
        here.ended = true;
        here.ready = BTreeSet::new();
        let woken = here.waker.take();
        self.wake(woken);
        let of_host =
            |id: &ListenerId, state: &Self| state.listeners.get(id).is_some_and(|l| l.host == host);
        let listeners: Vec<_> =
            self.listeners.keys().copied().filter(|id| of_host(id, self)).collect();
        listeners.into_iter().for_each(|id| self.unlisten(id));
        let connects: Vec<_> =
            self.connects.extract_if(.., |_, connect| connect.host == host).collect();
        for (_, connect) in connects {
            let ended = Error::new(ErrorKind::Ended, Tried::Connect);
            self.effects.push_back(Effect::Connected(connect.reply, Err(ended)));
        }
        let ends: Vec<_> =
            self.ends.iter().filter(|(_, end)| end.host == host).map(|(id, _)| *id).collect();
        for id in ends {
            let Some(end) = self.ends.get_mut(&id) else { continue };
            let filled = end.receive.fail_all(ErrorKind::Ended);
            let (drained, wakers) = end.send.break_off(ErrorKind::Ended);
            self.filled(id, filled);
            self.drained(id, drained);
            self.wake(wakers);
            self.break_off(id);
        }
        if let Some(here) = self.hosts.get_mut(host.0) {
            here.metrics.completions = here.metrics.requests;
        }
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").finish_non_exhaustive()
    }
}
