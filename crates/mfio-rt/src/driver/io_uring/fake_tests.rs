//! The engine against the fake kernel.
#![allow(clippy::unwrap_used)]

use std::collections::{HashMap, HashSet};
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use mfio::error::ErrorKind;
use rustix::io::Errno;

use super::super::Wait;
use super::super::op::RequestId;
use super::Mode;
use super::call::Call;
use super::engine::{Engine, Kernel};
use super::fake::{
    DROPPED_UNDER_THE_KERNEL, FakeAnswer, FakeKernel, FakeRequest, Held, Outcome, State,
    full_result, stream, wanted,
};

const NAP: Wait = Wait::Until(Some(Duration::from_millis(1)));

fn code(errno: Errno) -> i32 {
    -errno.raw_os_error()
}

fn id(id: RawFd) -> RequestId {
    RequestId(usize::try_from(id).unwrap())
}

/// Names that no other test of this process uses: the check on drops is by name.
fn names(count: i32) -> std::ops::Range<RawFd> {
    static NEXT: Mutex<RawFd> = Mutex::new(1_000_001);
    let mut next = NEXT.lock().unwrap();
    let first = *next;
    *next += count;
    first..first + count
}

fn assert_never_dropped_under_the_kernel(names: &std::ops::Range<RawFd>) {
    let dropped = DROPPED_UNDER_THE_KERNEL.lock().unwrap();
    let mine: Vec<_> = dropped.iter().filter(|id| names.contains(id)).collect();
    assert!(mine.is_empty(), "dropped while the kernel held them: {mine:?}");
}

mod deferred;
mod ends;
mod sockets;

type FakeEngine = Engine<FakeKernel, FakeRequest>;

/// Submits a request and gives its hint.
fn submit(
    engine: &mut FakeEngine,
    kernel: &FakeKernel,
    name: RawFd,
    len: usize,
    ended: &mut Vec<Outcome>,
) -> Arc<AtomicU64> {
    let request = kernel.request(name, len);
    let hint = request.hint.clone();
    engine.submit(request, ended);
    hint
}

/// The kernel that every request must survive: completes what it holds in any order, short, twice,
/// with errors that are none, and refuses calls.
fn badly(state: &mut State, wait: Wait) {
    for _ in 0..state.random.below(4) {
        one_bad_thing(state);
    }
    settle_cancels(state);
    if wait != Wait::No && state.completions.is_empty() {
        for _ in 0..8 {
            one_bad_thing(state);
        }
    }
    match state.random.below(12) {
        0 => state.refusals.push_back(Errno::INTR),
        1 => state.refusals.push_back(Errno::AGAIN),
        2 => state.refusals.push_back(Errno::BUSY),
        _ => {}
    }
}

fn one_bad_thing(state: &mut State) {
    if state.random.one_in(16) {
        let more = state.random.one_in(2);
        state.wake(more);
    }
    if state.random.one_in(8) && !state.past.is_empty() {
        // A completion of the past, once more.
        let at = state.random.below(state.past.len());
        let user_data = state.past[at];
        state.post(user_data, 1, false);
    }
    if state.held.is_empty() {
        return;
    }
    let at = state.random.below(state.held.len());
    let held = state.held[at];
    if held.is_wake() {
        return;
    }
    let result = match (wanted(&held.call), state.random.below(10)) {
        (Some(_), 0) => code(Errno::INTR),
        (Some(_), 1) => code(Errno::AGAIN),
        (_, 2) => code(Errno::CANCELED),
        (Some(len), 3..=5) => i32::try_from(1 + state.random.below(len)).unwrap(),
        (Some(_), 6) if state.random.one_in(4) => code(Errno::IO),
        (_, 7) if state.completions.len() < 2 => {
            // Not the terminal one.
            return state.post(held.user_data, 1, true);
        }
        _ => full_result(&held.call),
    };
    state.complete(at, result);
}

/// Acts on cancels: the target's completion first, or the cancel's own, or it is too late.
fn settle_cancels(state: &mut State) {
    let cancels = std::mem::take(&mut state.cancels);
    for cancel in cancels {
        if state.random.one_in(3) {
            state.cancels.push(cancel);
            continue;
        }
        settle_cancel(state, cancel, |state| state.random.below(3));
    }
}

fn settle_cancel(state: &mut State, cancel: Held, choose: impl Fn(&mut State) -> usize) {
    let Call::Cancel { key } = cancel.call else {
        return;
    };
    let Some(at) = state.find(key.bits()) else {
        return state.post(cancel.user_data, code(Errno::NOENT), false);
    };
    match choose(state) {
        0 => {
            state.complete(at, code(Errno::CANCELED));
            state.post(cancel.user_data, 0, false);
        }
        1 => {
            state.post(cancel.user_data, 0, false);
            state.complete(at, code(Errno::CANCELED));
        }
        _ => state.post(cancel.user_data, code(Errno::ALREADY), false),
    }
}

/// One run with a random kernel and a random user; every request must end exactly once.
fn random_run(seed: u64) {
    let entries = 2 + usize::try_from(seed % 7).unwrap();
    let kernel = FakeKernel::new(entries, seed);
    kernel.state().on_enter = badly;
    let mut engine: FakeEngine = kernel.engine();
    let mut random = super::fake::Random::new(seed ^ 0xabcd);
    let mine = names(64);
    let mut hints: HashMap<RawFd, (usize, Arc<AtomicU64>)> = HashMap::new();
    let mut cancelled = HashSet::new();
    let mut ended = Vec::new();
    for name in mine.clone() {
        let len = random.below(40);
        let hint = submit(&mut engine, &kernel, name, len, &mut ended);
        hints.insert(name, (len, hint));
        while random.one_in(3) {
            let wait = if random.one_in(2) { Wait::No } else { NAP };
            engine.drive(wait, &mut ended).unwrap();
        }
        if random.one_in(4) {
            let back = i32::try_from(random.below(8)).unwrap();
            let name = (name - back).max(mine.start);
            let hint = hints[&name].1.load(Ordering::Relaxed);
            engine.cancel(id(name), hint, &mut ended);
            cancelled.insert(name);
        }
    }
    let mut rounds = 0;
    while engine.in_flight() > 0 {
        engine.drive(NAP, &mut ended).unwrap();
        engine.take_woken();
        rounds += 1;
        assert!(rounds < 100_000, "seed {seed}: {} never end", engine.in_flight());
    }
    let mut seen = HashSet::new();
    let state = kernel.state();
    for (name, done, answer) in &ended {
        assert!(seen.insert(*name), "seed {seed}: {name} ended twice");
        let moved = state.moved.get(name).copied().unwrap_or(0);
        assert_eq!(*done, moved, "seed {seed}: bytes of {name}");
        match answer {
            FakeAnswer::Done => assert_eq!(*done, hints[name].0),
            FakeAnswer::Failed(ErrorKind::Cancelled) => assert!(cancelled.contains(name)),
            FakeAnswer::Code(code) => assert_eq!(*code, Errno::IO.raw_os_error()),
            FakeAnswer::Failed(kind) => panic!("seed {seed}: {name} failed: {kind:?}"),
        }
    }
    assert_eq!(seen.len(), mine.len(), "seed {seed}");
    assert!(state.kept_back.is_empty(), "seed {seed}: completions left in the kernel");
    drop(state);
    drop(engine);
    assert_never_dropped_under_the_kernel(&mine);
}

#[test]
fn every_request_ends_exactly_once_whatever_the_kernel_does() {
    for seed in 0..600 {
        random_run(seed);
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]
    #[test]
    fn every_request_ends_exactly_once_for_any_seed(seed: u64) {
        random_run(seed);
    }
}

#[test]
fn a_doubled_completion_after_the_slot_was_reused_ends_nobody() {
    let kernel = FakeKernel::new(8, 0);
    let mut engine: FakeEngine = kernel.engine();
    let mine = names(2);
    let mut ended = Vec::new();
    submit(&mut engine, &kernel, mine.start, 4, &mut ended);
    engine.drive(Wait::No, &mut ended).unwrap();
    kernel.state().complete_all();
    engine.drive(Wait::No, &mut ended).unwrap();
    assert_eq!(ended, [(mine.start, 4, FakeAnswer::Done)]);
    let old = kernel.state().past[0];

    submit(&mut engine, &kernel, mine.start + 1, 4, &mut ended);
    engine.drive(Wait::No, &mut ended).unwrap();
    kernel.state().post(old, 4, false);
    kernel.state().post(old, 4, false);
    engine.drive(Wait::No, &mut ended).unwrap();
    assert_eq!(ended.len(), 1, "the old completion ended the new request");
    assert_eq!(engine.counters().stale, 2);
    kernel.state().complete_all();
    engine.drive(Wait::No, &mut ended).unwrap();
    assert_eq!(ended.len(), 2);
    assert_never_dropped_under_the_kernel(&mine);
}

#[test]
fn a_completion_with_more_to_come_is_not_the_end() {
    let kernel = FakeKernel::new(8, 0);
    let mut engine: FakeEngine = kernel.engine();
    let mine = names(1);
    let mut ended = Vec::new();
    submit(&mut engine, &kernel, mine.start, 4, &mut ended);
    engine.drive(Wait::No, &mut ended).unwrap();
    let user_data = kernel.state().held.iter().find(|held| !held.is_wake()).unwrap().user_data;
    for _ in 0..2 {
        kernel.state().post(user_data, 4, true);
        engine.drive(Wait::No, &mut ended).unwrap();
        assert!(ended.is_empty());
    }
    kernel.state().complete_all();
    engine.drive(Wait::No, &mut ended).unwrap();
    assert_eq!(ended, [(mine.start, 4, FakeAnswer::Done)]);
    assert_never_dropped_under_the_kernel(&mine);
}

#[test]
fn short_interrupted_unready_and_cancelled_by_nobody_never_surface() {
    let kernel = FakeKernel::new(8, 0);
    let mut engine: FakeEngine = kernel.engine();
    let mine = names(1);
    let mut ended = Vec::new();
    submit(&mut engine, &kernel, mine.start, 10, &mut ended);
    let script = [3, code(Errno::INTR), code(Errno::AGAIN), 1, code(Errno::CANCELED), 4];
    for result in script {
        engine.drive(Wait::No, &mut ended).unwrap();
        let mut state = kernel.state();
        let at = state.held.iter().position(|held| !held.is_wake()).unwrap();
        if matches!(state.held[at].call, Call::Poll { .. }) {
            // What follows EAGAIN is a wait for readiness.
            assert_eq!(result, 1);
        }
        state.complete(at, result);
    }
    engine.drive(Wait::No, &mut ended).unwrap();
    assert!(ended.is_empty(), "{ended:?}");
    kernel.state().complete_all();
    engine.drive(Wait::No, &mut ended).unwrap();
    assert_eq!(ended, [(mine.start, 10, FakeAnswer::Done)]);
    assert_eq!(engine.counters().resubmissions, 6);
}

#[test]
fn an_error_after_acceptance_ends_the_request_once() {
    let kernel = FakeKernel::new(8, 0);
    let mut engine: FakeEngine = kernel.engine();
    let mine = names(1);
    let mut ended = Vec::new();
    submit(&mut engine, &kernel, mine.start, 10, &mut ended);
    for result in [6, code(Errno::IO)] {
        engine.drive(Wait::No, &mut ended).unwrap();
        let mut state = kernel.state();
        let at = state.held.iter().position(|held| !held.is_wake()).unwrap();
        state.complete(at, result);
    }
    engine.drive(Wait::No, &mut ended).unwrap();
    let io = Errno::IO.raw_os_error();
    assert_eq!(ended, [(mine.start, 6, FakeAnswer::Code(io))]);
}

/// The submission queue is full of requests when cancels are asked for, and there are up to four times
/// as many requests as it holds: each cancel must still get its turn.
#[test]
fn cancels_get_through_when_the_submission_queue_is_full() {
    let mut times_full = 0;
    for entries in [2, 4, 8, 16] {
        for count in 0..=entries * 4 {
            times_full += usize::from(cancel_all_of(entries, count));
        }
    }
    assert!(times_full >= 8, "the queue was full {times_full} times");
}

/// Says whether the queue was full when the cancels came.
fn cancel_all_of(entries: usize, count: usize) -> bool {
    let kernel = FakeKernel::new(entries, 0);
    let mut engine: FakeEngine = kernel.engine();
    let mine = names(i32::try_from(count).unwrap());
    let mut ended = Vec::new();
    let mut hints = Vec::new();
    for name in mine.clone() {
        hints.push((name, submit(&mut engine, &kernel, name, 4, &mut ended)));
    }
    engine.drive(Wait::No, &mut ended).unwrap();
    // As many again as the queue holds, so that no cancel finds room.
    for name in names(i32::try_from(entries).unwrap()) {
        hints.push((name, submit(&mut engine, &kernel, name, 4, &mut ended)));
    }
    let full = kernel.pending() == entries;
    kernel.state().on_enter = |state, _| {
        for cancel in std::mem::take(&mut state.cancels) {
            settle_cancel(state, cancel, |_| 0);
        }
    };
    for (name, hint) in &hints {
        engine.cancel(id(*name), hint.load(Ordering::Relaxed), &mut ended);
    }
    for _ in 0..hints.len() {
        engine.drive(Wait::No, &mut ended).unwrap();
    }
    assert_eq!(ended.len(), hints.len(), "{entries} entries, {count} requests");
    let all_cancelled =
        |(_, _, answer): &Outcome| *answer == FakeAnswer::Failed(ErrorKind::Cancelled);
    assert!(ended.iter().all(all_cancelled));
    assert_never_dropped_under_the_kernel(&mine);
    full
}

/// The slot is freed by the target's own completion, whichever of the two comes first.
#[test]
fn the_completion_of_a_cancel_frees_nothing() {
    let kernel = FakeKernel::new(8, 0);
    let mut engine: FakeEngine = kernel.engine();
    let mine = names(3);
    let mut ended = Vec::new();
    for (order, name) in mine.clone().enumerate() {
        ended.clear();
        let hint = submit(&mut engine, &kernel, name, 4, &mut ended);
        engine.drive(Wait::No, &mut ended).unwrap();
        engine.cancel(id(name), hint.load(Ordering::Relaxed), &mut ended);
        engine.drive(Wait::No, &mut ended).unwrap();
        assert!(ended.is_empty());
        let cancel = kernel.state().cancels.pop().unwrap();
        if order == 1 {
            // The cancel's own completion arrives alone first.
            kernel.state().post(cancel.user_data, 0, false);
            engine.drive(Wait::No, &mut ended).unwrap();
            assert!(ended.is_empty(), "ended by its cancel's completion");
            assert_eq!(engine.in_kernel(), 1);
            let at = kernel.state().held.iter().position(|held| held.fd() == name).unwrap();
            kernel.state().complete(at, code(Errno::CANCELED));
        } else {
            settle_cancel(&mut kernel.state(), cancel, |_| order);
        }
        engine.drive(Wait::No, &mut ended).unwrap();
        if order == 2 {
            assert!(ended.is_empty(), "too late to cancel: it ends by itself");
            kernel.state().complete_all();
            engine.drive(Wait::No, &mut ended).unwrap();
            assert_eq!(ended, [(name, 4, FakeAnswer::Done)]);
        } else {
            assert_eq!(ended, [(name, 0, FakeAnswer::Failed(ErrorKind::Cancelled))]);
        }
    }
    assert_never_dropped_under_the_kernel(&mine);
}

#[test]
fn sixteen_thousand_requests_go_through_64_entries() {
    let kernel = FakeKernel::new(64, 0);
    kernel.state().on_enter = |state, _| state.complete_all();
    let mut engine: FakeEngine = kernel.engine();
    let mine = names(16_384);
    let mut ended = Vec::new();
    for name in mine.clone() {
        submit(&mut engine, &kernel, name, 4, &mut ended);
    }
    assert!(ended.is_empty());
    let mut drives = 0;
    while engine.in_flight() > 0 {
        engine.drive(NAP, &mut ended).unwrap();
        drives += 1;
        assert!(drives < 1_000, "hangs with {} in flight", engine.in_flight());
    }
    let order: Vec<_> = ended.iter().map(|(name, ..)| *name).collect();
    assert_eq!(order.len(), 16_384);
    assert!(kernel.state().most_held <= 128);
}

/// Requests that do not end fill the kernel. What waits behind them gets in all the same, in order; and
/// when all end at once, the completion queue cannot hold it, and nothing is lost.
#[test]
fn idle_requests_keep_nobody_out_of_the_kernel() {
    for wait in [Wait::No, NAP] {
        let kernel = FakeKernel::new(8, 0);
        let mut engine: FakeEngine = kernel.engine();
        let mine = names(100);
        let mut ended = Vec::new();
        for name in mine.clone() {
            submit(&mut engine, &kernel, name, 4, &mut ended);
        }
        engine.drive(wait, &mut ended).unwrap();
        assert_eq!(engine.in_kernel(), 100);
        let state = kernel.state();
        let order: Vec<_> =
            state.held.iter().filter(|held| !held.is_wake()).map(Held::fd).collect();
        drop(state);
        assert_eq!(order, mine.collect::<Vec<_>>(), "what waits goes in order");
        kernel.state().complete_all();
        assert!(!kernel.state().kept_back.is_empty());
        engine.drive(wait, &mut ended).unwrap();
        assert_eq!((ended.len(), engine.in_flight()), (100, 0));
    }
}

#[test]
fn a_request_that_waits_here_is_cancelled_here() {
    let kernel = FakeKernel::new(2, 0);
    let mut engine: FakeEngine = kernel.engine();
    let stuck = names(8);
    let mut ended = Vec::new();
    for name in stuck {
        submit(&mut engine, &kernel, name, 4, &mut ended);
    }
    engine.drive(Wait::No, &mut ended).unwrap();
    let enters = kernel.state().enters;
    let mine = names(10_000);
    for name in mine.clone() {
        let hint = submit(&mut engine, &kernel, name, 4, &mut ended);
        engine.cancel(id(name), hint.load(Ordering::Relaxed), &mut ended);
        // A second cancel, or one with a stale hint, finds nobody.
        engine.cancel(id(name), hint.load(Ordering::Relaxed), &mut ended);
    }
    assert_eq!(ended.len(), mine.len());
    assert_eq!(kernel.state().enters, enters, "no system call was needed");
    assert!(engine.waiting_keys() < 1_000, "cancelled requests pile up");
}

#[test]
fn a_refused_call_is_reported_and_loses_nothing() {
    for errno in [Errno::NOMEM, Errno::AGAIN, Errno::BUSY] {
        let kernel = FakeKernel::new(8, 0);
        let mut engine: FakeEngine = kernel.engine();
        let mine = names(4);
        let mut ended = Vec::new();
        for name in mine.clone() {
            submit(&mut engine, &kernel, name, 4, &mut ended);
        }
        kernel.state().refusals.extend([errno; 100]);
        let error = engine.drive(Wait::No, &mut ended).unwrap_err();
        assert_eq!(error.os_code(), Some(errno.raw_os_error()));
        assert!(ended.is_empty());
        kernel.state().refusals.clear();
        engine.drive(Wait::No, &mut ended).unwrap();
        kernel.state().complete_all();
        engine.drive(Wait::No, &mut ended).unwrap();
        assert_eq!(ended.len(), 4);
    }
}

#[test]
fn past_the_limit_a_request_fails_and_the_others_do_not() {
    let kernel = FakeKernel::new(2, 0);
    let mut engine = FakeEngine::new(kernel.clone(), super::fake::WAKE_FD, 3);
    let mine = names(4);
    let mut ended = Vec::new();
    for name in mine.clone() {
        submit(&mut engine, &kernel, name, 4, &mut ended);
    }
    let last = mine.end - 1;
    assert_eq!(ended, [(last, 0, FakeAnswer::Failed(ErrorKind::LimitReached))]);
    while engine.in_flight() > 0 {
        engine.drive(Wait::No, &mut ended).unwrap();
        kernel.state().complete_all();
    }
    assert_eq!(ended.len(), 4);
}

#[test]
fn a_wake_up_ends_a_sleep_and_is_armed_again() {
    let kernel = FakeKernel::new(2, 0);
    kernel.state().on_enter = |state, wait| {
        if wait != Wait::No {
            let more = state.random.one_in(2);
            state.wake(more);
        }
    };
    let mut engine: FakeEngine = kernel.engine();
    let mut ended = Vec::new();
    for _ in 0..20 {
        engine.drive(NAP, &mut ended).unwrap();
        assert!(engine.take_woken());
        let armed = kernel.state().held.iter().filter(|held| held.is_wake()).count();
        assert_eq!(armed, 1);
    }
}

#[test]
fn a_broken_ring_frees_nothing_that_the_kernel_holds() {
    let kernel = FakeKernel::new(8, 0);
    let mut engine: FakeEngine = kernel.engine();
    let mine = names(3);
    let mut ended = Vec::new();
    for name in mine.clone() {
        submit(&mut engine, &kernel, name, 4, &mut ended);
    }
    engine.drive(Wait::No, &mut ended).unwrap();
    kernel.state().broken = true;
    submit(&mut engine, &kernel, names(1).start, 4, &mut ended);
    assert!(engine.drive(Wait::No, &mut ended).is_err());
    let before = super::leaked_requests();
    drop(engine);
    assert!(super::leaked_requests() >= before + 3);
    assert_never_dropped_under_the_kernel(&mine);
}

/// Without multishot polls (before Linux 5.13) what the wake-up watches stays readable until the driver
/// has drained it; to be told again before that is for nothing, and for ever.
#[test]
fn a_wake_up_of_one_shot_is_armed_again_only_after_it_was_taken() {
    let kernel = FakeKernel::new(4, 0);
    kernel.state().on_enter = |state, _| {
        assert!(state.enters < 100, "armed again and again");
        if let Some(at) = state.held.iter().position(Held::is_wake) {
            let one_shot = matches!(state.held[at].call, Call::Poll { multishot: false, .. });
            match (one_shot, state.readable) {
                (false, _) => state.complete(at, code(Errno::INVAL)),
                (true, true) => state.complete(at, 1),
                (true, false) => {}
            }
        }
    };
    let mut engine: FakeEngine = kernel.engine();
    let mut ended = Vec::new();
    engine.drive(Wait::No, &mut ended).unwrap();
    assert!(engine.wake_is_level() && !engine.take_woken());
    for _ in 0..3 {
        kernel.state().readable = true;
        engine.drive(NAP, &mut ended).unwrap();
        engine.drive(NAP, &mut ended).unwrap();
        assert!(engine.take_woken());
        kernel.state().readable = false;
        engine.arm(&mut ended).unwrap();
        assert!(kernel.state().held.iter().any(Held::is_wake), "a sleeper on the handle is told");
        assert!(!engine.take_woken());
    }
}
