//! The file systems that the conformance kit and the differential test run on, each in any executor.

use mfio_rt::conformance::{Subject, Task, time};
use mfio_rt::native::{self, Builder};
use mfio_rt::virt::{self, VirtRt};
use mfio_rt::{DirHandleExt, Fs, NativeRt, PathBuf};

use super::executors::Executor;
use super::limited;

/// A native runtime, made anew for each case, in a directory of its own.
#[derive(Clone, Copy)]
pub(crate) struct Native {
    pub(crate) builder: fn() -> Builder,
    /// Whether it is a runtime of one thread.
    pub(crate) local: bool,
    pub(crate) executor: Executor,
}

impl Native {
    pub(crate) const fn new(builder: fn() -> Builder) -> Self {
        Self { builder, local: false, executor: Executor::Own }
    }

    pub(crate) const fn local(self) -> Self {
        Self { local: true, ..self }
    }

    pub(crate) const fn within(self, executor: Executor) -> Self {
        Self { executor, ..self }
    }
}

impl Subject for Native {
    type Dir = <NativeRt as Fs>::DirHandle;

    fn run(&self, task: Task<Self::Dir>) {
        let Self { builder, local, executor } = *self;
        limited(move || {
            let place = place(executor);
            let path = place.path().to_owned();
            if local {
                executor.run_local(builder().build_local().unwrap(), move |rt| {
                    Box::pin(async move {
                        let dir = rt.current_dir().open_dir(path).await.unwrap();
                        task(dir).await;
                    })
                });
            } else {
                executor.run(builder().build().unwrap(), move |rt| {
                    Box::pin(async move {
                        let dir = rt.current_dir().open_dir(path).await.unwrap();
                        task(dir).await;
                    })
                });
            }
        });
    }

    fn absent(&self) -> Option<String> {
        (self.builder)().build().err().map(|error| error.to_string())
    }

    fn odd_name(&self) -> Option<PathBuf> {
        odd_name()
    }
}

/// An empty directory: on disk for the own executor, in memory for the others where there is such a place. Every
/// case has been on disk then, and a disk that has to sync takes longer than everything else. Runs that repeat
/// the suite in another build (sanitizers) say so, and have all in memory.
fn place(executor: Executor) -> tempfile::TempDir {
    const IN_MEMORY: &str = "/dev/shm";
    /// Far more than any case leaves at a time.
    const ROOM: u64 = 1 << 30;
    let roomy = |disk: rustix::fs::StatVfs| disk.f_bavail.saturating_mul(disk.f_frsize) >= ROOM;
    let again = executor != Executor::Own || std::env::var_os("MFIO_KIT_IN_MEMORY").is_some();
    if again && rustix::fs::statvfs(IN_MEMORY).is_ok_and(roomy) {
        return tempfile::tempdir_in(IN_MEMORY).unwrap();
    }
    tempfile::tempdir().unwrap()
}

impl time::Subject for Native {
    type Clock = native::Clock;

    fn run(&self, task: time::Task<native::Clock>) {
        let Self { builder, local, executor } = *self;
        limited(move || {
            if local {
                let rt = builder().build_local().unwrap();
                executor.run_local(rt, move |rt| Box::pin(task(rt.clock())));
            } else {
                executor.run(builder().build().unwrap(), move |rt| Box::pin(task(rt.clock())));
            }
        });
    }

    fn absent(&self) -> Option<String> {
        Subject::absent(self)
    }
}

/// A runtime in memory, made anew for each case.
#[derive(Clone, Copy)]
pub(crate) struct Virt {
    pub(crate) make: fn() -> VirtRt,
    pub(crate) executor: Executor,
}

impl Virt {
    pub(crate) const fn new(make: fn() -> VirtRt) -> Self {
        Self { make, executor: Executor::Own }
    }

    pub(crate) const fn within(self, executor: Executor) -> Self {
        Self { executor, ..self }
    }
}

impl Subject for Virt {
    type Dir = <VirtRt as Fs>::DirHandle;

    fn run(&self, task: Task<Self::Dir>) {
        let Self { make, executor } = *self;
        limited(move || {
            executor.run(make(), move |rt| Box::pin(task(rt.current_dir())));
        });
    }

    fn odd_name(&self) -> Option<PathBuf> {
        odd_name()
    }
}

impl time::Subject for Virt {
    type Clock = virt::Clock;

    fn run(&self, task: time::Task<virt::Clock>) {
        let Self { make, executor } = *self;
        limited(move || {
            executor.run(make(), move |rt| Box::pin(task(rt.clock())));
        });
    }
}

/// A name that is no text on this system.
fn odd_name() -> Option<PathBuf> {
    use std::os::unix::ffi::OsStringExt as _;
    Some(std::ffi::OsString::from_vec(vec![b'o', 0xff, b'd', b'd', 0x80]).into())
}
