//! Many of everything: what fixed tables and small queues do not survive.

use mfio::traits::{IoRead, IoWrite};

use super::{
    super::{Dir, Fixture, Need, tasks::join_all},
    CREATE, CREATE_NEW, READ, as_u64, entries, file, names,
};
use crate::DirHandleExt;

pub(super) async fn two_thousand_open_files<D: Dir>(fx: Fixture<D>) {
    if fx.lacks(Need::ManyFiles) {
        return;
    }
    let mut open = vec![];
    for number in 0..2000_u64 {
        let file = fx.dir.open_file(format!("f{}", number % 100), CREATE).await.unwrap();
        file.write(number * 8, &number).await.unwrap();
        open.push(file);
    }
    for (number, file) in open.iter().enumerate() {
        assert_eq!(file.read::<u64>(as_u64(number) * 8).await.unwrap(), as_u64(number));
    }
}

pub(super) async fn five_hundred_directories<D: Dir>(fx: Fixture<D>) {
    if fx.lacks(Need::ManyFiles) {
        return;
    }
    let mut open = vec![];
    for number in 0..500 {
        let name = format!("d{}", number % 50);
        fx.dir.create_dir_all(&name).await.unwrap();
        open.push(fx.dir.open_dir(name).await.unwrap());
    }
    let made = open.iter().enumerate().map(|(number, dir)| async move {
        dir.open_file(format!("f{number}"), CREATE_NEW).await.unwrap();
    });
    join_all(made).await;
    for dir in &open[450..] {
        assert_eq!(entries(dir).await.len(), 10);
    }
}

pub(super) async fn two_thousand_at_once<D: Dir>(fx: Fixture<D>) {
    // More than a ring has entries or a pool has threads, of all kinds in one heap.
    let shared = file(&fx.dir, "shared", &[7; 4096]).await;
    let requests = (0..2000_u64).map(|number| {
        let (dir, shared) = (&fx.dir, &shared);
        async move {
            match number % 5 {
                0 => {
                    dir.metadata("shared").await.unwrap();
                }
                1 => {
                    dir.open_file("shared", READ).await.unwrap();
                }
                2 => dir.create_dir(format!("d{number}")).await.unwrap(),
                3 => assert_eq!(shared.read::<[u8; 16]>(number).await.unwrap(), [7; 16]),
                _ => shared.write(8192 + number * 8, &number).await.unwrap(),
            }
        }
    });
    join_all(requests).await;
    assert_eq!(entries(&fx.dir).await.len(), 401);
    for number in (4..2000_u64).step_by(5) {
        assert_eq!(shared.read::<u64>(8192 + number * 8).await.unwrap(), number);
    }
}

pub(super) async fn a_hundred_and_twenty_levels<D: Dir>(fx: Fixture<D>) {
    let mut dir = fx.dir.clone();
    for _ in 0..120 {
        dir.create_dir("below").await.unwrap();
        dir = dir.open_dir("below").await.unwrap();
    }
    file(&dir, "f", b"far down").await;
    let way = vec!["below"; 120].join("/");
    let same_dir = fx.dir.open_dir(&way).await.unwrap();
    assert_eq!(names(&same_dir).await, ["f"]);
    let back = vec![".."; 120].join("/");
    assert_eq!(names(&dir.open_dir(back).await.unwrap()).await, ["below"]);
    fx.dir.remove_dir_all("below").await.unwrap();
}
