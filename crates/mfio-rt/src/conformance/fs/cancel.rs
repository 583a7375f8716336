//! Futures that are dropped half way, and requests that are cancelled: nothing is lost but what was asked
//! to be.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::Poll,
};

use mfio::{
    error::ErrorKind,
    traits::{IoRead, IoWrite},
};

use super::{
    super::{
        Dir, Fixture,
        tasks::{few_polls, first, join_all},
    },
    CREATE, CREATE_NEW, all_of, as_u64, contents, entries, file, kind, names, next, pattern, same,
};
use crate::{DirHandleExt, FileOps, FileType};

/// After how many polls things are dropped.
const POLLS: [usize; 5] = [0, 1, 2, 3, 8];

/// Not where the program promises that it never happens.
const BORROWED_MAY_BE_DROPPED: bool = !cfg!(mfio_assume_linear_types);

pub(super) async fn a_dropped_read_harms_nothing<D: Dir>(fx: Fixture<D>) {
    let file = file(&fx.dir, "f", &pattern(50_000)).await;
    for polls in POLLS {
        let mut borrowed = vec![0; 20_000];
        if BORROWED_MAY_BE_DROPPED {
            few_polls(polls, file.read_all(7, &mut borrowed[..])).await;
        }
        few_polls(polls, file.read_all(8, vec![0; 20_000])).await;
        few_polls(polls, file.read::<[u8; 4096]>(9)).await;
        let mut all = vec![];
        if few_polls(polls, file.read_to_end(0, &mut all)).await.is_none() {
            same(&all, &pattern(50_000)[..all.len()], "what had arrived");
        }
        same(&all_of::<D>(&file).await, &pattern(50_000), "the file after dropped reads");
    }
}

pub(super) async fn a_dropped_write_harms_nothing_else<D: Dir>(fx: Fixture<D>) {
    for (round, polls) in POLLS.into_iter().enumerate() {
        let file = file(&fx.dir, &format!("f{round}"), &[1; 30_000]).await;
        few_polls(polls, file.write_all(10_000, vec![2; 10_000])).await;
        if BORROWED_MAY_BE_DROPPED {
            few_polls(polls, file.write_all(10_000, &[2; 10_000][..])).await;
        }
        let all = all_of::<D>(&file).await;
        assert_eq!(all.len(), 30_000);
        for (at, byte) in all.into_iter().enumerate() {
            let meant = (10_000..20_000).contains(&at);
            assert!(byte == 1 || (byte == 2 && meant), "byte {at} is {byte} after {polls} polls");
        }
        // It is still good for everything else.
        file.write_all(20_000, vec![3; 10_000]).await.0.unwrap();
        file.write_all(0, &[3; 10_000][..]).await.unwrap();
        let all = all_of::<D>(&file).await;
        same(&all[20_000..], &[3; 10_000], "behind it");
        same(&all[..10_000], &[3; 10_000], "before it");
    }
}

/// Polled once: what came of it, or the future itself.
async fn once<F: Future + Unpin>(mut future: F) -> Result<F::Output, F> {
    let polled = poll_fn(|cx| Poll::Ready(Pin::new(&mut future).poll(cx))).await;
    match polled {
        Poll::Ready(output) => Ok(output),
        Poll::Pending => Err(future),
    }
}

pub(super) async fn a_cancelled_read_gives_the_buffer_back<D: Dir>(fx: Fixture<D>) {
    let file = file(&fx.dir, "f", &pattern(100_000)).await;
    let buf = vec![0xEE; 1000];
    let memory = buf.as_ptr().addr();
    let (outcome, buf) = file.read_all(0, buf).cancel().await;
    let error = outcome.expect_err("what was not sent succeeded");
    assert_eq!((error.kind(), error.good_bytes()), (ErrorKind::Cancelled, Some(0)));
    assert_eq!((buf.as_ptr().addr(), buf.len()), (memory, 1000), "another buffer came back");
    for _ in 0..20 {
        let buf = vec![0xEE; 60_000];
        let memory = buf.as_ptr().addr();
        let (outcome, buf) = match once(file.read_all(100, buf)).await {
            Ok(over) => over,
            Err(reading) => reading.cancel().await,
        };
        assert_eq!((buf.as_ptr().addr(), buf.len()), (memory, 60_000), "another buffer came back");
        let good = match outcome {
            Ok(()) => 60_000,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Cancelled, "{error:?}");
                usize::try_from(error.good_bytes().expect("how much is good")).unwrap()
            }
        };
        same(&buf[..good], &pattern(100_000)[100..100 + good], "the good bytes");
    }
    same(&all_of::<D>(&file).await, &pattern(100_000), "the file");
}

pub(super) async fn a_cancelled_write_gives_the_buffer_back<D: Dir>(fx: Fixture<D>) {
    let file = file(&fx.dir, "f", &[1; 100]).await;
    let (outcome, buf) = file.write_all(0, vec![9; 100]).cancel().await;
    assert_eq!(outcome.expect_err("what was not sent succeeded").kind(), ErrorKind::Cancelled);
    assert_eq!(buf, [9; 100]);
    same(&all_of::<D>(&file).await, &[1; 100], "what was not sent was written");
    for round in 0..20 {
        let (pos, wanted) = (100 + as_u64(round) * 5000, pattern(5000 + round)[round..].to_vec());
        let (outcome, buf) = match once(file.write_all(pos, wanted.clone())).await {
            Ok(over) => over,
            Err(writing) => writing.cancel().await,
        };
        same(&buf, &wanted, "the buffer of a cancelled write");
        let good = match outcome {
            Ok(()) => 5000,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Cancelled, "{error:?}");
                usize::try_from(error.good_bytes().expect("how much is good")).unwrap()
            }
        };
        // It has ended: what it says it wrote is there, and nothing of it comes later.
        let mut back = vec![0; good];
        file.read_all(pos, &mut back[..]).await.unwrap();
        same(&back, &wanted[..good], "what was written before it was cancelled");
        file.write_all(pos, vec![7; 5000]).await.0.unwrap();
        let (outcome, back) = file.read_all(pos, vec![0; 5000]).await;
        outcome.unwrap();
        same(&back, &[7; 5000], "a later write");
    }
}

pub(super) async fn the_first_of_two<D: Dir>(fx: Fixture<D>) {
    let file = file(&fx.dir, "f", &pattern(8192)).await;
    for round in 0..50 {
        let pos = round * 80;
        let read = |len| {
            let file = &file;
            async move {
                let (outcome, buf) = file.read_all(as_u64(pos), vec![0; len]).await;
                outcome.map(|()| buf)
            }
        };
        let buf = first(read(100), read(4000)).await.unwrap();
        same(&buf, &pattern(8192)[pos..pos + buf.len()], "who came first");
    }
    same(&all_of::<D>(&file).await, &pattern(8192), "the file after fifty races");
}

pub(super) async fn half_of_many<D: Dir>(fx: Fixture<D>) {
    let pattern = pattern(200_000);
    let file = file(&fx.dir, "f", &pattern).await;
    let reads = (0..200_usize).map(|number| {
        let (file, pattern) = (&file, &pattern);
        async move {
            let read = file.read_all(as_u64(number * 1000), vec![0; 1000]);
            if number % 2 == 0 {
                few_polls(1 + number % 3, read).await;
                return;
            }
            let (outcome, buf) = read.await;
            outcome.unwrap();
            same(&buf, &pattern[number * 1000..][..1000], "a read among dropped ones");
        }
    });
    join_all(reads).await;
}

pub(super) async fn a_dropped_open<D: Dir>(fx: Fixture<D>) {
    file(&fx.dir, "f", b"kept").await;
    for polls in POLLS {
        few_polls(polls, fx.dir.open_file("f", CREATE)).await;
        few_polls(polls, fx.dir.open_file("new", CREATE_NEW)).await;
        few_polls(polls, fx.dir.open_dir(".")).await;
        // The file may be made or not, now or in a moment; but it is a file, and empty.
        let made = fx.dir.open_file("new", CREATE).await.unwrap();
        assert_eq!(made.size().await.unwrap(), 0);
        same(&contents(&fx.dir, "f").await, b"kept", "a file after a dropped open");
    }
    assert_eq!(names(&fx.dir).await, ["f", "new"]);
}

pub(super) async fn a_dropped_change<D: Dir>(fx: Fixture<D>) {
    for (round, polls) in POLLS.into_iter().enumerate() {
        let (old, new) = (format!("old{round}"), format!("new{round}"));
        file(&fx.dir, &old, old.as_bytes()).await;
        few_polls(polls, fx.dir.rename(&old, &new)).await;
        few_polls(polls, fx.dir.create_dir(format!("dir{round}"))).await;
        // A path operation cannot be taken back half way: it is done or not, at some time from now on.
        let dir = format!("dir{round}");
        fx.dir.create_dir_all(&dir).await.unwrap();
        assert_eq!(kind(&fx.dir, &dir).await, Some(FileType::Directory));
        let found: Vec<String> = names(&fx.dir).await;
        let found = found.iter().filter(|name| **name == old || **name == new).count();
        assert!((1..=2).contains(&found), "a file renamed half way has {found} names");
    }
}

pub(super) async fn a_dropped_listing<D: Dir>(fx: Fixture<D>) {
    let made = (0..150).map(|number| fx.dir.open_file(format!("f{number}"), CREATE_NEW));
    join_all(made).await;
    for polls in POLLS {
        few_polls(polls, fx.dir.read_dir()).await;
        let mut listing = fx.dir.read_dir().await.unwrap();
        few_polls(polls, next::<D>(&mut listing)).await;
        next::<D>(&mut listing).await.expect("there are more");
        drop(listing);
    }
    assert_eq!(entries(&fx.dir).await.len(), 150);
}

pub(super) async fn a_dropped_removal<D: Dir>(fx: Fixture<D>) {
    file(&fx.dir, "beside", b"kept").await;
    for polls in [1, 4, 16, 64] {
        for number in 0..10 {
            fx.dir.create_dir_all(format!("tree/{number}/below")).await.unwrap();
            file(&fx.dir, &format!("tree/{number}/f"), b"").await;
        }
        few_polls(polls, fx.dir.remove_dir_all("tree")).await;
        // What is left of it can be removed. One request may still be on its way, and be faster.
        loop {
            match fx.dir.remove_dir_all("tree").await {
                Ok(()) => break,
                Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}"),
            }
            if kind(&fx.dir, "tree").await.is_none() {
                break;
            }
        }
        same(&contents(&fx.dir, "beside").await, b"kept", "a file beside the tree");
    }
    assert_eq!(names(&fx.dir).await, ["beside"]);
}

pub(super) async fn a_dropped_copy<D: Dir>(fx: Fixture<D>) {
    let bytes = pattern(300_000);
    file(&fx.dir, "from", &bytes).await;
    for (round, polls) in POLLS.into_iter().enumerate() {
        let to = format!("to{round}");
        few_polls(polls, fx.dir.copy("from", &to)).await;
        same(&contents(&fx.dir, "from").await, &bytes, "the original");
        if kind(&fx.dir, &to).await.is_some() {
            let part = contents(&fx.dir, &to).await;
            assert!(part.len() <= bytes.len());
        }
    }
    assert_eq!(fx.dir.copy("from", "whole").await.unwrap(), 300_000);
    same(&contents(&fx.dir, "whole").await, &bytes, "a copy after dropped ones");
}
