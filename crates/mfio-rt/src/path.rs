//! Paths: std's where there is std, else those of Unix, as bytes.

use alloc::vec::Vec;

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

/// Of bytes, the path that they are. On systems whose paths are no bytes, what is not UTF-8 is replaced.
pub(crate) fn from_bytes(bytes: Vec<u8>) -> PathBuf {
    core::cfg_select! {
        not(feature = "std") => { PathBuf::from(bytes) }
        unix => {
            use std::os::unix::ffi::OsStringExt as _;
            std::ffi::OsString::from_vec(bytes).into()
        }
        _ => { std::string::String::from_utf8_lossy(&bytes).into_owned().into() }
    }
}
