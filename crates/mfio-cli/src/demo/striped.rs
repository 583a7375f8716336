//! A layer as any user could write it: one object over two, as a RAID-0 array has its disks.
//!
//! A request is cut at the borders of the stripes, and each part sent on, to one half or the other,
//! at an address of its own. The bytes go straight between the user's memory and the halves: the
//! layer never sees them.

use mfio::prelude::v1::*;

/// Bytes of a stripe: odd on purpose, so that requests are cut in unusual places.
pub(super) const STRIPE: u64 = 60_001;

/// Even stripes are in the first half, odd ones in the second.
#[derive(Debug)]
pub(super) struct Striped<Io> {
    halves: [Io; 2],
}

impl<Io> Striped<Io> {
    /// One object of the two.
    pub(super) const fn new(even: Io, odd: Io) -> Self {
        Self { halves: [even, odd] }
    }

    /// Where `pos` is: which half, at what position in it, and how far it is to the stripe's end.
    fn locate(&self, pos: u64) -> (&Io, u64, u64) {
        let (stripe, within) = (pos / STRIPE, pos % STRIPE);
        let [even, odd] = &self.halves;
        let half = if stripe.is_multiple_of(2) { even } else { odd };
        (half, stripe / 2 * STRIPE + within, STRIPE - within)
    }
}

impl<P: PacketPerms, Io: PacketIo<P, u64>> PacketIo<P, u64> for Striped<Io> {
    fn send_io(&self, mut pos: u64, mut view: BoundPacketView<P>) {
        loop {
            let (half, there, room) = self.locate(pos);
            if view.len() <= room {
                return half.send_io(there, view);
            }
            let (now, rest) = view.split_at(room);
            half.send_io(there, now);
            let Some(next) = pos.checked_add(room) else {
                return; // past the last position: the rest is dropped, and so fails
            };
            (pos, view) = (next, rest);
        }
    }

    fn cancel_io(&self, packet: &Packet<P>) {
        self.halves.iter().for_each(|half| half.cancel_io(packet));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_position_has_one_place() {
        let striped = Striped::new('a', 'b');
        assert_eq!(striped.locate(0), (&'a', 0, STRIPE));
        assert_eq!(striped.locate(STRIPE - 1), (&'a', STRIPE - 1, 1));
        assert_eq!(striped.locate(STRIPE), (&'b', 0, STRIPE));
        assert_eq!(striped.locate(2 * STRIPE + 5), (&'a', STRIPE + 5, STRIPE - 5));
    }
}
