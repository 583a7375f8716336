//! What only Linux has: the event counter, `statx`, and calls with flags that others do not know.

use super::unix::{STAT_BLOCK, error_of, file_type_of_mode, wait_readable};
use crate::fs::{
    Alignment, Durability, FileId, Metadata, Owner, Permissions, RenameOnto, Timestamp,
};
use crate::net::Credentials;
use mfio::error::{Error, ErrorKind, Result, Tried};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{
    AtFlags, FallocateFlags, Mode, OFlags, RenameFlags, ResolveFlags, SeekFrom, Statx, StatxFlags,
    StatxTimestamp,
};
use rustix::io::{Errno, ReadWriteFlags};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use socket2::{MsgHdr, SockAddr, Socket};
use std::ffi::OsString;
use std::fs::File;
use std::io::{IoSlice, IoSliceMut};
use std::num::NonZeroU16;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::Duration;

/// An event counter (`eventfd(2)`): readable while it is not zero.
#[derive(Debug)]
pub(super) struct Doorbell(OwnedFd);

impl From<OwnedFd> for Doorbell {
    /// `counter` is an event counter that does not block.
    fn from(counter: OwnedFd) -> Self {
        Self(counter)
    }
}

impl Doorbell {
    pub(super) fn new() -> Result<Self> {
        eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map(Self)
            .map_err(error_of(Tried::Build))
    }

    pub(super) fn ring(&self) {
        // It can only fail when the counter is full, and then the handle is readable already.
        let _ = rustix::io::retry_on_intr(|| rustix::io::write(&self.0, &1_u64.to_ne_bytes()));
    }

    /// Whether it had been rung.
    pub(super) fn silence(&self) -> bool {
        // It can only fail when the counter is zero, and then the handle is unreadable already.
        rustix::io::retry_on_intr(|| rustix::io::read(&self.0, &mut [0_u8; 8])).is_ok()
    }

    pub(super) fn wait(&self, timeout: Option<Duration>) -> Result<bool> {
        wait_readable(self.0.as_fd(), timeout)
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Metadata from what `statx(2)` filled, be it called directly or through a ring.
pub(crate) fn metadata_of_statx(from: &Statx) -> Metadata {
    let mode = u32::from(from.stx_mode);
    let has = |field: StatxFlags| from.stx_mask & field.bits() != 0;
    let time = |field, stamp| has(field).then(|| time_of(stamp));
    let device = rustix::fs::makedev(from.stx_dev_major, from.stx_dev_minor);
    Metadata {
        modified: time(StatxFlags::MTIME, &from.stx_mtime),
        accessed: time(StatxFlags::ATIME, &from.stx_atime),
        changed: time(StatxFlags::CTIME, &from.stx_ctime),
        created: time(StatxFlags::BTIME, &from.stx_btime),
        id: Some(FileId { device, inode: from.stx_ino }),
        owner: Some(Owner { user: from.stx_uid, group: from.stx_gid }),
        links: Some(u64::from(from.stx_nlink)),
        allocated: Some(from.stx_blocks.saturating_mul(STAT_BLOCK)),
        ..Metadata::new(file_type_of_mode(mode), from.stx_size, Permissions::from_mode(mode))
    }
}

fn time_of(stamp: &StatxTimestamp) -> Timestamp {
    // Nanoseconds count forward, before the epoch too.
    Timestamp::new(stamp.tv_sec, stamp.tv_nsec)
}

/// What to ask `statx(2)` for.
pub(crate) fn statx_wanted() -> StatxFlags {
    StatxFlags::BASIC_STATS | StatxFlags::BTIME
}

/// Metadata of what has a name.
pub(super) fn stat_at(
    dir: BorrowedFd<'_>,
    path: &[u8],
    flags: AtFlags,
) -> rustix::io::Result<Metadata> {
    let found = rustix::io::retry_on_intr(|| rustix::fs::statx(dir, path, flags, statx_wanted()))?;
    Ok(metadata_of_statx(&found))
}

/// Refer to an object without a permission on it, to start paths at or to look at it.
pub(super) const REFERENCE: OFlags = OFlags::PATH;

/// A call is about the descriptor itself.
pub(super) const EMPTY_PATH: AtFlags = AtFlags::EMPTY_PATH;

/// Go round the cache.
pub(super) const DIRECT: Option<OFlags> = Some(OFlags::DIRECT);

/// Attempts at a walk that others disturb by renaming on its way.
const WALKS: usize = 64;

/// What keeps a walk below where it started.
pub(crate) fn beneath() -> ResolveFlags {
    ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS
}

/// Opens what a path that may not lead out of `dir` leads to (`openat2(2)`).
pub(super) fn open_beneath(
    dir: BorrowedFd<'_>,
    path: &[u8],
    flags: OFlags,
    mode: Mode,
) -> rustix::io::Result<OwnedFd> {
    // This call, unlike its elders, refuses permission bits for a file that it would not create.
    let mode = if flags.contains(OFlags::CREATE) { mode } else { Mode::empty() };
    let mut opened = Err(Errno::AGAIN);
    for _ in 0..WALKS {
        opened = rustix::fs::openat2(dir, path, flags, mode, beneath());
        // Again where somebody renamed something just when the walk went up.
        if !matches!(opened, Err(Errno::AGAIN | Errno::INTR)) {
            break;
        }
    }
    opened
}

/// A path by which any call reaches what a descriptor refers to.
pub(super) fn name_of(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// Where a directory is.
pub(super) fn path_of(dir: BorrowedFd<'_>) -> Result<PathBuf> {
    let error = error_of(Tried::Stat);
    let told = rustix::fs::readlink(name_of(dir), Vec::new()).map_err(&error)?;
    let path = PathBuf::from(OsString::from_vec(told.into_bytes()));
    // Of one that was removed, the system tells where it had been, and more.
    let (here, there) = (rustix::fs::fstat(dir), rustix::fs::stat(&path));
    match (here, there) {
        (Ok(here), Ok(there)) if (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino) => {
            Ok(path)
        }
        (Err(errno), _) => Err(error(errno)),
        _ => Err(error(Errno::NOENT)),
    }
}

/// Renames without replacing, or swaps.
pub(super) fn rename(
    from: BorrowedFd<'_>,
    old: &[u8],
    to: BorrowedFd<'_>,
    new: &[u8],
    exchange: bool,
) -> rustix::io::Result<()> {
    let onto = if exchange { RenameOnto::Exchange } else { RenameOnto::Nothing };
    rustix::fs::renameat_with(from, old, to, new, rename_flags(onto))
}

/// What tells a rename what to do with what has the new name.
pub(crate) fn rename_flags(onto: RenameOnto) -> RenameFlags {
    match onto {
        RenameOnto::Replace => RenameFlags::empty(),
        RenameOnto::Nothing => RenameFlags::NOREPLACE,
        RenameOnto::Exchange => RenameFlags::EXCHANGE,
    }
}

/// What a write says to be durable when it ends.
pub(crate) fn durability_flags(durability: Durability) -> ReadWriteFlags {
    match durability {
        Durability::Cached => ReadWriteFlags::empty(),
        Durability::Data => ReadWriteFlags::DSYNC,
        Durability::All => ReadWriteFlags::SYNC,
    }
}

/// One write that is durable when it returns (`pwritev2(2)`). `None` where the system does not know that.
pub(super) fn write_durably(
    file: &File,
    pos: u64,
    list: &[IoSlice<'_>],
    durability: Durability,
) -> Option<rustix::io::Result<usize>> {
    match rustix::io::pwritev2(file, list, pos, durability_flags(durability)) {
        // An object without positions has nothing to make durable either: a plain write says so.
        Err(Errno::NOSYS | Errno::OPNOTSUPP | Errno::SPIPE) => None,
        written => Some(written),
    }
}

/// No position: the next bytes.
const NO_POSITION: u64 = u64::MAX;

/// One read that does not wait (`preadv2(2)`). `None` where the file does not know that.
pub(super) fn read_now(
    file: impl AsFd,
    list: &mut [IoSliceMut<'_>],
) -> Option<rustix::io::Result<usize>> {
    match rustix::io::preadv2(file, list, NO_POSITION, ReadWriteFlags::NOWAIT) {
        Err(Errno::NOSYS | Errno::OPNOTSUPP) => None,
        read => Some(read),
    }
}

/// One write that does not wait (`pwritev2(2)`). `None` where the file does not know that.
pub(super) fn write_now(
    file: impl AsFd,
    list: &[IoSlice<'_>],
) -> Option<rustix::io::Result<usize>> {
    match rustix::io::pwritev2(file, list, NO_POSITION, ReadWriteFlags::NOWAIT) {
        Err(Errno::NOSYS | Errno::OPNOTSUPP) => None,
        written => Some(written),
    }
}

/// Sends what the system makes datagrams of `segment` bytes of (`UDP_SEGMENT`, `udp(7)`).
pub(super) fn send_segments(
    socket: &Socket,
    pieces: &[IoSlice<'_>],
    to: Option<&SockAddr>,
    segment: NonZeroU16,
) -> Result<usize> {
    let control = segment_control(segment);
    let bytes = control.map(u64::to_ne_bytes);
    let message = MsgHdr::new().with_buffers(pieces).with_control(bytes.as_flattened());
    let message = match to {
        Some(to) => message.with_addr(to),
        None => message,
    };
    let sent = socket.sendmsg(&message, super::unix::SEND_FLAGS);
    sent.map_err(|error| Error::from(error).with_tried(Tried::Write))
}

/// What it says where there are too many of them or too many bytes, or where the device or a route does not take it.
pub(super) fn refuses_segments(code: i32) -> bool {
    [Errno::IO, Errno::INVAL, Errno::MSGSIZE, Errno::OPNOTSUPP, Errno::NOPROTOOPT]
        .iter()
        .any(|errno| errno.raw_os_error() == code)
}

/// The control message (`cmsg(3)`) that says so, as the kernel has it: its length, `SOL_UDP` and `UDP_SEGMENT`, and
/// the bytes of each datagram.
pub(crate) fn segment_control(segment: NonZeroU16) -> [u64; 3] {
    const HEADER_AND_VALUE: u64 = 16 + 2;
    const SOL_UDP: i32 = 17;
    const UDP_SEGMENT: i32 = 103;
    let mut kind = [0; 8];
    let (level, name) = kind.split_at_mut(4);
    level.copy_from_slice(&SOL_UDP.to_ne_bytes());
    name.copy_from_slice(&UDP_SEGMENT.to_ne_bytes());
    let mut value = [0; 8];
    let (first, _) = value.split_at_mut(2);
    first.copy_from_slice(&segment.get().to_ne_bytes());
    [HEADER_AND_VALUE, u64::from_ne_bytes(kind), u64::from_ne_bytes(value)]
}

/// What has this descriptor, opened once more, by its name in `/proc`: an open file of our own. Nothing where that is
/// not possible, as for want of permission, or of `/proc`.
pub(super) fn reopened(stream: BorrowedFd<'_>) -> Option<OwnedFd> {
    let access = rustix::fs::fcntl_getfl(stream).ok()? & OFlags::RWMODE;
    let path = format!("/proc/self/fd/{}", stream.as_raw_fd());
    // So that it is opened at once, and becomes no terminal of the process.
    let flags = access | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    rustix::fs::open(path, flags, Mode::empty()).ok()
}

/// The same for a terminal. Other devices are left alone, as is what opens a new terminal each time.
pub(super) fn reopened_terminal(stream: BorrowedFd<'_>, device: u64) -> Option<OwnedFd> {
    const MAKES_TERMINALS: (u32, u32) = (5, 2);
    let is_maker = (rustix::fs::major(device), rustix::fs::minor(device)) == MAKES_TERMINALS;
    let is_one = std::io::IsTerminal::is_terminal(&stream) && !is_maker;
    is_one.then(|| reopened(stream)).flatten()
}

/// Reserves storage (`fallocate(2)`).
pub(super) fn allocate(file: &File, pos: u64, len: u64) -> rustix::io::Result<()> {
    rustix::fs::fallocate(file, FallocateFlags::empty(), pos, len)
}

/// Gives storage back, of a block device, too.
pub(super) fn punch_hole(file: &File, pos: u64, len: u64) -> rustix::io::Result<()> {
    rustix::fs::fallocate(file, punch_hole_mode(), pos, len)
}

/// What tells `fallocate(2)` to punch a hole.
pub(crate) fn punch_hole_mode() -> FallocateFlags {
    FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE
}

/// Where data (or, `false`, a hole) begins, at or after `pos`.
pub(super) fn seek(file: &File, pos: u64, data: bool) -> rustix::io::Result<u64> {
    rustix::fs::seek(file, if data { SeekFrom::Data(pos) } else { SeekFrom::Hole(pos) })
}

/// What direct transfers are to be aligned to, where the system tells (Linux 6.1).
pub(super) fn alignment(file: &File) -> Result<Option<Alignment>> {
    let found = rustix::fs::statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN)
        .map_err(error_of(Tried::Stat))?;
    if found.stx_mask & StatxFlags::DIOALIGN.bits() == 0 {
        return Ok(None);
    }
    let memory = usize::try_from(found.stx_dio_mem_align).unwrap_or(0);
    let offset = u64::from(found.stx_dio_offset_align);
    if memory == 0 || offset == 0 {
        return Err(Error::new(ErrorKind::Unsupported, Tried::Stat));
    }
    Ok(Some(Alignment { memory, offset }))
}

/// Lets `to` share the storage of `from`, whole.
pub(super) fn clone_file(from: &File, to: &File) -> rustix::io::Result<()> {
    rustix::fs::ioctl_ficlone(to, from)
}

/// Copies up to `len` bytes at `pos` inside the kernel. `None` where it cannot.
pub(super) fn copy_range(
    from: &File,
    to: &File,
    pos: u64,
    len: usize,
) -> Option<rustix::io::Result<usize>> {
    let (mut at_from, mut at_to) = (pos, pos);
    match rustix::fs::copy_file_range(from, Some(&mut at_from), to, Some(&mut at_to), len) {
        Err(
            Errno::XDEV
            | Errno::INVAL
            | Errno::NOSYS
            | Errno::OPNOTSUPP
            | Errno::PERM
            | Errno::BADF,
        ) => None,
        copied => Some(copied),
    }
}

/// Whether Unix sockets have names that are no files.
pub(super) const HAS_ABSTRACT_NAMES: bool = true;

/// The name of an address that is no file.
pub(super) fn abstract_name(addr: &SockAddr) -> Option<&[u8]> {
    addr.as_abstract_namespace()
}

/// Who is at the other side of a Unix socket (`SO_PEERCRED`).
pub(super) fn peer_credentials(socket: &Socket) -> Result<Credentials> {
    let peer = rustix::net::sockopt::socket_peercred(socket);
    let peer = peer.map_err(error_of(Tried::SocketOption))?;
    let pid = u32::try_from(peer.pid.as_raw_nonzero().get()).ok();
    Ok(Credentials::new(pid, peer.uid.as_raw(), peer.gid.as_raw()))
}

/// Keeps the calling thread on one core: that of this index among those that it may use, counted round. Says
/// whether the system did (`sched_setaffinity(2)`).
pub(crate) fn pin_thread(index: usize) -> bool {
    let Ok(allowed) = sched_getaffinity(None) else { return false };
    let cores: Vec<_> = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).collect();
    let Some(core) = index.checked_rem(cores.len()).and_then(|place| cores.get(place)) else {
        return false;
    };
    let mut one = CpuSet::new();
    one.set(*core);
    sched_setaffinity(None, &one).is_ok()
}
