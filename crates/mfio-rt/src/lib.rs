//! The native completion I/O runtime on the mfio framework.

mod driver;
pub mod fs;
pub mod native;
pub mod time;

pub use std::path::Path;

pub use fs::{FileHandle, FileType, Fs, Metadata, OpenOptions, Permissions};
pub use native::{File, LocalRt, NativeRt};
pub use time::Time;
