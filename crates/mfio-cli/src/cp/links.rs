//! Files with several names, so that their copies have them too.
//!
//! The first name of a file that is met is copied. Names that are met meanwhile wait for it, and become
//! further names of the copy; if it failed, the next one is copied in its place. Only files that have names
//! left to be met are remembered.

use super::plan::Job;
use crate::system::{self, FileId};
use std::collections::HashMap;
use std::path::Path;
use std::rc::Rc;

/// What is known of files with several names.
#[derive(Debug, Default)]
pub(super) struct Links {
    known: HashMap<FileId, Known>,
    ready: Vec<Job>,
    waiting: usize,
}

#[derive(Debug)]
struct Known {
    /// Names that have not been met yet.
    unmet: u64,
    copy: Copy,
}

#[derive(Debug)]
enum Copy {
    /// On its way, under the first name. These names wait for it.
    InFlight(Vec<Job>),
    /// It is there.
    Under(Rc<Path>),
}

/// Names one of several names of a file, for [`Links::ended`].
#[derive(Clone, Debug)]
pub(super) struct OneName {
    id: FileId,
    dst: Rc<Path>,
    is_first: bool,
}

impl Links {
    /// Looks at a job that was found: gives it back if it can begin, keeps it if it has to wait.
    pub(super) fn admit(&mut self, mut job: Job) -> Option<Job> {
        let names = system::names(&job.metadata);
        let Some(id) = system::file_id(&job.metadata).filter(|_| names > 1) else {
            return Some(job);
        };
        let Some(known) = self.known.get_mut(&id) else {
            let copy = Copy::InFlight(Vec::new());
            self.known.insert(id, Known { unmet: names - 1, copy });
            return Some(job);
        };
        known.unmet = known.unmet.saturating_sub(1);
        match &mut known.copy {
            Copy::InFlight(waiting) => {
                waiting.push(job);
                self.waiting += 1;
                return None;
            }
            Copy::Under(path) => job.first = Some(Rc::clone(path)),
        }
        if known.unmet == 0 {
            self.known.remove(&id);
        }
        Some(job)
    }

    /// A job that waited and can begin.
    pub(super) fn next_ready(&mut self) -> Option<Job> {
        self.ready.pop()
    }

    /// Names that wait for the first to be copied.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Which name this job is, if its file has several.
    pub(super) fn name_of(job: &Job) -> Option<OneName> {
        let id = system::file_id(&job.metadata).filter(|_| system::names(&job.metadata) > 1)?;
        Some(OneName { id, dst: job.dst.as_path().into(), is_first: job.first.is_none() })
    }

    /// A copy of the file has (`is_copied`) or has not come about under this name.
    pub(super) fn ended(&mut self, name: OneName, is_copied: bool) {
        let Some(known) = self.known.get_mut(&name.id) else {
            return;
        };
        if is_copied {
            let before = std::mem::replace(&mut known.copy, Copy::Under(Rc::clone(&name.dst)));
            if known.unmet == 0 {
                self.known.remove(&name.id);
            }
            if let Copy::InFlight(waiting) = before {
                self.waiting -= waiting.len();
                let first = |job| Job { first: Some(Rc::clone(&name.dst)), ..job };
                self.ready.extend(waiting.into_iter().map(first));
            }
        } else if let Copy::InFlight(waiting) = &mut known.copy
            && name.is_first
        {
            match waiting.pop() {
                Some(next) => {
                    self.waiting -= 1;
                    self.ready.push(next);
                }
                // The next name that is met is the first again.
                None => drop(self.known.remove(&name.id)),
            }
        }
    }
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::cp::place::Place;
    use crate::system::Creation;

    /// Jobs for `names` names of a file that has `all`.
    fn jobs(dir: &Path, names: usize, all: usize) -> Vec<Job> {
        let path = |name: usize| dir.join(name.to_string());
        std::fs::write(path(0), "x").unwrap();
        (1..all).for_each(|name| std::fs::hard_link(path(0), path(name)).unwrap());
        let place = Rc::new(Place::new(dir, true, Creation::now(), None));
        let job = |name| Job {
            src: path(name),
            dst: path(name),
            metadata: std::fs::symlink_metadata(path(name)).unwrap(),
            place: Rc::clone(&place),
            first: None,
        };
        (0..names).map(job).collect()
    }

    #[test]
    fn names_wait_for_the_first_and_are_forgotten_after_the_last() {
        let dir = tempfile::tempdir().unwrap();
        let mut links = Links::default();
        let mut jobs = jobs(dir.path(), 4, 4).into_iter();
        let first = links.admit(jobs.next().unwrap()).unwrap();
        assert!(links.admit(jobs.next().unwrap()).is_none());
        assert!(links.admit(jobs.next().unwrap()).is_none());
        assert!(links.waiting() == 2 && links.next_ready().is_none());
        links.ended(Links::name_of(&first).unwrap(), true);
        for _ in 0..2 {
            let job = links.next_ready().unwrap();
            assert_eq!(job.first.as_deref(), Some(first.dst.as_path()));
            links.ended(Links::name_of(&job).unwrap(), false);
        }
        let last = links.admit(jobs.next().unwrap()).unwrap();
        assert_eq!(last.first.as_deref(), Some(first.dst.as_path()));
        assert!(links.known.is_empty() && links.waiting() == 0);
    }

    #[test]
    fn a_failed_first_is_followed_by_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let mut links = Links::default();
        // One more name than are met, as with a name outside of the tree.
        let mut jobs = jobs(dir.path(), 4, 5).into_iter();
        let first = links.admit(jobs.next().unwrap()).unwrap();
        assert!(links.admit(jobs.next().unwrap()).is_none());
        assert!(links.admit(jobs.next().unwrap()).is_none());
        links.ended(Links::name_of(&first).unwrap(), false);
        let second = links.next_ready().unwrap();
        assert!(second.first.is_none() && links.next_ready().is_none());
        links.ended(Links::name_of(&second).unwrap(), false);
        let third = links.next_ready().unwrap();
        links.ended(Links::name_of(&third).unwrap(), false);
        assert!(links.waiting() == 0 && links.known.is_empty());
        let fourth = links.admit(jobs.next().unwrap()).unwrap();
        assert!(fourth.first.is_none());
    }
}
