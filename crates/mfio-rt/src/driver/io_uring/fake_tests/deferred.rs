//! Work that the kernel puts off, or says it has.

use super::*;

/// Linux 6.18 leaves `IORING_SQ_TASKRUN` set when a worker adds work, the ring's own thread runs it, and
/// the worker sets the flag only then. It stays until there is work again, be that hours later.
#[test]
fn a_flag_for_work_that_is_done_keeps_no_drive_for_ever() {
    let kernel = FakeKernel::new(8, 1);
    let mut engine: FakeEngine = kernel.engine();
    let name = names(1).start;
    let mut ended = Vec::new();
    submit(&mut engine, &kernel, name, 10, &mut ended);
    engine.drive(Wait::No, &mut ended).unwrap();
    kernel.state().stale_flag = true;
    kernel.state().on_enter = |state, _| assert!(state.enters < 100, "it enters again and again");
    engine.drive(Wait::No, &mut ended).unwrap();
    // Who sleeps is not kept from it.
    engine.drive(NAP, &mut ended).unwrap();
    // And what comes is taken.
    kernel.state().on_enter = |state, _| state.complete_all();
    engine.drive(Wait::No, &mut ended).unwrap();
    assert_eq!(ended, [(name, 10, FakeAnswer::Done)]);
}
