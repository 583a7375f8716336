//! Owned buffers at an alignment of the user's choice, kept for use again.
#![allow(unsafe_code)]

use alloc::alloc::{alloc_zeroed, dealloc};
use core::{
    alloc::Layout,
    fmt,
    num::NonZero,
    ops::{Deref, DerefMut},
    ptr::NonNull,
    slice,
};

use super::{IntoPacket, MemoryPacket, StableMemory, perms::PacketPerms};
use crate::error::{Error, ErrorKind, Result, Tried};

/// An owned buffer whose address is a multiple of a given number, as direct I/O asks for (`O_DIRECT` in
/// `open(2)`, `FILE_FLAG_NO_BUFFERING`).
///
/// It is made zeroed, derefs to its bytes, and is sent like a vector: moved in, and given back beside the
/// outcome. Dropped buffers are kept by the thread that drops them and serve the next buffers of the
/// same length and alignment, so that in steady state nothing is allocated: at most 64 buffers of 4 MiB
/// together for each thread; what is beyond that is freed. Without the feature `std` none is kept.
///
/// ```
/// use mfio::packet::AlignedBuf;
///
/// let mut buf = AlignedBuf::new(8192, 4096)?;
/// assert_eq!(buf.as_ptr().addr() % 4096, 0);
/// assert!(buf.iter().all(|byte| *byte == 0));
/// buf[0] = 1;
/// # Ok::<_, mfio::error::Error>(())
/// ```
pub struct AlignedBuf {
    data: NonNull<u8>,
    layout: Layout,
}

// SAFETY: it owns its bytes alone.
unsafe impl Send for AlignedBuf {}
// SAFETY: shared, it can only be read.
unsafe impl Sync for AlignedBuf {}

impl AlignedBuf {
    /// `len` zero bytes at a multiple of `align`, which is a power of two.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] where `align` is no power of two, or the length is more than memory can
    /// be; [`ErrorKind::OutOfMemory`] where there is none left.
    pub fn new(len: usize, align: usize) -> Result<Self> {
        let Ok(layout) = Layout::from_size_align(len, align) else {
            return Err(Error::new(ErrorKind::InvalidInput, Tried::Request));
        };
        if len == 0 {
            let data = NonZero::new(align).map_or(NonNull::dangling(), NonNull::without_provenance);
            return Ok(Self { data, layout });
        }
        if let Some(data) = idle::pop(layout) {
            // SAFETY: an idle buffer of this layout, which is nobody else's.
            unsafe { data.write_bytes(0, len) };
            return Ok(Self { data, layout });
        }
        // SAFETY: the length is not 0.
        match NonNull::new(unsafe { alloc_zeroed(layout) }) {
            Some(data) => Ok(Self { data, layout }),
            None => Err(super::borrowed::NO_MEMORY),
        }
    }

    /// The number that the address is a multiple of, as asked for.
    #[must_use]
    pub fn alignment(&self) -> usize {
        self.layout.align()
    }
}

impl Deref for AlignedBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the buffer's own bytes, initialised from the start.
        unsafe { slice::from_raw_parts(self.data.as_ptr(), self.layout.size()) }
    }
}

impl DerefMut for AlignedBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, borrowed exclusively.
        unsafe { slice::from_raw_parts_mut(self.data.as_ptr(), self.layout.size()) }
    }
}

impl fmt::Debug for AlignedBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AlignedBuf")
            .field("len", &self.len())
            .field("alignment", &self.alignment())
            .finish_non_exhaustive()
    }
}

impl Drop for AlignedBuf {
    fn drop(&mut self) {
        if self.layout.size() > 0 && !idle::push(self.layout, self.data) {
            // SAFETY: allocated with this layout, and not used again.
            unsafe { dealloc(self.data.as_ptr(), self.layout) };
        }
    }
}

// SAFETY: the buffer's bytes are allocated, its own, initialised, and do not move with it.
unsafe impl StableMemory for AlignedBuf {
    fn memory(&mut self) -> (*mut u8, usize) {
        (self.data.as_ptr(), self.layout.size())
    }
}

impl<P: PacketPerms> IntoPacket<P> for AlignedBuf {
    type Store = MemoryPacket<P, Self>;
    type Output = (Result<()>, Self);

    fn into_packet(self) -> Self::Store {
        self.into()
    }

    fn settle(store: Self::Store, outcome: Result<()>) -> Self::Output {
        (outcome, store.take())
    }
}

#[cfg(all(feature = "std", not(loom)))]
mod idle {
    //! What a thread keeps.
    use super::{Layout, NonNull, dealloc};
    use core::cell::RefCell;

    /// Buffers kept at most: more than are in flight at once with the usual depths of a thread.
    const BUFFERS: usize = 64;
    /// Their bytes at most.
    const BYTES: usize = 4 << 20;

    struct Idle {
        kept: [Option<(Layout, NonNull<u8>)>; BUFFERS],
        bytes: usize,
    }

    std::thread_local! {
        static IDLE: RefCell<Idle> = const { RefCell::new(Idle { kept: [None; BUFFERS], bytes: 0 }) };
    }

    pub(super) fn pop(layout: Layout) -> Option<NonNull<u8>> {
        let pop = |idle: &RefCell<Idle>| {
            let mut idle = idle.borrow_mut();
            let fits = |kept: &&mut Option<_>| kept.as_ref().is_some_and(|(l, _)| *l == layout);
            let (_, data) = idle.kept.iter_mut().find(fits)?.take()?;
            idle.bytes -= layout.size();
            Some(data)
        };
        IDLE.try_with(pop).ok()?
    }

    /// Whether it is kept.
    pub(super) fn push(layout: Layout, data: NonNull<u8>) -> bool {
        let push = |idle: &RefCell<Idle>| {
            let mut idle = idle.borrow_mut();
            if idle.bytes.saturating_add(layout.size()) > BYTES {
                return false;
            }
            let Some(place) = idle.kept.iter_mut().find(|kept| kept.is_none()) else {
                return false;
            };
            *place = Some((layout, data));
            idle.bytes += layout.size();
            true
        };
        // At the end of a thread what it kept is gone, and the buffer is freed.
        IDLE.try_with(push).unwrap_or(false)
    }

    impl Drop for Idle {
        fn drop(&mut self) {
            for (layout, data) in self.kept.iter_mut().filter_map(Option::take) {
                // SAFETY: `push` passed the buffer of this layout on to here.
                unsafe { dealloc(data.as_ptr(), layout) };
            }
        }
    }
}

#[cfg(not(all(feature = "std", not(loom))))]
mod idle {
    //! Without threads' own storage, nothing is kept.
    use super::{Layout, NonNull};

    pub(super) fn pop(_layout: Layout) -> Option<NonNull<u8>> {
        None
    }

    pub(super) fn push(_layout: Layout, _data: NonNull<u8>) -> bool {
        false
    }
}
