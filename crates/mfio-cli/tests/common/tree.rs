//! Trees: what is in one, and whether two are the same.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// What is at one path of a tree.
#[derive(Debug, PartialEq, Eq)]
pub enum Entry {
    /// `twin` is the first path of the tree that names the same file.
    File {
        mode: u32,
        modified: Time,
        bytes: Vec<u8>,
        twin: PathBuf,
    },
    Directory {
        mode: u32,
        modified: Time,
    },
    Link {
        modified: Time,
        target: PathBuf,
    },
    Special,
}

/// Seconds and nanoseconds.
type Time = (i64, i64);

/// All that is under `root`, by relative path.
pub fn snapshot(root: &Path) -> BTreeMap<PathBuf, Entry> {
    use std::os::unix::fs::MetadataExt;
    let mut entries = BTreeMap::new();
    let mut inodes = BTreeMap::new();
    let mut pending = vec![root.to_owned()];
    while let Some(path) = pending.pop() {
        let metadata = std::fs::symlink_metadata(&path).expect("metadata");
        let mode = metadata.mode() & 0o7777;
        let modified = (metadata.mtime(), metadata.mtime_nsec());
        let relative = path.strip_prefix(root).expect("under root").to_owned();
        let entry = if metadata.is_dir() {
            for entry in std::fs::read_dir(&path).expect("read_dir") {
                pending.push(entry.expect("entry").path());
            }
            Entry::Directory { mode, modified }
        } else if metadata.is_symlink() {
            let target = std::fs::read_link(&path).expect("read_link");
            Entry::Link { modified, target }
        } else if metadata.is_file() {
            let mut bytes = Vec::new();
            std::fs::File::open(&path)
                .and_then(|mut file| file.read_to_end(&mut bytes))
                .expect("a readable file");
            inodes.entry(metadata.ino()).or_insert_with(Vec::new).push(relative.clone());
            Entry::File { mode, modified, bytes, twin: PathBuf::new() }
        } else {
            Entry::Special
        };
        entries.insert(relative, entry);
    }
    for names in inodes.into_values() {
        let first = names.iter().min().expect("a name").clone();
        for name in names {
            if let Some(Entry::File { twin, .. }) = entries.get_mut(&name) {
                twin.clone_from(&first);
            }
        }
    }
    entries
}

/// Fails with the first path that differs, not with megabytes of content.
pub fn assert_same_tree(left: &Path, right: &Path) {
    assert_same(snapshot(left), snapshot(right));
}

/// The same, save the times of directories: one of them was changed by other means.
pub fn assert_same_tree_but_directory_times(left: &Path, right: &Path) {
    let [left, right] = [left, right].map(|root| {
        let mut entries = snapshot(root);
        for entry in entries.values_mut() {
            if let Entry::Directory { modified, .. } = entry {
                *modified = (0, 0);
            }
        }
        entries
    });
    assert_same(left, right);
}

fn assert_same(mut a: BTreeMap<PathBuf, Entry>, mut b: BTreeMap<PathBuf, Entry>) {
    for (path, entry) in &mut a {
        let other = b.remove(path);
        assert!(other.is_some(), "{path:?} is missing");
        let (entry, other) = (without_bytes(entry), without_bytes(&mut other.unwrap()));
        assert!(entry == other, "{path:?} differs: {} and {}", entry.1, other.1);
    }
    assert!(b.is_empty(), "too much: {:?}", b.keys());
}

/// The bytes, and what is fit for a message.
fn without_bytes(entry: &mut Entry) -> (Vec<u8>, String) {
    let bytes = match entry {
        Entry::File { bytes, .. } => std::mem::take(bytes),
        _ => Vec::new(),
    };
    (bytes, format!("{entry:?}"))
}

/// No temporary name of the program is left anywhere under `root`.
pub fn assert_no_temporaries(root: &Path) {
    for path in snapshot(root).keys() {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        assert!(!name.contains(".mfio-"), "{path:?} was left behind");
    }
}
