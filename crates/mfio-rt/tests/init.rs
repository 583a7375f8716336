//! `#[mfio_rt::init]`: what it leaves as it was, and where the function's body runs.
#![cfg(target_os = "linux")]
#![allow(unsafe_code, reason = "of a function that is declared so, and is not")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::fmt::{Debug, Display};
use std::path::{Path, PathBuf};

use common::limited;
use mfio::prelude::v1::*;
use mfio_rt::fs;

/// A file that says "what it says".
fn says() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("test.txt");
    std::fs::write(&path, "what it says").unwrap();
    (dir, path)
}

mod kept {
    use super::*;

    /// Visibility, arguments (patterns and such that are not used among them), lifetimes, bounds.
    #[allow(dead_code, reason = "attributes stay, this one too")]
    #[mfio_rt::init]
    pub(super) async fn generic<'a, P, const N: usize>(
        mut buf: [u8; N],
        path: &'a P,
        (from, _): (u64, String),
        _unused: &str,
    ) -> Result<(&'a Path, [u8; N])>
    where
        P: AsRef<Path> + ?Sized,
    {
        fs::File::open(path).await?.read_all(from, &mut buf[..]).await?;
        Ok((path.as_ref(), buf))
    }

    #[mfio_rt::init]
    pub(super) async fn implements(path: &Path) -> impl Display + Debug + use<> {
        fs::read_to_string(path).await.unwrap()
    }

    #[mfio_rt::init]
    pub(super) async fn returns_early(path: &Path, early: bool) -> std::io::Result<u64> {
        #![allow(clippy::needless_return, reason = "attributes at the start of the body stay, too")]
        if early {
            return Ok(0);
        }
        let length = fs::metadata(path).await?.len();
        return Ok(length);
    }

    #[mfio_rt::init]
    pub(super) async fn unit(path: &Path) {
        let _ = fs::metadata(path).await;
    }

    #[mfio_rt::init]
    pub(super) async unsafe fn is_unsafe(path: &Path) -> bool {
        fs::try_exists(path).await.unwrap()
    }

    pub(super) struct Reader(pub(super) PathBuf);

    impl Reader {
        #[mfio_rt::init]
        pub(super) async fn method(&mut self, times: usize) -> Vec<u8> {
            let mut bytes = vec![];
            for _ in 0..times {
                bytes.extend(fs::read(&self.0).await.unwrap());
            }
            self.0.clear();
            bytes
        }
    }

    /// A function whose body comes through a macro.
    macro_rules! with_body {
        ($(#[$attribute:meta])* $name:ident $body:block) => {
            $(#[$attribute])*
            pub(super) async fn $name() -> Vec<u8> $body
        };
    }
    with_body!(#[mfio_rt::init] from_a_macro { fs::read("Cargo.toml").await.unwrap() });
}

#[test]
fn what_a_function_is_stays() {
    limited(|| {
        let (_dir, path) = says();
        let (same, bytes) = kept::generic::<_, 7>([0; 7], &path, (5, String::new()), "").unwrap();
        assert_eq!((same, &bytes), (&*path, b"it says"));
        assert_eq!(kept::implements(&path).to_string(), "what it says");
        assert_eq!(kept::returns_early(&path, true).unwrap(), 0);
        assert_eq!(kept::returns_early(&path, false).unwrap(), 12);
        let missing = kept::returns_early(Path::new("/no/such"), false).unwrap_err();
        assert_eq!(missing.kind(), std::io::ErrorKind::NotFound);
        kept::unit(&path);
        // SAFETY: nothing is asked of the caller.
        assert!(unsafe { kept::is_unsafe(&path) });
        let mut reader = kept::Reader(path.clone());
        assert_eq!(reader.method(2), b"what it sayswhat it says");
        assert_eq!(reader.0, PathBuf::new());
        assert!(!kept::from_a_macro().is_empty());
    });
}

#[mfio_rt::init]
#[test]
async fn a_test_in_our_own_executor() {
    let (_dir, path) = says();
    assert_eq!(fs::read(path).await.unwrap(), b"what it says");
}

#[mfio_rt::init(integration = "Tokio")]
#[test]
async fn a_test_in_tokio() -> Result<()> {
    let (_dir, path) = says();
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    assert_eq!(fs::read(&path).await?, b"what it says");
    let spawned = tokio::spawn(async move { fs::read(path).await });
    assert_eq!(spawned.await.unwrap()?, b"what it says");
    Ok(())
}

#[mfio_rt::init(integration = "AsyncIo")]
#[test]
#[should_panic(expected = "as it should")]
async fn a_test_in_smol() {
    let (_dir, path) = says();
    smol::Timer::after(std::time::Duration::from_millis(1)).await;
    assert_eq!(fs::read(&path).await.unwrap(), b"what it says");
    let spawned = smol::spawn(async move { fs::read(path).await });
    assert_eq!(spawned.await.unwrap(), b"what it says");
    panic!("as it should");
}

#[mfio_rt::init(integration = "Tokio")]
#[tokio::test(flavor = "current_thread")]
async fn a_test_of_tokios_own() {
    let (_dir, path) = says();
    assert_eq!(fs::read(&path).await.unwrap(), b"what it says");
    let spawned = tokio::spawn(async move { fs::read(path).await });
    assert_eq!(spawned.await.unwrap().unwrap(), b"what it says");
}

#[mfio_rt::init(integration = "Tokio")]
#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn in_tokios_main(path: &Path) -> Result<Vec<u8>> {
    let flavor = tokio::runtime::Handle::current().runtime_flavor();
    assert_eq!(flavor, tokio::runtime::RuntimeFlavor::MultiThread);
    fs::read(path).await
}

#[test]
fn above_tokios_main() {
    limited(|| {
        let (_dir, path) = says();
        assert_eq!(in_tokios_main(&path).unwrap(), b"what it says");
    });
}
