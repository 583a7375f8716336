//! Requests and their models side by side, and the steps of a script.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    thread,
};

use mfio::packet::PacketId;

use super::{
    model::{Expected, How, Means, Model, Piece, Stage, arrivals},
    object::{AnyView, CANCEL, Finished, Heard, Object, Orphan, Way},
    request::{Again, Ended, Look, Request, Start, Store, buffers, start},
    script::{Script, Seen, Step},
    wakers::{WAKERS, Wakers},
};

/// Requests whose futures are there, and pieces of requests, at one time: more find nothing new.
const REQUESTS: usize = 8;
const PIECES: usize = 64;

/// What the bytes of a request are before it is sent.
const INITIAL: u8 = 0xEE;

/// A request, from its start until nothing is left of it.
struct Entry {
    future: Option<Request>,
    model: Model,
    way: Arc<Way>,
    asked: Arc<AtomicBool>,
    store: Store,
    /// Drops of its memory, if that is a probe.
    drops: Arc<AtomicUsize>,
    /// The packet's name, once it was sent.
    id: Option<PacketId>,
}

/// A part of a request in the object's hands.
struct Held {
    entry: usize,
    piece: Piece,
    view: AnyView,
}

/// A packet that came back, and what is known of it.
struct Back {
    packet: Box<dyn Again>,
    entry: usize,
}

#[derive(Default)]
pub(crate) struct World {
    object: Arc<Object>,
    /// In the order of their starts; an index is a name.
    entries: Vec<Entry>,
    held: Vec<Held>,
    /// Kept outcomes that nobody waits for: of which request, and the bytes they must go on to show.
    orphans: Vec<(usize, Box<dyn Orphan>, Vec<u8>)>,
    back: Vec<Back>,
    wakers: Wakers,
    seen: Seen,
}

/// Where the buffers of a vectored packet of these bytes end.
fn bounds(bytes: &[u8]) -> Vec<usize> {
    let mut end = 0;
    let ends = |buffer: Vec<u8>| {
        end += buffer.len();
        end
    };
    buffers(bytes).into_iter().map(ends).collect()
}

impl World {
    pub(crate) fn step(&mut self, step: Step, script: &mut Script<'_>) {
        match step {
            Step::Start => self.start(script),
            Step::Resend => self.resend(script),
            Step::Poll => self.with_pending(script, Self::poll),
            Step::Cancel => self.with_pending(script, Self::cancel),
            Step::Drop => self.with_pending(script, Self::drop_future),
            Step::Split => self.split(script),
            Step::Forward => self.forward(script),
            Step::End | Step::EndElsewhere => self.end(script, step == Step::EndElsewhere),
            Step::PollInRace => self.race(script, false),
            Step::DropInRace => self.race(script, true),
            Step::LetGo => {
                if let Some(orphan) = script.choose(self.orphans.len()) {
                    self.let_go(orphan);
                }
            }
        }
        self.check();
    }

    /// Ends everything: what is held is dropped, what waits resolves, what was kept goes.
    pub(crate) fn finish(mut self) -> Seen {
        let drop_it = How { means: Means::Drop, bytes: Vec::new(), kind: CANCEL.kind };
        while let Some(held) = self.held.pop() {
            self.end_piece(held, &drop_it, false);
        }
        for entry in self.pending() {
            if self.entries[entry].model.stage == Stage::Sent {
                self.poll_with(entry, 0);
                assert_eq!(self.entries[entry].model.stage, Stage::Resolved);
            } else {
                self.entries[entry].future = None;
                self.entries[entry].model.stage = Stage::Gone;
            }
        }
        while !self.orphans.is_empty() {
            self.let_go(0);
        }
        while let Some(back) = self.back.pop() {
            self.check_look(back.entry, &back.packet.look());
            drop(back);
        }
        self.check();
        self.seen
    }

    // Requests

    fn pending(&self) -> Vec<usize> {
        (0..self.entries.len()).filter(|entry| self.entries[*entry].future.is_some()).collect()
    }

    fn with_pending(
        &mut self,
        script: &mut Script<'_>,
        step: impl FnOnce(&mut Self, usize, &mut Script<'_>),
    ) {
        let pending = self.pending();
        if let Some(index) = script.choose(pending.len()) {
            step(self, pending[index], script);
        }
    }

    fn start(&mut self, script: &mut Script<'_>) {
        if self.pending().len() >= REQUESTS {
            return;
        }
        let (side, store) = (script.side(), script.store());
        let len = script.len(side, store);
        let pos = script.small();
        let bytes = match side {
            super::model::Side::Write => vec![INITIAL; len],
            _ => (0..len).map(|at| at.to_le_bytes()[0] ^ 0x5A).collect(),
        };
        let way = Arc::new(Way { layers: script.layers(), object: self.object.clone() });
        let (asked, drops) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let mut model = Model::new(side, pos, bytes.clone());
        if store == Store::Vectored {
            model.bounds = bounds(&bytes);
        }
        let begin =
            Start { way: way.clone(), pos, bytes, asked: asked.clone(), drops: drops.clone() };
        let future = Some(start(side, store, begin));
        self.entries.push(Entry { future, model, way, asked, store, drops, id: None });
        self.seen.requests += 1;
    }

    /// A packet that came back goes out again, with all that it holds.
    fn resend(&mut self, script: &mut Script<'_>) {
        let Some(index) = script.choose(self.back.len()) else { return };
        let Back { packet, entry: old } = self.back.swap_remove(index);
        self.check_look(old, &packet.look());
        let pos = script.small();
        let way = Arc::new(Way { layers: script.layers(), object: self.object.clone() });
        let asked = Arc::<AtomicBool>::default();
        let Entry { model, store, drops, .. } = &self.entries[old];
        let bounds = model.bounds.clone();
        let model = Model { bounds, ..Model::new(model.side, pos, model.memory.clone()) };
        let (store, drops) = (*store, drops.clone());
        let future = Some(packet.send(way.clone(), pos, asked.clone()));
        self.entries.push(Entry { future, model, way, asked, store, drops, id: None });
        self.seen.resent += 1;
    }

    fn poll(&mut self, entry: usize, script: &mut Script<'_>) {
        self.poll_with(entry, usize::from(script.byte()) % WAKERS);
    }

    fn poll_with(&mut self, entry: usize, waker: usize) {
        let first = self.entries[entry].model.stage == Stage::Unsent;
        let asked = self.entries[entry].asked.load(Ordering::Relaxed);
        let polled = self.poll_future(entry, waker);
        if first {
            self.was_sent(entry, asked);
        }
        let over = self.entries[entry].model.has_ended();
        self.was_polled(entry, waker, polled, over);
    }

    fn poll_future(&mut self, entry: usize, waker: usize) -> Poll<Ended> {
        let waker = self.wakers.waker(waker);
        let future = self.entries[entry].future.as_mut().expect("it is pending");
        future.as_mut().poll(&mut Context::from_waker(&waker))
    }

    /// The first poll: it has arrived, as its layers cut it. Or not, if it was called off.
    fn was_sent(&mut self, entry: usize, called_off: bool) {
        let Entry { model, way, .. } = &mut self.entries[entry];
        model.stage = Stage::Sent;
        let whole = model.whole();
        if called_off {
            if model.len() > 0 {
                model.fail(0, CANCEL.kind);
            }
            return;
        }
        let pieces = arrivals(&way.layers, whole, model);
        model.outstanding = pieces.len();
        self.arrive(entry, pieces);
    }

    /// What arrived is what was expected.
    fn arrive(&mut self, entry: usize, pieces: Vec<Piece>) {
        let arrived = std::mem::take(&mut *self.object.arrived.lock().unwrap());
        assert_eq!(arrived.len(), pieces.len());
        for ((pos, view), piece) in arrived.into_iter().zip(pieces) {
            assert_eq!((pos, view.len()), (piece.pos, piece.len));
            let id = *self.entries[entry].id.get_or_insert(view.packet_id());
            assert_eq!(id, view.packet_id());
            view.set_hint(entry as u64);
            self.held.push(Held { entry, piece, view });
        }
    }

    fn was_polled(&mut self, entry: usize, waker: usize, polled: Poll<Ended>, over: bool) {
        let Poll::Ready(Ended { look, again }) = polled else {
            assert!(!over, "it has ended, and is pending");
            self.entries[entry].model.waker = Some(waker);
            return;
        };
        assert!(self.entries[entry].model.has_ended(), "it is ready before its end");
        self.check_look(entry, &look);
        self.seen.resolved += 1;
        self.seen.failed += usize::from(look.outcome.is_err());
        let this = &mut self.entries[entry];
        this.future = None;
        this.model.stage = Stage::Resolved;
        this.id = None;
        if let Some(packet) = again {
            self.back.push(Back { packet, entry });
        }
    }

    /// Cancels, and polls once more.
    fn cancel(&mut self, entry: usize, script: &mut Script<'_>) {
        let this = &self.entries[entry];
        if matches!(this.store, Store::Value) {
            return; // Its future has no such method.
        }
        let was_sent = this.model.stage == Stage::Sent;
        this.asked.store(true, Ordering::Relaxed);
        let stopped = self.take_to_stop(entry, was_sent && script.flag());
        let waker = usize::from(script.byte()) % WAKERS;
        if !was_sent {
            return self.poll_with(entry, waker);
        }
        let ended = self.entries[entry].model.has_ended();
        let polled = self.poll_future(entry, waker);
        self.was_told(entry, ended, false);
        self.were_stopped(entry, &stopped);
        let over = self.entries[entry].model.has_ended();
        self.was_polled(entry, waker, polled, over);
        self.seen.cancelled += 1;
    }

    fn drop_future(&mut self, entry: usize, script: &mut Script<'_>) {
        if !self.may_drop(entry) {
            return;
        }
        let was_sent = self.entries[entry].model.stage == Stage::Sent;
        let stopped = self.take_to_stop(entry, was_sent && script.flag());
        let ended = self.entries[entry].model.has_ended();
        self.entries[entry].future = None;
        self.was_dropped(entry, was_sent, ended);
        self.were_stopped(entry, &stopped);
    }

    /// Under the cfg, the user has promised not to.
    fn may_drop(&self, entry: usize) -> bool {
        let Entry { model, store, .. } = &self.entries[entry];
        !(cfg!(mfio_assume_linear_types) && *store == Store::Borrowed && model.stage == Stage::Sent)
    }

    fn was_dropped(&mut self, entry: usize, was_sent: bool, ended: bool) {
        if was_sent {
            self.was_told(entry, ended, true);
            self.seen.dropped_pending += usize::from(!ended);
            self.seen.dropped_ended += usize::from(ended);
        }
        let this = &mut self.entries[entry];
        this.model.stage = Stage::Gone;
        this.model.waker = None;
    }

    /// The object was told of it, once, and the packet said how it stands.
    fn was_told(&mut self, entry: usize, ended: bool, orphaned: bool) {
        let heard = std::mem::take(&mut *self.object.heard.lock().unwrap());
        let Entry { model, id, .. } = &self.entries[entry];
        let id = id.expect("it was sent");
        let expected =
            Heard { id, ended, orphaned, was_split: model.was_split, hint: entry as u64 };
        assert_eq!(heard, [expected]);
    }

    /// Leaves what is held of a request to be failed when it is cancelled, if that is wanted.
    fn take_to_stop(&mut self, entry: usize, wanted: bool) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut index = 0;
        while wanted && index < self.held.len() {
            if self.held[index].entry == entry {
                let held = self.held.remove(index);
                pieces.push(held.piece);
                self.object.cancellable.lock().unwrap().push(held.view);
            } else {
                index += 1;
            }
        }
        pieces
    }

    fn were_stopped(&mut self, entry: usize, pieces: &[Piece]) {
        for piece in pieces {
            let expected = self.entries[entry].model.finish(*piece, &CANCEL);
            self.was_finished(entry, expected, Finished::default());
            self.seen.stopped += 1;
        }
    }

    // Pieces

    fn split(&mut self, script: &mut Script<'_>) {
        let Some(index) = script.choose(self.held.len()) else { return };
        if self.held.len() >= PIECES {
            return;
        }
        let Held { entry, piece, view } = self.held.remove(index);
        let at = script.small() * (1 + piece.len / 64);
        let (head, tail) = view.split_at(at);
        let cut = at.min(piece.len);
        let model = &mut self.entries[entry].model;
        model.was_split = true;
        model.outstanding += 1;
        let first = Piece { len: cut, ..piece };
        let rest = Piece { pos: piece.pos + cut, start: piece.start + cut, len: piece.len - cut };
        assert_eq!((head.len(), tail.len()), (first.len, rest.len));
        self.held.push(Held { entry, piece: first, view: head });
        self.held.push(Held { entry, piece: rest, view: tail });
        self.seen.splits += 1;
    }

    /// Sends a piece on, through one more layer.
    fn forward(&mut self, script: &mut Script<'_>) {
        let Some(index) = script.choose(self.held.len()) else { return };
        if self.held.len() >= PIECES {
            return;
        }
        let Held { entry, piece, view } = self.held.remove(index);
        let way = Way { layers: vec![script.layer()], object: self.object.clone() };
        view.send(piece.pos, &way);
        let model = &mut self.entries[entry].model;
        let pieces = arrivals(&way.layers, piece, model);
        model.outstanding += pieces.len() - 1;
        self.arrive(entry, pieces);
        self.seen.forwarded += 1;
    }

    fn end(&mut self, script: &mut Script<'_>, elsewhere: bool) {
        let Some(index) = script.choose(self.held.len()) else { return };
        let Held { entry, piece, view } = self.held.remove(index);
        let (view, how) = self.how(script, entry, piece, view);
        self.end_piece(Held { entry, piece, view }, &how, elsewhere);
    }

    /// How a piece ends. What lies in several buffers gives no memory away.
    fn how(
        &self,
        script: &mut Script<'_>,
        entry: usize,
        piece: Piece,
        view: AnyView,
    ) -> (AnyView, How) {
        let how = script.how(piece.len);
        if self.entries[entry].model.crosses(piece) {
            return (view.refused_alloc(), how.without_alloc());
        }
        (view, how)
    }

    fn end_piece(&mut self, Held { entry, piece, view }: Held, how: &How, elsewhere: bool) {
        let before = self.entries[entry].model.bytes(piece).to_vec();
        let expected = self.entries[entry].model.finish(piece, how);
        let finished = if elsewhere {
            self.seen.elsewhere += 1;
            thread::scope(|scope| scope.spawn(|| view.finish(how)).join().unwrap())
        } else {
            view.finish(how)
        };
        self.was_drained(&before, &finished);
        self.seen.short += usize::from((how.bytes.len() as u64) < piece.len);
        self.was_finished(entry, expected, finished);
    }

    /// What was taken out is what was there.
    fn was_drained(&self, before: &[u8], finished: &Finished) {
        if let Some(drained) = &finished.drained {
            assert_eq!(drained, &before[..drained.len()]);
        }
    }

    fn was_finished(&mut self, entry: usize, expected: Expected, finished: Finished) {
        if let Some(waker) = expected.wakes {
            self.wakers.expect(waker);
            self.seen.wakes += 1;
        }
        match (finished.orphan, expected.orphan) {
            (None, None) => {}
            (Some(orphan), Some(bytes)) => {
                assert_eq!(orphan.bytes(), bytes, "{:?}", self.entries[entry].model);
                self.orphans.push((entry, orphan, bytes));
                self.seen.orphans += 1;
            }
            (orphan, expected) => panic!(
                "an outcome is kept by the wrong one: {:?}, not {expected:?}",
                orphan.map(|orphan| orphan.bytes())
            ),
        }
    }

    fn let_go(&mut self, index: usize) {
        let (entry, orphan, bytes) = self.orphans.remove(index);
        assert_eq!(orphan.bytes(), bytes, "the bytes of an orphan changed");
        drop(orphan);
        self.entries[entry].model.kept -= 1;
    }

    // Races

    /// A fragment ends on another thread, while this one polls its future or drops it.
    fn race(&mut self, script: &mut Script<'_>, drops: bool) {
        let Some(index) = script.choose(self.held.len()) else { return };
        let entry = self.held[index].entry;
        if self.entries[entry].future.is_none() || (drops && !self.may_drop(entry)) {
            return;
        }
        let Held { piece, view, .. } = self.held.remove(index);
        let (view, how) = self.how(script, entry, piece, view);
        self.seen.races += 1;
        if drops {
            self.race_of_drop(entry, piece, view, &how);
        } else {
            let waker = usize::from(script.byte()) % WAKERS;
            self.race_of_poll(entry, piece, view, &how, waker);
        }
    }

    fn race_of_poll(&mut self, entry: usize, piece: Piece, view: AnyView, how: &How, waker: usize) {
        let before = self.entries[entry].model.bytes(piece).to_vec();
        let calls = self.wakers.calls(waker);
        let (polled, finished) = thread::scope(|scope| {
            let finisher = scope.spawn(|| view.finish(how));
            let polled = self.poll_future(entry, waker);
            (polled, finisher.join().unwrap())
        });
        self.was_drained(&before, &finished);
        assert!(finished.orphan.is_none(), "somebody waits for it");
        let model = &mut self.entries[entry].model;
        model.finish(piece, how);
        if model.has_ended() {
            // Either the poll came late enough, or the end saw to it that there is another.
            let is_woken = self.wakers.calls(waker) > calls;
            assert!(polled.is_ready() || is_woken, "nobody is told of the end");
            self.wakers.accept();
            if polled.is_ready() {
                self.was_polled(entry, waker, polled, true);
            }
        } else {
            assert!(polled.is_pending(), "it is ready before its end");
            self.entries[entry].model.waker = Some(waker);
        }
    }

    fn race_of_drop(&mut self, entry: usize, piece: Piece, view: AnyView, how: &How) {
        let before = self.entries[entry].model.bytes(piece).to_vec();
        let future = self.entries[entry].future.take();
        let finished = thread::scope(|scope| {
            let finisher = scope.spawn(|| view.finish(how));
            drop(future);
            finisher.join().unwrap()
        });
        self.was_drained(&before, &finished);
        let heard = self.object.heard.lock().unwrap().clone();
        let ended = heard.first().is_some_and(|heard| heard.ended);
        // Who came first shows in what they were told. At the last fragment, they must agree.
        let model = &mut self.entries[entry].model;
        let is_last = model.outstanding == 1;
        assert!(is_last || !ended, "it ended before its last fragment");
        let gone_first = if is_last { !ended } else { finished.orphan.is_some() };
        if gone_first {
            model.stage = Stage::Gone;
        }
        // The end calls the waker if it came first, and never if it did not.
        let expected = model.finish(piece, how);
        self.was_finished(entry, expected, finished);
        self.was_dropped(entry, true, ended);
    }

    // What must hold at all times

    fn check_look(&self, entry: usize, look: &Look) {
        let model = &self.entries[entry].model;
        model.agrees(look.outcome);
        let good = model.clamp();
        if let Some((clamp, bytes)) = &look.shown {
            assert_eq!(*clamp, good as u64);
            assert_eq!(bytes, &model.memory[..good]);
        }
        let Some(memory) = &look.memory else { return };
        if look.copied {
            assert_eq!(&memory[..good], &model.memory[..good]);
            assert!(memory[good..].iter().all(|byte| *byte == INITIAL), "more than the good bytes");
        } else {
            assert_eq!(memory, &model.memory);
        }
    }

    fn check(&self) {
        let waits = |waker| {
            let waits = |entry: &&Entry| entry.model.waker == Some(waker);
            self.entries.iter().filter(waits).count()
        };
        self.wakers.check(waits);
        assert!(self.object.heard.lock().unwrap().is_empty(), "the object was told of nothing");
        let mut ids: Vec<usize> = self
            .entries
            .iter()
            .filter(|entry| !entry.model.has_ended() || entry.future.is_some())
            .filter_map(|entry| entry.id.map(PacketId::as_usize))
            .collect();
        ids.sort_unstable();
        assert!(ids.windows(2).all(|pair| pair[0] != pair[1]), "two packets of one name");
        for entry in self.entries.iter().filter(|entry| entry.store == Store::Probe) {
            let drops = entry.drops.load(Ordering::SeqCst);
            assert!(drops <= 1);
            assert!(drops == 1 || !entry.model.is_over(), "memory is never let go");
            let in_use = !entry.model.has_ended() || entry.future.is_some();
            assert!(drops == 0 || !in_use, "memory is let go while it is in use");
        }
    }
}
