//! The native completion I/O runtime on the mfio framework.

mod driver;
pub mod fs;
pub mod native;
pub mod time;

pub use std::path::Path;

pub use fs::{FileHandle, FileType, Fs, Metadata, OpenOptions, Permissions};
pub use native::{File, LocalRt, NativeRt};
pub use time::Time;

/// The guide's programs, compiled and run as tests.
#[cfg(doctest)]
mod guide {
    #[doc = include_str!("../../../README.md")]
    struct Readme;
    #[doc = include_str!("../../../docs/guide/buffers.md")]
    struct Buffers;
    #[doc = include_str!("../../../docs/guide/layers.md")]
    struct Layers;
    #[doc = include_str!("../../../docs/guide/no-std.md")]
    struct NoStd;
}
