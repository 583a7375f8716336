//! Linux tells whether a directory has a default access control list.

use rustix::io::Errno;
use std::path::Path;

/// Whether objects made in `directory` get the mode that was asked for, less the process's mask. A
/// default access control list changes that (acl(5)).
pub(super) fn creation_mode_is_exact(directory: &Path) -> bool {
    let mut nothing: [u8; 0] = [];
    let answer = rustix::fs::getxattr(directory, c"system.posix_acl_default", &mut nothing[..]);
    matches!(answer, Err(Errno::NODATA | Errno::OPNOTSUPP))
}
