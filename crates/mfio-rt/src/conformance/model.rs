//! A file system as simple as it can be: what comes of each operation, for one caller, in memory.
//!
//! It is what [`differential`](super::differential) compares with. Nothing in it is fast or shared with a
//! file system of this crate: every path is walked from its start, part by part, as `path_resolution(7)`
//! has it, and each operation refuses things in the order in which Linux does.

use std::collections::BTreeMap;

use mfio::error::ErrorKind;

use crate::{
    OpenOptions,
    fs::{FileType, RenameOnto},
};

/// What a step of the model gives, or how it is refused.
pub type Outcome<T> = Result<T, ErrorKind>;

/// An object, by its number. Numbers are not used again.
pub type Node = usize;

/// How many symbolic links one path may lead through: as many as on Linux.
const MOST_LINKS: u32 = 40;

/// The whole tree, and what has lost its name.
#[derive(Clone, Debug)]
pub struct Model {
    nodes: Vec<Object>,
    /// Where paths start.
    root: Node,
}

/// One object.
#[derive(Clone, Debug)]
struct Object {
    content: Content,
    links: u64,
    /// Permission bits, if they were ever set: those that a file is made with depend on the process.
    mode: Option<u32>,
}

#[derive(Clone, Debug)]
enum Content {
    File(Vec<u8>),
    Dir { entries: BTreeMap<String, Node>, parent: Node, removed: bool },
    Link(String),
}

/// What is known of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// What it is.
    pub file_type: FileType,
    /// How many bytes it has, if it is a file.
    pub len: Option<u64>,
    /// How many names it has, if it is no directory.
    pub links: Option<u64>,
    /// Its permission bits, if the model knows them.
    pub mode: Option<u32>,
}

/// The last part of a path, and where it is.
struct Last<'a> {
    dir: Node,
    name: &'a str,
    slash: bool,
}

impl Last<'_> {
    /// Whether it is a name, and not a way.
    fn is_name(&self) -> bool {
        self.name != "." && self.name != ".."
    }
}

impl Default for Model {
    fn default() -> Self {
        Self::new()
    }
}

impl Model {
    /// An empty directory, in an empty one of which it is the only entry.
    #[must_use]
    pub fn new() -> Self {
        let mut model = Self { nodes: vec![], root: 0 };
        let dir = |parent| Content::Dir { entries: BTreeMap::new(), parent, removed: false };
        let outside = model.add(dir(0));
        model.root = model.add(dir(outside));
        let root = model.root;
        model.entries_mut(outside).insert("root".into(), root);
        model
    }

    /// Where paths start.
    #[must_use]
    pub fn root(&self) -> Node {
        self.root
    }

    fn add(&mut self, content: Content) -> Node {
        self.nodes.push(Object { content, links: 1, mode: None });
        self.nodes.len() - 1
    }

    fn entries(&self, dir: Node) -> &BTreeMap<String, Node> {
        match &self.nodes[dir].content {
            Content::Dir { entries, .. } => entries,
            _ => panic!("the model took something else for a directory"),
        }
    }

    fn entries_mut(&mut self, dir: Node) -> &mut BTreeMap<String, Node> {
        match &mut self.nodes[dir].content {
            Content::Dir { entries, .. } => entries,
            _ => panic!("the model took something else for a directory"),
        }
    }

    fn is_dir(&self, node: Node) -> bool {
        matches!(self.nodes[node].content, Content::Dir { .. })
    }

    fn is_removed(&self, dir: Node) -> bool {
        matches!(self.nodes[dir].content, Content::Dir { removed: true, .. })
    }

    fn parent(&self, dir: Node) -> Node {
        match self.nodes[dir].content {
            Content::Dir { parent, .. } => parent,
            _ => panic!("the model took something else for a directory"),
        }
    }

    fn link(&self, node: Node) -> Option<&str> {
        match &self.nodes[node].content {
            Content::Link(target) => Some(target),
            _ => None,
        }
    }

    // Paths.

    /// Walk to the last part of `path`, which may be missing.
    fn last<'a>(&self, start: Node, path: &'a str, links: &mut u32) -> Outcome<Last<'a>> {
        let mut parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let name = parts.pop().ok_or(ErrorKind::NotFound)?;
        let mut dir = start;
        for part in parts {
            dir = self.end(dir, part, true, false, links)?;
            if !self.is_dir(dir) {
                return Err(ErrorKind::NotADirectory);
            }
        }
        Ok(Last { dir, name, slash: path.ends_with('/') })
    }

    /// What one part leads to from `dir`.
    fn end(
        &self,
        dir: Node,
        name: &str,
        follow: bool,
        slash: bool,
        links: &mut u32,
    ) -> Outcome<Node> {
        let node = match name {
            "." => dir,
            ".." => self.parent(dir),
            name => *self.entries(dir).get(name).ok_or(ErrorKind::NotFound)?,
        };
        let node = match self.link(node) {
            Some(target) if follow || slash => {
                Self::count(links)?;
                self.walk(dir, target, true, links)?
            }
            _ => node,
        };
        if slash && !self.is_dir(node) {
            return Err(ErrorKind::NotADirectory);
        }
        Ok(node)
    }

    fn count(links: &mut u32) -> Outcome<()> {
        *links += 1;
        if *links > MOST_LINKS { Err(ErrorKind::FilesystemLoop) } else { Ok(()) }
    }

    fn walk(&self, start: Node, path: &str, follow: bool, links: &mut u32) -> Outcome<Node> {
        let last = self.last(start, path, links)?;
        self.end(last.dir, last.name, follow, last.slash, links)
    }

    /// What `path` leads to from the directory `start`, a link at its end followed or not.
    ///
    /// # Errors
    ///
    /// As the system has them; so for everything that takes a path.
    pub fn find(&self, start: Node, path: &str, follow: bool) -> Outcome<Node> {
        self.walk(start, path, follow, &mut 0)
    }

    /// As [`find`](Self::find), for a directory.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotADirectory`] for anything else.
    pub fn dir(&self, start: Node, path: &str, follow: bool) -> Outcome<Node> {
        let node = self.find(start, path, follow)?;
        if self.is_dir(node) { Ok(node) } else { Err(ErrorKind::NotADirectory) }
    }

    /// The place for a new name.
    fn vacant<'a>(&self, start: Node, path: &'a str, is_dir: bool) -> Outcome<Last<'a>> {
        let last = self.last(start, path, &mut 0)?;
        if !last.is_name() || self.entries(last.dir).contains_key(last.name) {
            return Err(ErrorKind::AlreadyExists);
        }
        if self.is_removed(last.dir) || (last.slash && !is_dir) {
            return Err(ErrorKind::NotFound);
        }
        Ok(last)
    }

    fn put(&mut self, last: &Last<'_>, content: Content) -> Node {
        let node = self.add(content);
        self.entries_mut(last.dir).insert(last.name.into(), node);
        node
    }

    // Files.

    /// Open a file, or make it.
    ///
    /// # Errors
    ///
    /// A directory is [`ErrorKind::IsADirectory`], however it is opened.
    pub fn open(&mut self, start: Node, path: &str, options: OpenOptions) -> Outcome<Node> {
        let writes = options.write || options.append;
        let creates = options.create || options.create_new;
        let nothing = !options.read && !writes;
        if nothing
            || (!writes && (creates || options.truncate))
            || (options.append && options.truncate)
        {
            return Err(ErrorKind::InvalidInput);
        }
        let node = if creates {
            self.find_or_make(start, path, options)?
        } else {
            self.find(start, path, options.follow)?
        };
        match &mut self.nodes[node].content {
            Content::File(bytes) if options.truncate => bytes.clear(),
            Content::File(_) => {}
            Content::Dir { .. } => return Err(ErrorKind::IsADirectory),
            Content::Link(_) => return Err(ErrorKind::FilesystemLoop),
        }
        Ok(node)
    }

    fn find_or_make(&mut self, start: Node, path: &str, options: OpenOptions) -> Outcome<Node> {
        let (mut start, mut path, mut links) = (start, path.to_owned(), 0);
        loop {
            let last = self.last(start, &path, &mut links)?;
            let found = if last.is_name() {
                if last.slash {
                    return Err(ErrorKind::IsADirectory);
                }
                self.entries(last.dir).get(last.name).copied()
            } else {
                Some(self.end(last.dir, last.name, true, false, &mut links)?)
            };
            let Some(node) = found else {
                if self.is_removed(last.dir) {
                    return Err(ErrorKind::NotFound);
                }
                return Ok(self.put(&last, Content::File(vec![])));
            };
            if options.create_new {
                return Err(ErrorKind::AlreadyExists);
            }
            match self.link(node) {
                Some(target) if options.follow => {
                    Self::count(&mut links)?;
                    (start, path) = (last.dir, target.to_owned());
                }
                _ => return Ok(node),
            }
        }
    }

    /// What an open file holds.
    #[must_use]
    pub fn bytes(&self, file: Node) -> &[u8] {
        match &self.nodes[file].content {
            Content::File(bytes) => bytes,
            _ => panic!("the model took something else for a file"),
        }
    }

    fn bytes_mut(&mut self, file: Node) -> &mut Vec<u8> {
        match &mut self.nodes[file].content {
            Content::File(bytes) => bytes,
            _ => panic!("the model took something else for a file"),
        }
    }

    /// Write to an open file.
    pub fn write(&mut self, file: Node, pos: usize, bytes: &[u8]) {
        let held = self.bytes_mut(file);
        if !bytes.is_empty() {
            let end = pos + bytes.len();
            held.resize(held.len().max(end), 0);
            held[pos..end].copy_from_slice(bytes);
        }
    }

    /// Cut or extend an open file.
    pub fn set_len(&mut self, file: Node, len: usize) {
        self.bytes_mut(file).resize(len, 0);
    }

    /// Copy one file over another, which is made if it is missing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] where they are one.
    pub fn copy(&mut self, start: Node, from: &str, to: &str) -> Outcome<u64> {
        let read = OpenOptions::new().read(true);
        let from = self.open(start, from, read)?;
        let to = self.open(start, to, OpenOptions::new().write(true).create(true))?;
        if from == to {
            return Err(ErrorKind::InvalidInput);
        }
        let bytes = self.bytes(from).to_vec();
        let len = bytes.len().try_into().unwrap();
        *self.bytes_mut(to) = bytes;
        self.nodes[to].mode = self.nodes[from].mode;
        Ok(len)
    }

    // Names.

    /// Make a directory.
    ///
    /// # Errors
    ///
    /// See [`find`](Self::find).
    pub fn create_dir(&mut self, start: Node, path: &str) -> Outcome<()> {
        let last = self.vacant(start, path, true)?;
        let content = Content::Dir { entries: BTreeMap::new(), parent: last.dir, removed: false };
        self.put(&last, content);
        Ok(())
    }

    /// Make a directory and those above it.
    ///
    /// # Errors
    ///
    /// See [`find`](Self::find).
    pub fn create_dir_all(&mut self, start: Node, path: &str) -> Outcome<()> {
        let made = match self.create_dir(start, path) {
            Err(ErrorKind::NotFound) => {
                let path = path.trim_end_matches('/');
                let (above, _) = path.rsplit_once('/').ok_or(ErrorKind::NotFound)?;
                self.create_dir_all(start, above)?;
                self.create_dir(start, path)
            }
            made => made,
        };
        match made {
            Err(ErrorKind::AlreadyExists) if self.is_dir(self.find(start, path, true)?) => Ok(()),
            made => made,
        }
    }

    /// Remove an empty directory.
    ///
    /// # Errors
    ///
    /// See [`find`](Self::find).
    pub fn remove_dir(&mut self, start: Node, path: &str) -> Outcome<()> {
        let last = self.last(start, path, &mut 0)?;
        match last.name {
            "." => return Err(ErrorKind::InvalidInput),
            ".." => return Err(ErrorKind::DirectoryNotEmpty),
            _ => {}
        }
        let node = *self.entries(last.dir).get(last.name).ok_or(ErrorKind::NotFound)?;
        if !self.is_dir(node) {
            return Err(ErrorKind::NotADirectory);
        }
        if !self.entries(node).is_empty() {
            return Err(ErrorKind::DirectoryNotEmpty);
        }
        self.take(last.dir, last.name);
        Ok(())
    }

    /// Remove a directory and what is in it.
    ///
    /// # Errors
    ///
    /// See [`find`](Self::find).
    pub fn remove_tree(&mut self, start: Node, path: &str) -> Outcome<()> {
        let node = self.dir(start, path, false)?;
        let names: Vec<String> = self.entries(node).keys().cloned().collect();
        for name in names {
            let below = self.entries(node)[&name];
            if self.is_dir(below) {
                self.remove_tree(node, &name)?;
            } else {
                self.take(node, &name);
            }
        }
        self.remove_dir(start, path)
    }

    /// Remove a name that is no directory's.
    ///
    /// # Errors
    ///
    /// See [`find`](Self::find).
    pub fn remove_file(&mut self, start: Node, path: &str) -> Outcome<()> {
        let last = self.last(start, path, &mut 0)?;
        if !last.is_name() {
            return Err(ErrorKind::IsADirectory);
        }
        let node = *self.entries(last.dir).get(last.name).ok_or(ErrorKind::NotFound)?;
        if self.is_dir(node) {
            return Err(ErrorKind::IsADirectory);
        }
        if last.slash {
            return Err(ErrorKind::NotADirectory);
        }
        self.take(last.dir, last.name);
        Ok(())
    }

    /// A name goes, and with it perhaps the object.
    fn take(&mut self, dir: Node, name: &str) {
        if let Some(node) = self.entries_mut(dir).remove(name) {
            self.nodes[node].links -= 1;
            if let Content::Dir { removed, .. } = &mut self.nodes[node].content {
                *removed = true;
            }
        }
    }

    /// Give an object another name.
    ///
    /// # Errors
    ///
    /// See [`find`](Self::find).
    pub fn rename(&mut self, start: Node, from: &str, to: &str, onto: RenameOnto) -> Outcome<()> {
        let from = self.last(start, from, &mut 0)?;
        let to = self.last(start, to, &mut 0)?;
        if !from.is_name() {
            return Err(ErrorKind::Busy);
        }
        if !to.is_name() {
            let kept = onto == RenameOnto::Nothing;
            return Err(if kept { ErrorKind::AlreadyExists } else { ErrorKind::Busy });
        }
        let old = *self.entries(from.dir).get(from.name).ok_or(ErrorKind::NotFound)?;
        let new = self.entries(to.dir).get(to.name).copied();
        self.may_rename((&from, old), (&to, new), onto)?;
        if Some(old) == new {
            return Ok(());
        }
        match (onto, new) {
            (RenameOnto::Exchange, Some(new)) => self.move_to(&from, new),
            _ => {
                self.take(to.dir, to.name);
                self.entries_mut(from.dir).remove(from.name);
            }
        }
        self.move_to(&to, old);
        Ok(())
    }

    /// Put what there is already under a name.
    fn move_to(&mut self, last: &Last<'_>, node: Node) {
        self.entries_mut(last.dir).insert(last.name.into(), node);
        if let Content::Dir { parent, .. } = &mut self.nodes[node].content {
            *parent = last.dir;
        }
    }

    fn may_rename(
        &self,
        (from, old): (&Last<'_>, Node),
        (to, new): (&Last<'_>, Option<Node>),
        onto: RenameOnto,
    ) -> Outcome<()> {
        let exchange = onto == RenameOnto::Exchange;
        match (onto, new) {
            (RenameOnto::Nothing, Some(_)) => return Err(ErrorKind::AlreadyExists),
            (RenameOnto::Exchange, None) => return Err(ErrorKind::NotFound),
            (RenameOnto::Exchange, Some(new)) if !self.is_dir(new) && to.slash => {
                return Err(ErrorKind::NotADirectory);
            }
            _ => {}
        }
        if !self.is_dir(old) && (from.slash || (to.slash && !exchange)) {
            return Err(ErrorKind::NotADirectory);
        }
        if from.dir != to.dir && self.is_within(to.dir, old) {
            return Err(ErrorKind::InvalidInput);
        }
        if from.dir != to.dir && new.is_some_and(|new| self.is_within(from.dir, new)) {
            let kind =
                if exchange { ErrorKind::InvalidInput } else { ErrorKind::DirectoryNotEmpty };
            return Err(kind);
        }
        let Some(new) = new else {
            return if self.is_removed(to.dir) { Err(ErrorKind::NotFound) } else { Ok(()) };
        };
        if old == new || exchange {
            return Ok(());
        }
        match (self.is_dir(old), self.is_dir(new)) {
            (true, false) => Err(ErrorKind::NotADirectory),
            (false, true) => Err(ErrorKind::IsADirectory),
            (true, true) if !self.entries(new).is_empty() => Err(ErrorKind::DirectoryNotEmpty),
            _ => Ok(()),
        }
    }

    /// Whether `dir` is `top` or below it.
    fn is_within(&self, dir: Node, top: Node) -> bool {
        let mut at = dir;
        loop {
            if at == top {
                return true;
            }
            let above = self.parent(at);
            if above == at {
                return false;
            }
            at = above;
        }
    }

    /// Give a file a second name.
    ///
    /// # Errors
    ///
    /// See [`find`](Self::find).
    pub fn hard_link(&mut self, start: Node, from: &str, to: &str) -> Outcome<()> {
        let node = self.find(start, from, false)?;
        let last = self.vacant(start, to, false)?;
        if self.is_dir(node) {
            return Err(ErrorKind::PermissionDenied);
        }
        self.entries_mut(last.dir).insert(last.name.into(), node);
        self.nodes[node].links += 1;
        Ok(())
    }

    /// Make a symbolic link.
    ///
    /// # Errors
    ///
    /// See [`find`](Self::find).
    pub fn symlink(&mut self, start: Node, target: &str, link: &str) -> Outcome<()> {
        if target.is_empty() {
            return Err(ErrorKind::NotFound);
        }
        let last = self.vacant(start, link, false)?;
        self.put(&last, Content::Link(target.into()));
        Ok(())
    }

    /// What a symbolic link holds.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] for anything else.
    pub fn read_link(&self, start: Node, path: &str) -> Outcome<String> {
        let node = self.find(start, path, false)?;
        self.link(node).map(Into::into).ok_or(ErrorKind::InvalidInput)
    }

    /// What is in a directory: names and kinds.
    #[must_use]
    pub fn list(&self, dir: Node) -> Vec<(String, FileType)> {
        let entry = |(name, node): (&String, &Node)| (name.clone(), self.known(*node).file_type);
        self.entries(dir).iter().map(entry).collect()
    }

    /// What is known of an object.
    #[must_use]
    pub fn known(&self, node: Node) -> Known {
        let Object { content, links, mode } = &self.nodes[node];
        let (file_type, len) = match content {
            Content::File(bytes) => (FileType::File, Some(bytes.len().try_into().unwrap())),
            Content::Dir { .. } => (FileType::Directory, None),
            Content::Link(_) => (FileType::Symlink, None),
        };
        let links = (file_type != FileType::Directory).then_some(*links);
        Known { file_type, len, links, mode: *mode }
    }

    /// Set the permission bits of an object.
    pub fn set_mode(&mut self, node: Node, bits: u32) {
        self.nodes[node].mode = Some(bits);
    }
}
