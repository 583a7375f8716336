//! Tests of the driver as a whole.

use super::*;
use crate::driver::testing::{TestHome, finish_all, socket_pair, within_limits};
use std::sync::Arc;

#[test]
fn bytes_arrive_by_the_handle_alone() {
    within_limits(|| {
        let mut driver = Mio::new(PoolLimits::default()).unwrap();
        let mut ended = Ended::new();
        let (near, far) = socket_pair();
        let lane = Arc::new(TestHome::default());
        for round in 0..100_u8 {
            driver.submit(lane.receive(&near, 9), &mut ended);
            assert!(ended.is_empty());
            assert_eq!(far.send(&[round]).unwrap(), 1);
            driver.drive(Wait::Until(None), &mut ended).unwrap();
            finish_all(&mut ended);
            assert_eq!(lane.received(), [round]);
        }
        assert_eq!(driver.in_flight(), 0);
    });
}
