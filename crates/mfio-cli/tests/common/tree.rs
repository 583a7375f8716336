//! Trees: what is in one, and whether two are the same.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// What is at one path of a tree.
#[derive(Debug, PartialEq, Eq)]
pub enum Entry {
    File { mode: u32, bytes: Vec<u8> },
    Directory { mode: u32 },
    Link { target: PathBuf },
    Special,
}

/// All that is under `root`, by relative path.
pub fn snapshot(root: &Path) -> BTreeMap<PathBuf, Entry> {
    use std::os::unix::fs::MetadataExt;
    let mut entries = BTreeMap::new();
    let mut pending = vec![root.to_owned()];
    while let Some(path) = pending.pop() {
        let metadata = std::fs::symlink_metadata(&path).expect("metadata");
        let mode = metadata.mode() & 0o7777;
        let entry = if metadata.is_dir() {
            for entry in std::fs::read_dir(&path).expect("read_dir") {
                pending.push(entry.expect("entry").path());
            }
            Entry::Directory { mode }
        } else if metadata.is_symlink() {
            let target = std::fs::read_link(&path).expect("read_link");
            Entry::Link { target }
        } else if metadata.is_file() {
            let mut bytes = Vec::new();
            std::fs::File::open(&path)
                .and_then(|mut file| file.read_to_end(&mut bytes))
                .expect("a readable file");
            Entry::File { mode, bytes }
        } else {
            Entry::Special
        };
        let relative = path.strip_prefix(root).expect("under root").to_owned();
        entries.insert(relative, entry);
    }
    entries
}

/// Fails with the first path that differs, not with megabytes of content.
pub fn assert_same_tree(left: &Path, right: &Path) {
    let (mut a, mut b) = (snapshot(left), snapshot(right));
    for (path, entry) in &mut a {
        let other = b.remove(path);
        assert!(other.is_some(), "{path:?} is missing in {right:?}");
        assert!(other.as_ref() == Some(entry), "{path:?} differs");
    }
    assert!(b.is_empty(), "only in {right:?}: {:?}", b.keys());
}

/// No temporary name of the program is left anywhere under `root`.
pub fn assert_no_temporaries(root: &Path) {
    for path in snapshot(root).keys() {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        assert!(!name.contains(".mfio-"), "{path:?} was left behind");
    }
}
