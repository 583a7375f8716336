//! Paths: std's where there is std, else those of Unix, as bytes.

#[cfg(feature = "std")]
pub use std::path::{Path, PathBuf};
#[cfg(not(feature = "std"))]
pub use typed_path::{UnixPath as Path, UnixPathBuf as PathBuf};

/// A path as bytes, in the encoding that std has for it: as they are on Unix, WTF-8 on Windows.
#[cfg(feature = "std")]
pub(crate) fn bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_encoded_bytes()
}

/// A path as bytes.
#[cfg(not(feature = "std"))]
pub(crate) fn bytes(path: &Path) -> &[u8] {
    path.as_bytes()
}
