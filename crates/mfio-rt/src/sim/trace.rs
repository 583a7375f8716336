//! What a run was, as one number.

use core::time::Duration;

/// FNV-1a, 64 bits: the same on every machine.
const START: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

/// A hash over all that happened.
#[derive(Clone, Debug)]
pub(crate) struct Trace(u64);

impl Trace {
    pub(crate) const fn new() -> Self {
        Self(START)
    }

    pub(crate) fn add_bytes(&mut self, bytes: &[u8]) {
        self.add_len(bytes.len());
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(PRIME);
        }
    }

    /// Byte by byte, the lowest first, whatever the machine's order is.
    pub(crate) fn add(&mut self, number: u64) {
        for byte in number.to_le_bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(PRIME);
        }
    }

    pub(crate) fn add_len(&mut self, len: usize) {
        self.add(u64::try_from(len).unwrap_or(u64::MAX));
    }

    pub(crate) fn add_duration(&mut self, duration: Duration) {
        self.add(duration.as_secs());
        self.add(u64::from(duration.subsec_nanos()));
    }

    pub(crate) const fn hash(&self) -> u64 {
        self.0
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_hash_that_others_call_so() {
        let mut trace = Trace::new();
        for byte in b"foobar" {
            trace.0 = (trace.0 ^ u64::from(*byte)).wrapping_mul(PRIME);
        }
        assert_eq!(trace.hash(), 0x8594_4171_f739_67e8);
    }
}
