//! The end of a runtime against the fake kernel.

use super::*;

/// What ends in time is answered; what never does stays whole.
fn end_with(
    mode: Mode,
    act: fn(&mut State, Wait),
) -> (FakeKernel, Vec<Outcome>, mpsc::Receiver<Outcome>) {
    static LATE: Mutex<Option<mpsc::Sender<Outcome>>> = Mutex::new(None);
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap();
    let (sender, receiver) = mpsc::channel();
    *LATE.lock().unwrap() = Some(sender);
    let kernel = FakeKernel::new(4, 0);
    kernel.state().on_enter = act;
    let mut engine: FakeEngine = kernel.engine();
    let mut ended = Vec::new();
    for name in names(12) {
        submit(&mut engine, &kernel, name, 4, &mut ended);
    }
    engine.drive(Wait::No, &mut ended).unwrap();
    let finish = |outcome: Outcome| {
        let late = LATE.lock().unwrap().clone().unwrap();
        late.send(outcome).unwrap();
        // As a waker of the user's may; the reaper has others to finish.
        assert_ne!(outcome.0 % 2, 0, "meant to happen");
    };
    let patience = Duration::from_millis(50);
    super::super::end::end(engine, mode, patience, (), finish, &mut ended);
    // The reaper clones the sender at its first outcome; give it that one now.
    let in_kernel = kernel.state().held.iter().any(|held| !held.is_wake());
    if mode == Mode::Shared && in_kernel {
        kernel.state().complete_all();
        let first = receiver.recv_timeout(Duration::from_secs(20)).unwrap();
        ended.push(first);
        while ended.len() < 12 {
            ended.push(receiver.recv_timeout(Duration::from_secs(20)).unwrap());
        }
    }
    (kernel, ended, receiver)
}

#[test]
fn the_end_cancels_what_can_be_cancelled() {
    let obey: fn(&mut State, Wait) = |state, _| {
        for cancel in std::mem::take(&mut state.cancels) {
            settle_cancel(state, cancel, |_| 1);
        }
    };
    for mode in [Mode::Shared, Mode::Pinned] {
        let (_, ended, _) = end_with(mode, obey);
        assert_eq!(ended.len(), 12);
    }
}

#[test]
fn what_never_ends_is_reaped_later_or_leaked_but_never_freed() {
    let (kernel, ended, _) = end_with(Mode::Shared, |_, _| {});
    assert_eq!(ended.len(), 12, "the reaper finishes what ends late");
    assert!(kernel.state().cancels_seen > 0);

    let before = super::super::leaked_requests();
    let (kernel, ended, _) = end_with(Mode::Pinned, |_, _| {});
    let kept = 12 - ended.len();
    assert!(kept > 0);
    assert!(super::super::leaked_requests() >= before + kept);
    let state = kernel.state();
    let held: Vec<_> = state.held.iter().map(Held::fd).collect();
    let dropped = DROPPED_UNDER_THE_KERNEL.lock().unwrap();
    assert!(held.iter().all(|fd| !dropped.contains(fd)));
    assert_eq!(state.deserted.len(), kept, "who waits for one of these is told");
}

/// A wake-up that comes in at the end is nobody's: with it left pending, no drive would sleep again.
#[test]
fn the_end_sleeps_though_a_wake_up_came() {
    let asleep: fn(&mut State, Wait) = |state, wait| match wait {
        Wait::No => {}
        _ if state.cancels_seen == 0 => {}
        _ if state.past.is_empty() => {
            // The first sleep of the end: woken for nothing, and one request ends.
            state.wake(true);
            let at = state.held.iter().position(|held| !held.is_wake()).unwrap();
            let full = full_result(&state.held[at].call);
            state.complete(at, full);
        }
        _ => state.complete_all(),
    };
    for mode in [Mode::Shared, Mode::Pinned] {
        let (_, ended, _) = end_with(mode, asleep);
        assert_eq!(ended.len(), 12, "{mode:?}");
    }
}

#[test]
fn a_call_refused_at_the_end_is_made_again() {
    let refusing: fn(&mut State, Wait) = |state, _| {
        if state.cancels_seen > 0 && !std::mem::replace(&mut state.readable, true) {
            state.refusals.extend([Errno::NOMEM, Errno::NOMEM]);
            return;
        }
        for cancel in std::mem::take(&mut state.cancels) {
            settle_cancel(state, cancel, |_| 1);
        }
    };
    for mode in [Mode::Shared, Mode::Pinned] {
        let (_, ended, _) = end_with(mode, refusing);
        assert_eq!(ended.len(), 12, "{mode:?}");
    }
}

/// A cancel finds nothing while its target moves from one list of the kernel to another (`ENOENT`), or
/// comes as it starts to run (`EALREADY`).
#[test]
fn a_cancel_that_missed_at_the_end_is_asked_again() {
    let missing: fn(&mut State, Wait) = |state, _| {
        for cancel in std::mem::take(&mut state.cancels) {
            if state.cancels_seen <= 2 {
                state.post(cancel.user_data, code(Errno::NOENT), false);
            } else {
                settle_cancel(state, cancel, |_| 1);
            }
        }
    };
    for mode in [Mode::Shared, Mode::Pinned] {
        let (kernel, ended, _) = end_with(mode, missing);
        assert_eq!(ended.len(), 12, "{mode:?}");
        assert!(kernel.state().moved.is_empty(), "{mode:?}: left to end by itself");
    }
}
