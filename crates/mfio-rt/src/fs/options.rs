//! How files are opened.

/// What a write has made durable when it ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Durability {
    /// Nothing: the bytes are in the system's cache.
    #[default]
    Cached,
    /// The bytes, and what is needed to read them back (`O_DSYNC`, `RWF_DSYNC`).
    Data,
    /// The bytes and all metadata (`O_SYNC`, `RWF_SYNC`).
    All,
}

/// How a file is opened. Built by value: `OpenOptions::new().read(true)`.
///
/// Opening does nothing but what is named here: with no option set it is refused with
/// [`ErrorKind::InvalidInput`](mfio::error::ErrorKind::InvalidInput).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenOptions {
    pub(crate) read: bool,
    pub(crate) write: bool,
    pub(crate) truncate: bool,
    pub(crate) create: bool,
    pub(crate) create_new: bool,
    pub(crate) append: bool,
    pub(crate) direct: bool,
    pub(crate) follow: bool,
    pub(crate) durability: Durability,
    pub(crate) mode: u32,
}

/// Permission bits given to a new file before the process's umask takes its share.
const DEFAULT_MODE: u32 = 0o666;

impl Default for OpenOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl OpenOptions {
    /// Nothing allowed yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            read: false,
            write: false,
            truncate: false,
            create: false,
            create_new: false,
            append: false,
            direct: false,
            follow: true,
            durability: Durability::Cached,
            mode: DEFAULT_MODE,
        }
    }

    /// Whether they mean something together. What does not is refused before any system is asked.
    pub(crate) const fn make_sense(&self) -> bool {
        let writes = self.write || self.append;
        let changes = self.truncate || self.create || self.create_new;
        !(self.append && self.truncate) && (writes || (self.read && !changes))
    }

    /// Allow reading.
    #[must_use]
    pub const fn read(mut self, yes: bool) -> Self {
        self.read = yes;
        self
    }

    /// Allow writing.
    #[must_use]
    pub const fn write(mut self, yes: bool) -> Self {
        self.write = yes;
        self
    }

    /// Cut the file to nothing when it is opened. Needs [`write`](Self::write).
    #[must_use]
    pub const fn truncate(mut self, yes: bool) -> Self {
        self.truncate = yes;
        self
    }

    /// Create the file where there is none. Needs [`write`](Self::write).
    #[must_use]
    pub const fn create(mut self, yes: bool) -> Self {
        self.create = yes;
        self
    }

    /// Create the file and fail where there is one. Needs [`write`](Self::write).
    #[must_use]
    pub const fn create_new(mut self, yes: bool) -> Self {
        self.create_new = yes;
        self
    }

    /// Let every write go to the end of the file, wherever that is at that moment; positions of writes are
    /// ignored. Allows writing, and nothing that would change what is there.
    #[must_use]
    pub const fn append(mut self, yes: bool) -> Self {
        self.append = yes;
        self
    }

    /// Go round the system's cache (`O_DIRECT`, `FILE_FLAG_NO_BUFFERING`). Memory, positions and lengths
    /// then have to be aligned as [`FileOps::alignment`](super::FileOps::alignment) says.
    #[must_use]
    pub const fn direct(mut self, yes: bool) -> Self {
        self.direct = yes;
        self
    }

    /// Whether a symbolic link at the end of the path is followed, which is the default. If not, opening one
    /// fails.
    #[must_use]
    pub const fn follow(mut self, yes: bool) -> Self {
        self.follow = yes;
        self
    }

    /// What is durable when a write of this file has ended. By default nothing is: see
    /// [`FileOps::sync_all`](super::FileOps::sync_all).
    #[must_use]
    pub const fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Permission bits of a file that is created (Unix; the umask applies). Ignored elsewhere.
    #[must_use]
    pub const fn mode(mut self, bits: u32) -> Self {
        self.mode = bits;
        self
    }
}
