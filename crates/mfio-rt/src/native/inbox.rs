//! What waits for the driver while somebody else has it.
//!
//! Requests and cancels wait in the order in which they came. A request that waits has its place here as
//! its hint, so that a cancel takes it out again without a search, and without the driver. A cancel of a
//! request that the driver has already waits behind everything that was here before: by the time that it
//! is heard, no other request can have got the name of the one that is meant.

use mfio::error::{Error, ErrorKind};

use crate::driver::{
    Driver,
    op::{Answer, Ended, Op, RequestId},
    reply::NO_HINT,
};

/// Most messages that wait. Past it a request fails with `LimitReached`: whoever submits that much from
/// outside without anybody driving has no use for more.
const MAX_MESSAGES: usize = 1 << 20;

/// The lower half of the hint of a request that waits here; no driver has such a slot. The upper half is
/// the place.
const HERE: u64 = u32::MAX as u64;

/// What somebody wants of the driver.
pub(super) enum Wish<'a> {
    Submit(Op),
    /// End the named request early; how to read the note on it.
    Cancel(RequestId, &'a dyn Fn() -> u64),
}

enum Mail {
    Submit(Op),
    Cancel(RequestId, u64),
    /// A request that was cancelled before it got any further.
    TakenBack,
}

/// What waits for the driver, oldest first.
#[derive(Default)]
pub(super) struct Inbox {
    mail: Vec<Mail>,
}

impl Inbox {
    /// Keeps `op` for the driver, or says in `ended` that there is no room.
    pub(super) fn submit(&mut self, op: Op, ended: &mut Ended) {
        match u64::try_from(self.mail.len()) {
            Ok(place) if self.mail.len() < MAX_MESSAGES => {
                op.set_hint(place << 32 | HERE);
                self.mail.push(Mail::Submit(op));
            }
            _ => ended.push(failed(op, ErrorKind::LimitReached)),
        }
    }

    /// Takes the named request out if it waits here; else keeps the cancel for the driver. Without a
    /// hint it is in several parts, which may be anywhere.
    pub(super) fn cancel(&mut self, id: RequestId, hint: u64, ended: &mut Ended) {
        let places = if hint == NO_HINT { 0..self.mail.len() } else { place_of(hint) };
        for place in places {
            ended.extend(self.take_back(place, id).map(|op| failed(op, ErrorKind::Cancelled)));
        }
        if ended.is_empty() || hint == NO_HINT {
            self.mail.push(Mail::Cancel(id, hint));
        }
        // Somebody who sends and cancels for ever is not to fill this.
        while let Some(Mail::TakenBack) = self.mail.last() {
            self.mail.pop();
        }
    }

    fn take_back(&mut self, place: usize, id: RequestId) -> Option<Op> {
        let mail = self.mail.get_mut(place)?;
        if !matches!(mail, Mail::Submit(op) if op.id() == id) {
            return None;
        }
        match std::mem::replace(mail, Mail::TakenBack) {
            Mail::Submit(op) => Some(op),
            Mail::Cancel(..) | Mail::TakenBack => None,
        }
    }

    /// Hands everything to the driver.
    pub(super) fn deliver(&mut self, driver: &mut Driver, ended: &mut Ended) {
        for mail in self.mail.drain(..) {
            match mail {
                Mail::Submit(op) => driver.submit(op, ended),
                Mail::Cancel(id, hint) => driver.cancel(id, hint, ended),
                Mail::TakenBack => {}
            }
        }
    }

    /// The runtime has ended: requests fail with that, and there is nothing left to cancel.
    pub(super) fn return_to_senders(&mut self, ended: &mut Ended) {
        for mail in self.mail.drain(..) {
            if let Mail::Submit(op) = mail {
                ended.push(failed(op, ErrorKind::Ended));
            }
        }
    }
}

/// The place that a hint names, if it names one.
fn place_of(hint: u64) -> std::ops::Range<usize> {
    match usize::try_from(hint >> 32) {
        Ok(place) if hint & HERE == HERE => place..place.saturating_add(1),
        _ => 0..0,
    }
}

pub(super) fn failed(op: Op, kind: ErrorKind) -> (Op, Answer) {
    let answer = op.failed(Error::new(kind, op.tried()));
    (op, answer)
}
