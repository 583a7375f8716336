//! Locks: who keeps whom out, who waits, and how it ends.

use mfio::traits::{IoRead, IoWrite};

use super::{
    super::{
        Dir, Fixture, Need,
        tasks::{few_polls, join_all, turn},
    },
    READ_WRITE, file,
};
use crate::{FileOps, fs::Lock};

/// So many handles of one file, each opened for itself.
async fn handles<D: Dir>(fx: &Fixture<D>, count: usize) -> Vec<D::FileHandle> {
    file(&fx.dir, "locked", &[0; 8]).await;
    let opened = join_all((0..count).map(|_| fx.dir.open_file("locked", READ_WRITE))).await;
    opened.into_iter().map(|opened| opened.unwrap()).collect()
}

pub(super) async fn exclusive_keeps_others_out<D: Dir>(fx: Fixture<D>) {
    if fx.lacks(Need::Locks) {
        return;
    }
    let files = handles(&fx, 2).await;
    files[0].lock(Lock::Exclusive).await.unwrap();
    for lock in [Lock::Exclusive, Lock::Shared] {
        assert!(!files[1].try_lock(lock).await.unwrap(), "{lock:?} beside an exclusive lock");
    }
    // It keeps out who locks, and nobody else.
    files[1].write(0, &7_u64).await.unwrap();
    assert_eq!(files[1].read::<u64>(0).await.unwrap(), 7);
    files[0].unlock().await.unwrap();
    assert!(files[1].try_lock(Lock::Exclusive).await.unwrap(), "after it was let go");
    assert!(!files[0].try_lock(Lock::Shared).await.unwrap(), "the other way round");
}

pub(super) async fn shared_keeps_exclusive_out<D: Dir>(fx: Fixture<D>) {
    if fx.lacks(Need::Locks) {
        return;
    }
    let files = handles(&fx, 3).await;
    files[0].lock(Lock::Shared).await.unwrap();
    assert!(files[1].try_lock(Lock::Shared).await.unwrap(), "two cannot share");
    assert!(!files[2].try_lock(Lock::Exclusive).await.unwrap(), "exclusive beside shared ones");
    files[0].unlock().await.unwrap();
    assert!(!files[2].try_lock(Lock::Exclusive).await.unwrap(), "exclusive beside a shared one");
    files[1].unlock().await.unwrap();
    assert!(files[2].try_lock(Lock::Exclusive).await.unwrap(), "exclusive beside nobody");
}

pub(super) async fn clones_share_one<D: Dir>(fx: Fixture<D>) {
    if fx.lacks(Need::Locks) {
        return;
    }
    let files = handles(&fx, 2).await;
    let clone = files[0].clone();
    files[0].lock(Lock::Exclusive).await.unwrap();
    assert!(clone.try_lock(Lock::Exclusive).await.unwrap(), "a clone is kept out");
    assert!(!files[1].try_lock(Lock::Exclusive).await.unwrap());
    clone.unlock().await.unwrap();
    assert!(files[1].try_lock(Lock::Exclusive).await.unwrap(), "a clone let it go");
}

pub(super) async fn a_waiter_gets_it<D: Dir>(fx: Fixture<D>) {
    if fx.lacks(Need::Locks) {
        return;
    }
    for lock in [Lock::Exclusive, Lock::Shared] {
        let files = join_all((0..2).map(|_| fx.dir.open_file("f", READ_WRITE.create(true)))).await;
        let files: Vec<_> = files.into_iter().map(|file| file.unwrap()).collect();
        files[0].lock(Lock::Exclusive).await.unwrap();
        files[0].write(0, &1_u8).await.unwrap();
        let waits = async {
            files[1].lock(lock).await.unwrap();
            assert_eq!(files[1].read::<u8>(0).await.unwrap(), 2, "it was not waited for");
        };
        let lets_go = async {
            for _ in 0..10 {
                turn().await;
            }
            files[0].write(0, &2_u8).await.unwrap();
            files[0].unlock().await.unwrap();
        };
        both(waits, lets_go).await;
        files[1].unlock().await.unwrap();
    }
}

async fn both(a: impl Future<Output = ()> + Send, b: impl Future<Output = ()> + Send) {
    let both: [std::pin::Pin<Box<dyn Future<Output = ()> + Send + '_>>; 2] =
        [Box::pin(a), Box::pin(b)];
    join_all(both).await;
}

pub(super) async fn the_end_of_the_file_lets_go<D: Dir>(fx: Fixture<D>) {
    if fx.lacks(Need::Locks) {
        return;
    }
    let mut files = handles(&fx, 2).await;
    let (second, first) = (files.pop().unwrap(), files.pop().unwrap());
    first.lock(Lock::Exclusive).await.unwrap();
    let clone = first.clone();
    drop(first);
    assert!(!second.try_lock(Lock::Shared).await.unwrap(), "a clone has it still");
    drop(clone);
    // Files are closed in their own time.
    second.lock(Lock::Exclusive).await.unwrap();
}

pub(super) async fn a_waiter_that_gives_up<D: Dir>(fx: Fixture<D>) {
    if fx.lacks(Need::Locks) {
        return;
    }
    let files = handles(&fx, 3).await;
    for polls in [1, 2, 5] {
        files[0].lock(Lock::Exclusive).await.unwrap();
        let waited = few_polls(polls, files[1].lock(Lock::Exclusive)).await;
        assert!(waited.is_none(), "it has {waited:?} while another has it");
        files[0].unlock().await.unwrap();
        // Should the waiter have got it all the same, it was let go.
        files[2].lock(Lock::Exclusive).await.unwrap();
        files[2].unlock().await.unwrap();
    }
}

pub(super) async fn nothing_to_unlock<D: Dir>(fx: Fixture<D>) {
    if fx.lacks(Need::Locks) {
        return;
    }
    let files = handles(&fx, 2).await;
    files[0].unlock().await.unwrap();
    files[0].lock(Lock::Shared).await.unwrap();
    files[1].unlock().await.unwrap();
    assert!(!files[1].try_lock(Lock::Exclusive).await.unwrap(), "it let go of another's lock");
}

pub(super) async fn from_shared_to_exclusive<D: Dir>(fx: Fixture<D>) {
    if fx.lacks(Need::Locks) {
        return;
    }
    let files = handles(&fx, 2).await;
    files[0].lock(Lock::Shared).await.unwrap();
    files[0].lock(Lock::Exclusive).await.unwrap();
    assert!(!files[1].try_lock(Lock::Shared).await.unwrap(), "it is not exclusive");
    files[0].lock(Lock::Shared).await.unwrap();
    assert!(files[1].try_lock(Lock::Shared).await.unwrap(), "it is not shared");
}

pub(super) async fn eight_take_turns<D: Dir>(fx: Fixture<D>) {
    if fx.lacks(Need::Locks) {
        return;
    }
    let files = handles(&fx, 8).await;
    let turns = files.iter().map(|file| async move {
        for _ in 0..4 {
            file.lock(Lock::Exclusive).await.unwrap();
            let count = file.read::<u64>(0).await.unwrap();
            turn().await;
            file.write(0, &(count + 1)).await.unwrap();
            file.unlock().await.unwrap();
        }
    });
    join_all(turns).await;
    assert_eq!(files[0].read::<u64>(0).await.unwrap(), 32, "two had the lock at a time");
}
