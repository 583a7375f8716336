//! The model: full paths, and what is there.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::rc::Rc;

use mfio::error::ErrorKind;
use mfio_rt::FileType;
use mfio_rt::fs::RenameOnto;

type Result<T> = std::result::Result<T, ErrorKind>;

/// What a path names. Clones are the same object.
#[derive(Clone, Debug)]
pub(super) enum Entry {
    Dir,
    File(Rc<RefCell<Vec<u8>>>),
    Link(Rc<String>),
}

impl Entry {
    fn is_dir(&self) -> bool {
        matches!(self, Self::Dir)
    }

    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::File(a), Self::File(b)) => Rc::ptr_eq(a, b),
            (Self::Link(a), Self::Link(b)) => Rc::ptr_eq(a, b),
            _ => false,
        }
    }
}

/// How a file is opened for writing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opening {
    pub(super) create: bool,
    pub(super) truncate: bool,
}

/// Everything but the root, which is the empty path.
#[derive(Debug, Default)]
pub(super) struct Model(BTreeMap<String, Entry>);

impl Model {
    pub(super) fn entries(&self) -> impl Iterator<Item = (&String, &Entry)> {
        self.0.iter()
    }

    pub(super) fn types(&self) -> BTreeMap<String, FileType> {
        let types = self.0.iter().map(|(path, entry)| match entry {
            Entry::Dir => (path.clone(), FileType::Directory),
            Entry::File(_) => (path.clone(), FileType::File),
            Entry::Link(_) => (path.clone(), FileType::Symlink),
        });
        types.collect()
    }

    /// How many names an entry's object has.
    pub(super) fn links(&self, entry: &Entry) -> usize {
        self.0.values().filter(|other| other.is_same(entry)).count()
    }

    fn get(&self, path: &str) -> Option<Entry> {
        if path.is_empty() { Some(Entry::Dir) } else { self.0.get(path).cloned() }
    }

    /// The full path, of which all but the last part is there and no link.
    fn walk(&self, path: &str, follow: bool) -> Result<String> {
        let parts = |path: &str| -> VecDeque<String> {
            path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect()
        };
        let (mut at, mut left, mut links) = (String::new(), parts(path), 0);
        while let Some(part) = left.pop_front() {
            if part == ".." {
                at.truncate(at.rfind('/').unwrap_or(0));
                continue;
            }
            let next = format!("{at}/{part}");
            match self.0.get(&next) {
                Some(Entry::Link(target)) if follow || !left.is_empty() => {
                    links += 1;
                    if links > 40 {
                        return Err(ErrorKind::FilesystemLoop);
                    }
                    if target.starts_with('/') {
                        at.clear();
                    }
                    let mut onward = parts(target);
                    onward.append(&mut left);
                    left = onward;
                }
                Some(Entry::Dir) => at = next,
                _ if left.is_empty() => return Ok(next),
                Some(_) => return Err(ErrorKind::NotADirectory),
                None => return Err(ErrorKind::NotFound),
            }
        }
        Ok(at)
    }

    fn file(&mut self, path: &str, opening: Opening) -> Result<Rc<RefCell<Vec<u8>>>> {
        let path = self.walk(path, true)?;
        let file = match self.get(&path) {
            Some(Entry::File(file)) => file,
            Some(_) => return Err(ErrorKind::IsADirectory),
            None if opening.create => {
                let file = Rc::default();
                self.0.insert(path, Entry::File(Rc::clone(&file)));
                file
            }
            None => return Err(ErrorKind::NotFound),
        };
        if opening.truncate {
            file.borrow_mut().clear();
        }
        Ok(file)
    }

    fn present(&mut self, path: &str) -> Result<Rc<RefCell<Vec<u8>>>> {
        self.file(path, Opening { create: false, truncate: false })
    }

    pub(super) fn write(
        &mut self,
        path: &str,
        opening: Opening,
        pos: usize,
        bytes: &[u8],
    ) -> Result<()> {
        let file = self.file(path, opening)?;
        let mut file = file.borrow_mut();
        if !bytes.is_empty() {
            let len = file.len().max(pos + bytes.len());
            file.resize(len, 0);
            file[pos..pos + bytes.len()].copy_from_slice(bytes);
        }
        Ok(())
    }

    pub(super) fn read(&self, path: &str) -> Result<Vec<u8>> {
        match self.get(&self.walk(path, true)?) {
            Some(Entry::File(file)) => Ok(file.borrow().clone()),
            Some(_) => Err(ErrorKind::IsADirectory),
            None => Err(ErrorKind::NotFound),
        }
    }

    pub(super) fn set_len(&mut self, path: &str, len: usize) -> Result<()> {
        self.present(path)?.borrow_mut().resize(len, 0);
        Ok(())
    }

    pub(super) fn punch(&mut self, path: &str, range: Range<usize>) -> Result<()> {
        let file = self.present(path)?;
        file.borrow_mut().iter_mut().take(range.end).skip(range.start).for_each(|byte| *byte = 0);
        Ok(())
    }

    pub(super) fn copy(&mut self, from: &str, to: &str) -> Result<()> {
        let from = self.present(from)?;
        let to = self.file(to, Opening { create: true, truncate: false })?;
        if Rc::ptr_eq(&from, &to) {
            return Err(ErrorKind::InvalidInput);
        }
        to.borrow_mut().clone_from(&from.borrow());
        Ok(())
    }

    /// The full path of a name that is not there yet.
    fn vacant(&self, path: &str) -> Result<String> {
        let path = self.walk(path, false)?;
        if self.get(&path).is_some() { Err(ErrorKind::AlreadyExists) } else { Ok(path) }
    }

    pub(super) fn create_dir(&mut self, path: &str) -> Result<()> {
        let path = self.vacant(path)?;
        self.0.insert(path, Entry::Dir);
        Ok(())
    }

    pub(super) fn symlink(&mut self, target: &str, link: &str) -> Result<()> {
        let link = self.vacant(link)?;
        self.0.insert(link, Entry::Link(Rc::new(target.to_owned())));
        Ok(())
    }

    pub(super) fn hard_link(&mut self, from: &str, to: &str) -> Result<()> {
        let from = self.walk(from, false)?;
        let from = self.get(&from).ok_or(ErrorKind::NotFound)?;
        let to = self.vacant(to)?;
        if from.is_dir() {
            return Err(ErrorKind::PermissionDenied);
        }
        self.0.insert(to, from);
        Ok(())
    }

    fn is_empty(&self, dir: &str) -> bool {
        !self.0.keys().any(|path| is_below(path, dir))
    }

    pub(super) fn remove_file(&mut self, path: &str) -> Result<()> {
        let path = self.walk(path, false)?;
        if self.get(&path).ok_or(ErrorKind::NotFound)?.is_dir() {
            return Err(ErrorKind::IsADirectory);
        }
        self.0.remove(&path);
        Ok(())
    }

    pub(super) fn remove_dir(&mut self, path: &str) -> Result<()> {
        let path = self.walk(path, false)?;
        if !self.get(&path).ok_or(ErrorKind::NotFound)?.is_dir() {
            return Err(ErrorKind::NotADirectory);
        }
        if !self.is_empty(&path) {
            return Err(ErrorKind::DirectoryNotEmpty);
        }
        self.0.remove(&path);
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &str, to: &str, onto: RenameOnto) -> Result<()> {
        let (from, to) = (self.walk(from, false)?, self.walk(to, false)?);
        let moved = self.get(&from).ok_or(ErrorKind::NotFound)?;
        let taken = self.get(&to);
        let exchange = onto == RenameOnto::Exchange;
        match &taken {
            Some(_) if onto == RenameOnto::Nothing => return Err(ErrorKind::AlreadyExists),
            None if exchange => return Err(ErrorKind::NotFound),
            _ => {}
        }
        if is_below(&to, &from) {
            return Err(ErrorKind::InvalidInput);
        }
        if is_below(&from, &to) {
            let kind =
                if exchange { ErrorKind::InvalidInput } else { ErrorKind::DirectoryNotEmpty };
            return Err(kind);
        }
        if let Some(taken) = taken {
            if from == to || taken.is_same(&moved) {
                return Ok(());
            }
            match (moved.is_dir(), taken.is_dir()) {
                _ if exchange => {}
                (true, false) => return Err(ErrorKind::NotADirectory),
                (false, true) => return Err(ErrorKind::IsADirectory),
                (true, true) if !self.is_empty(&to) => return Err(ErrorKind::DirectoryNotEmpty),
                _ => {}
            }
        }
        let a = self.take(&from);
        let b = self.take(&to);
        self.put(&to, a);
        if exchange {
            self.put(&from, b);
        }
        Ok(())
    }

    /// Takes an entry out with all below it; paths are told from there.
    fn take(&mut self, top: &str) -> Vec<(String, Entry)> {
        let paths: Vec<String> =
            self.0.keys().filter(|path| *path == top || is_below(path, top)).cloned().collect();
        let taken = paths.iter().map(|path| {
            let entry = self.0.remove(path).unwrap();
            (path[top.len()..].to_owned(), entry)
        });
        taken.collect()
    }

    fn put(&mut self, top: &str, entries: Vec<(String, Entry)>) {
        self.0.extend(entries.into_iter().map(|(path, entry)| (format!("{top}{path}"), entry)));
    }
}

fn is_below(path: &str, dir: &str) -> bool {
    path.strip_prefix(dir).is_some_and(|rest| rest.starts_with('/'))
}
