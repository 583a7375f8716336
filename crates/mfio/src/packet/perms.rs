//! What a backend may do with a packet's bytes.
//!
//! Permissions are named from the backend's side of the door: a [`Write`] packet is *filled* by the
//! backend (the user reads), a [`Read`] packet is *drained* by it (the user writes), and with
//! [`ReadWrite`] it may do both.

mod sealed {
    pub trait Sealed {}
}

/// One of [`Read`], [`Write`], [`ReadWrite`]. Sealed.
pub trait PacketPerms:
    sealed::Sealed + Copy + Send + Sync + Unpin + core::fmt::Debug + 'static
{
    /// Whether the packet's memory holds the user's bytes before it is sent.
    const HOLDS_BYTES: bool;
}

/// The backend drains the packet: the user writes to the object.
#[derive(Clone, Copy, Debug)]
pub struct Read;

/// The backend fills the packet: the user reads from the object.
#[derive(Clone, Copy, Debug)]
pub struct Write;

/// The backend drains and fills the packet.
#[derive(Clone, Copy, Debug)]
pub struct ReadWrite;

impl sealed::Sealed for Read {}
impl sealed::Sealed for Write {}
impl sealed::Sealed for ReadWrite {}

impl PacketPerms for Read {
    const HOLDS_BYTES: bool = true;
}

impl PacketPerms for Write {
    const HOLDS_BYTES: bool = false;
}

impl PacketPerms for ReadWrite {
    const HOLDS_BYTES: bool = true;
}

/// Permissions under which a backend may put bytes into the packet.
pub trait Fillable: PacketPerms {}

/// Permissions under which a backend may take bytes out of the packet.
pub trait Drainable: PacketPerms {}

impl Fillable for Write {}
impl Fillable for ReadWrite {}
impl Drainable for Read {}
impl Drainable for ReadWrite {}
