//! The public contract, as users write it: what stands here compiles and runs, word for word.
//!
//! More of the core is in its own `tests/api.rs`. Not yet there, and not here: sockets.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::limited;

/// The core, with its prelude and nothing else.
mod core_list {
    use std::future::Future;

    use mfio::prelude::v1::*;

    /// An object of the user's own, all of whose bytes are the low byte of their position.
    pub(super) struct Positions(BackendContainer<DynBackend>);

    impl PacketIo<Write, u64> for Positions {
        fn send_io(&self, pos: u64, view: BoundPacketView<Write>) {
            let len = usize::try_from(view.len()).unwrap();
            let bytes: Vec<u8> = (pos..).take(len).map(|at| at.to_le_bytes()[0]).collect();
            // Half of it one way, half the other.
            let middle = view.len() / 2;
            let (left, right) = view.split_at(middle);
            let half = usize::try_from(left.len()).unwrap();
            let _ = left.transfer_from(&bytes[..half]);
            let _ = right.transfer_from(&bytes[half..]);
        }
    }

    impl PacketIo<Read, u64> for Positions {
        fn send_io(&self, pos: u64, view: BoundPacketView<Read>) {
            if pos > 1000 {
                view.error(Error::new(ErrorKind::OutOfRange, mfio::error::Tried::Write));
                return;
            }
            let mut bytes = vec![0; usize::try_from(view.len()).unwrap()];
            let _ = view.transfer_to(&mut bytes);
        }
    }

    impl IoBackend for Positions {
        type Backend = DynBackend;
        fn polling_handle(&self) -> Option<PollingHandle<'_>> {
            None
        }
        fn get_backend(&self) -> BackendHandle<'_, Self::Backend> {
            self.0.acquire()
        }
    }

    pub(super) fn object() -> Positions {
        Positions(BackendContainer::new_dyn(std::future::pending()))
    }

    pub(super) async fn faces<T: PacketIo<Write, u64> + PacketIo<Read, u64>>(io: &T) -> Result<()> {
        let mut buf = [0; 16];
        io.read_all(7, &mut buf[..]).await?;
        assert_eq!(buf[..3], [7, 8, 9]);
        let value: u32 = io.read(1).await?;
        assert_eq!(value, 0x0403_0201_u32.to_le());
        let mut slot = std::mem::MaybeUninit::<u16>::uninit();
        io.read_into(5, &mut slot).await?;
        io.write(3, &value).await?;
        io.write_all(3, &buf[..]).await?;
        let (outcome, owned) = io.read_all(0, vec![0_u8; 4]).await;
        outcome?;
        assert_eq!(owned, [0, 1, 2, 3]);

        let packet = io.io(2, Packet::<Write>::new_buf(4)).await;
        assert_eq!((packet.error_clamp(), packet.min_error()), (4, None));
        assert_eq!(packet.simple_contiguous_slice(), Some(&[2_u8, 3, 4, 5][..]));
        let memory = vec![9_u8; 64];
        let address = memory.as_ptr();
        let packet: VecPacket<Write> = memory.into();
        let memory = io.io(2, packet).await.take();
        assert_eq!((memory[0], memory.as_ptr()), (2, address), "the same memory back");
        let packet: OwnedPacket<Read> = vec![1_u8; 8].into_boxed_slice().into();
        let packet = io.io(2000, packet).await;
        assert_eq!(packet.min_error().map(|error| error.kind()), Some(ErrorKind::OutOfRange));
        Ok(())
    }

    /// In generic code too, futures are `Send` where their object is `Sync`.
    #[allow(clippy::manual_async_fn, reason = "spells out what it is about")]
    pub(super) fn spawnable<T>(io: T) -> impl Future<Output = Result<[u8; 8]>> + Send + 'static
    where
        T: PacketIo<Write, u64> + Send + Sync + 'static,
    {
        async move {
            let mut b = [0; 8];
            io.read_all(0, &mut b[..]).await?;
            Ok(b)
        }
    }
}

#[test]
fn the_core_list() {
    use mfio::prelude::v1::*;

    limited(|| {
        let mut object = core_list::object();
        object.block_on(core_list::faces(&object)).unwrap();
        object.block_on(core_list::faces(&&object)).unwrap();
        let shared = std::sync::Arc::new(core_list::object());
        shared.block_on(core_list::faces(&shared)).unwrap();
        let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        tokio.block_on(async {
            shared.with_backend(core_list::faces(&*shared)).await.unwrap();
            let spawned = tokio::spawn(core_list::spawnable(shared.clone()));
            assert_eq!(spawned.await.unwrap().unwrap()[7], 7);
            let run = Null::run_with_mut(&mut object, |object| async move {
                let mut buf = vec![0; 3];
                object.read_all(0, &mut buf[..]).await.map(|()| buf)
            });
            assert_eq!(run.await.unwrap(), [0, 1, 2]);
        });
    });
}

#[test]
fn the_blocking_faces_have_a_prelude_of_their_own() {
    use mfio::prelude::blocking::*;

    limited(|| {
        let object = core_list::object();
        let mut buf = [0; 4];
        object.read_all(3, &mut buf).unwrap();
        assert_eq!(buf, [3, 4, 5, 6]);
        let value: u16 = object.read(1).unwrap();
        assert_eq!(value, 0x0201_u16.to_le());
        object.write_all(3, &buf).unwrap();
        object.write(3, &value).unwrap();
    });
}

/// Both kinds of faces in one file, by the paths that the contract names.
#[test]
fn the_traits_by_path() {
    use mfio::traits::{IoRead, sync};

    limited(|| {
        let object = core_list::object();
        let value: u8 = sync::SyncIoRead::read(&object, 1).unwrap();
        sync::SyncIoWrite::write(&object, 1, &value).unwrap();
        let value: u8 = mfio::backend::IoBackendExt::block_on(&object, object.read(9)).unwrap();
        assert_eq!(value, 9);
    });
}

#[test]
fn errors_go_to_std_and_back() {
    use mfio::error::{Error, ErrorKind, Result};

    fn std_error() -> std::io::Result<()> {
        let error: Error = std::io::Error::from_raw_os_error(28).into();
        Err(error)?
    }
    fn own_error() -> Result<()> {
        std_error()?;
        Ok(())
    }
    let error = own_error().unwrap_err();
    assert_eq!((error.kind(), error.os_code()), (ErrorKind::StorageFull, Some(28)));
}

#[test]
fn the_runtime_list() {
    use mfio::prelude::v1::*;
    use mfio_rt::{
        DirHandleExt, FileHandle, FileType, Fs, LocalRt, Metadata, NativeRt, OpenOptions, Path,
        Permissions, Time,
    };

    limited(|| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("test.txt");
        std::fs::write(&path, "what it says").unwrap();
        let path: &Path = &path;

        let rt = NativeRt::default();
        let each = NativeRt::builder().enable_all().build_each();
        let _: &Vec<(&'static str, Result<NativeRt>)> = &each;
        assert!(each.iter().any(|(name, rt)| *name == "thread" && rt.is_ok()));
        for one in [
            NativeRt::builder().io_uring(true).thread(true).build(),
            NativeRt::builder().mio(true).build(),
            NativeRt::builder().thread(true).build(),
        ] {
            assert!(one.is_ok());
        }
        let unsupported = NativeRt::builder().iocp(true).build().unwrap_err();
        assert_eq!(unsupported.kind(), ErrorKind::Unsupported);
        let local: LocalRt = NativeRt::builder().build_local().unwrap();

        let text = rt
            .block_on(async {
                let file = rt.open(path, OpenOptions::new().read(true)).await?;
                let mut buf = vec![];
                file.read_to_end(0, &mut buf).await?;
                rt.sleep(std::time::Duration::from_millis(1)).await?;
                Ok::<_, Error>(buf)
            })
            .unwrap();
        assert_eq!(text, b"what it says");

        async fn same_on_any(fs: &(impl Fs + Time), path: &Path) -> Result<Vec<u8>> {
            async fn read(file: impl FileHandle) -> Result<Vec<u8>> {
                let mut buf = vec![];
                file.read_to_end(0, &mut buf).await?;
                Ok(buf)
            }
            fs.sleep_until(fs.now()).await?;
            read(fs.open(path, OpenOptions::new().read(true)).await?).await
        }
        assert_eq!(local.block_on(same_on_any(&local, path)).unwrap(), text);
        assert_eq!(rt.block_on(same_on_any(&rt, path)).unwrap(), text);

        let metadata: Metadata = rt.block_on(rt.current_dir().metadata(path)).unwrap();
        assert_eq!((metadata.len(), metadata.file_type()), (12, FileType::File));
        let permissions: Permissions = metadata.permissions();
        assert!(!permissions.readonly());
    });
}

/// Directories by every name that the contract has, natively and in memory.
#[test]
fn the_directory_list() {
    use futures_util::StreamExt;
    use mfio::prelude::v1::*;
    use mfio_rt::{
        DirEntry, DirHandle, DirHandleExt, Fs, NativeRt, OpenOptions, Permissions, virt::VirtRt,
    };

    async fn all_of_it(dir: &impl DirHandle) -> Result<()> {
        dir.create_dir_all("a/b").await?;
        dir.create_dir("a/c").await?;
        let new = OpenOptions::new().read(true).write(true).create_new(true);
        let file = dir.open_file("a/file", new).await?;
        file.write_all(0, b"what it says").await?;
        assert_eq!(dir.copy("a/file", "a/copy").await?, 12);
        dir.hard_link("a/copy", "a/second").await?;
        dir.symlink("copy", "a/link").await?;
        assert_eq!(dir.read_link("a/link").await?, std::path::Path::new("copy"));
        dir.rename("a/second", "a/b/second").await?;
        dir.set_permissions("a/b/second", Permissions::from_mode(0o640)).await?;
        let metadata = dir.metadata("a/link").await?;
        assert_eq!((metadata.len(), metadata.permissions().mode()), (12, Some(0o640)));

        let a = dir.open_dir("a").await?;
        assert!(a.path().await?.ends_with("a"));
        let mut listing = a.read_dir().await?;
        let mut names = vec![];
        while let Some(entry) = listing.next().await {
            let entry: DirEntry = entry?;
            assert_eq!(entry.name().as_bytes(), entry.name().to_string().as_bytes());
            names.push(entry.name().to_string());
        }
        names.sort();
        assert_eq!(names, ["b", "c", "copy", "file", "link"]);

        a.remove_file("link").await?;
        a.remove_dir("c").await?;
        dir.remove_dir_all("a").await?;
        assert_eq!(dir.metadata("a").await.unwrap_err().kind(), ErrorKind::NotFound);
        Ok(())
    }

    limited(|| {
        let scratch = tempfile::tempdir().unwrap();
        let rt = NativeRt::default();
        rt.block_on(async {
            let dir = rt.current_dir().open_dir(scratch.path()).await?;
            all_of_it(&dir).await
        })
        .unwrap();
        let rt = VirtRt::new();
        rt.block_on(all_of_it(&rt.current_dir())).unwrap();
    });
}

#[test]
fn inside_tokio_and_smol() {
    use mfio::prelude::v1::*;
    use mfio_rt::{Fs, NativeRt, OpenOptions, Path};

    async fn what(rt: &NativeRt, path: &Path) -> Result<[u8; 4]> {
        let f = rt.open(path, OpenOptions::new().read(true)).await?;
        let mut b = [0; 4];
        f.read_all(0, &mut b[..]).await.map(|()| b)
    }

    #[tokio::main(flavor = "current_thread")]
    async fn on_one_thread(path: &Path) {
        let mut rt = NativeRt::default();
        let run = Tokio::run_with_mut(&mut rt, |rt| async move { what(rt, path).await });
        assert_eq!(&run.await.unwrap(), b"what");
    }

    #[tokio::main]
    async fn on_several_threads(path: &Path) {
        let mut rt = NativeRt::default();
        Tokio::run_with_mut(&mut rt, |rt| async move {
            assert_eq!(&what(rt, path).await.unwrap(), b"what");
        })
        .await;

        let path = path.to_owned();
        let spawned = tokio::spawn(async move {
            Tokio::run_with_mut(&mut rt, |rt| async move { what(rt, &path).await }).await
        });
        assert_eq!(&spawned.await.unwrap().unwrap(), b"what");
    }

    limited(|| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("test.txt");
        std::fs::write(&path, "what it says").unwrap();
        on_one_thread(&path);
        on_several_threads(&path);
        let mut rt = NativeRt::default();
        let spawned = smol::spawn(async move {
            AsyncIo::run_with_mut(&mut rt, |rt| async move { what(rt, &path).await }).await
        });
        assert_eq!(&smol::block_on(spawned).unwrap(), b"what");
    });
}

/// The list of the current runtime. Each `main` as it stands, in a module of its own.
#[test]
fn the_global_list() {
    macro_rules! program {
        ($name:ident, $(#[$attribute:meta])*) => {
            mod $name {
                use mfio::prelude::v1::*;
                use mfio_rt::fs;

                $(#[$attribute])*
                pub(super) async fn main() {
                    // We do not need mutable file with mfio
                    let file = fs::File::open("test.txt").await.unwrap();
                    let mut buf = vec![];
                    file.read_to_end(0, &mut buf).await.unwrap();
                    assert_eq!(buf, b"what it says");
                }
            }
        };
    }
    program!(in_tokio, #[mfio_rt::init(integration = "Tokio")]);
    program!(in_async_io, #[mfio_rt::init(integration = "AsyncIo")]);
    program!(in_our_own, #[mfio_rt::init]);

    // In a process of its own, as it changes the current directory.
    common::alone("the_global_list", || {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("test.txt"), "what it says").unwrap();
        std::env::set_current_dir(dir.path()).unwrap();
        in_tokio::main();
        in_async_io::main();
        in_our_own::main();
    });
}

/// The free functions by every name that the contract has.
#[mfio_rt::init]
#[test]
async fn the_free_functions() -> mfio::error::Result<()> {
    use futures_util::StreamExt;
    use mfio_rt::{fs, time};

    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir_all(at("a/b")).await?;
    fs::write(at("a/file"), b"what it says").await?;
    assert_eq!(fs::read(at("a/file")).await?, b"what it says");
    assert_eq!(fs::read_to_string(at("a/file")).await?, "what it says");
    fs::copy(at("a/file"), at("a/copy")).await?;
    fs::rename(at("a/copy"), at("a/b/copy")).await?;
    assert_eq!(fs::metadata(at("a/b/copy")).await?.len(), 12);
    assert_eq!(fs::read_dir(at("a")).await?.count().await, 2);
    fs::remove_file(at("a/file")).await?;
    time::sleep(std::time::Duration::from_millis(1)).await?;
    let mut ticks = time::interval(std::time::Duration::from_millis(1));
    time::timeout(std::time::Duration::from_secs(50), ticks.tick()).await??;
    time::sleep_until(std::time::Instant::now()).await
}

/// A file opened from a runtime, used by blocking code with nothing else at hand.
#[test]
fn a_file_is_all_that_blocking_code_needs() {
    use mfio::prelude::blocking::*;
    use mfio_rt::{Fs, NativeRt, OpenOptions};

    limited(|| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("test.txt");
        let rt = NativeRt::default();
        let options = OpenOptions::new().read(true).write(true).create(true);
        let file = rt.block_on(rt.open(&path, options)).unwrap();
        file.write_all(0, b"what it says").unwrap();
        file.write(12, &0x2121_u16).unwrap();
        let mut buf = vec![];
        assert_eq!(file.read_to_end(5, &mut buf).unwrap(), 9);
        assert_eq!(buf, b"it says!!");
    });
}
