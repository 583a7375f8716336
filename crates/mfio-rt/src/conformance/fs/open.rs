//! Opening files: every option, and every way to fail.

use mfio::{
    error::ErrorKind,
    traits::{IoRead, IoWrite},
};

use super::{
    super::{Dir, Fixture, Need, tasks::join_all},
    APPEND, CREATE, CREATE_NEW, READ, READ_WRITE, WRITE, all_of, as_u64, contents, file, kind,
    names, pattern, refused, refused_to_open, same,
};
use crate::{DirHandleExt, FileOps, FileType, OpenOptions, Path, fs::Durability};

pub(super) async fn a_missing_file<D: Dir>(fx: Fixture<D>) {
    for options in [READ, WRITE, READ_WRITE, APPEND, WRITE.truncate(true)] {
        let opened = fx.dir.open_file("missing", options).await;
        refused_to_open(opened, &[ErrorKind::NotFound], "a missing file");
    }
    let opened = fx.dir.open_file("missing/file", CREATE).await;
    refused_to_open(opened, &[ErrorKind::NotFound], "a file in a missing directory");
    assert_eq!(names(&fx.dir).await, [""; 0], "something was made all the same");
}

pub(super) async fn create_makes_an_empty_file<D: Dir>(fx: Fixture<D>) {
    for (name, options) in
        [("a", WRITE), ("b", READ_WRITE), ("c", APPEND), ("d", WRITE.truncate(true))]
    {
        let file = fx.dir.open_file(name, options.create(true)).await.unwrap();
        assert_eq!(file.size().await.unwrap(), 0);
        assert_eq!(kind(&fx.dir, name).await, Some(FileType::File));
    }
    assert_eq!(names(&fx.dir).await, ["a", "b", "c", "d"]);
}

pub(super) async fn create_keeps_what_is_there<D: Dir>(fx: Fixture<D>) {
    file(&fx.dir, "f", b"kept").await;
    let again = fx.dir.open_file("f", CREATE).await.unwrap();
    same(&all_of::<D>(&again).await, b"kept", "a file opened with `create`");
}

pub(super) async fn create_new_makes_it<D: Dir>(fx: Fixture<D>) {
    let made = fx.dir.open_file("f", CREATE_NEW).await.unwrap();
    made.write_all(0, &b"new"[..]).await.unwrap();
    // What `create` and `truncate` would do does not matter beside it.
    let also = CREATE_NEW.create(true).truncate(true);
    refused_to_open(fx.dir.open_file("f", also).await, &[ErrorKind::AlreadyExists], "once more");
    same(&contents(&fx.dir, "f").await, b"new", "the file");
}

pub(super) async fn create_new_refuses_what_is_there<D: Dir>(fx: Fixture<D>) {
    file(&fx.dir, "file", b"kept").await;
    fx.dir.create_dir("dir").await.unwrap();
    for name in ["file", "dir"] {
        let opened = fx.dir.open_file(name, CREATE_NEW).await;
        refused_to_open(opened, &[ErrorKind::AlreadyExists], name);
    }
    same(&contents(&fx.dir, "file").await, b"kept", "the file");
    if fx.lacks(Need::Symlinks) {
        return;
    }
    // A link is something, also if it leads nowhere; and what it leads to is not made.
    fx.dir.symlink("nowhere", "link").await.unwrap();
    let opened = fx.dir.open_file("link", CREATE_NEW).await;
    refused_to_open(opened, &[ErrorKind::AlreadyExists], "a link to nowhere");
    assert_eq!(kind(&fx.dir, "nowhere").await, None);
}

pub(super) async fn one_of_eight_creators_wins<D: Dir>(fx: Fixture<D>) {
    for round in 0..8 {
        let name = format!("f{round}");
        let opened = join_all((0..8).map(|_| fx.dir.open_file(&name, CREATE_NEW))).await;
        let (won, lost): (Vec<_>, Vec<_>) = opened.into_iter().partition(Result::is_ok);
        assert_eq!(won.len(), 1, "{} of eight made the file", won.len());
        for lost in lost {
            refused_to_open(lost, &[ErrorKind::AlreadyExists], "who came late");
        }
    }
}

pub(super) async fn truncate_empties<D: Dir>(fx: Fixture<D>) {
    let before = file(&fx.dir, "f", &pattern(5000)).await;
    let opened = fx.dir.open_file("f", READ_WRITE.truncate(true)).await.unwrap();
    assert_eq!(opened.size().await.unwrap(), 0);
    assert_eq!(before.size().await.unwrap(), 0, "the handle from before sees another file");
    opened.write_all(10, &b"x"[..]).await.unwrap();
    same(&all_of::<D>(&before).await, b"\0\0\0\0\0\0\0\0\0\0x", "what was cut off came back");
}

pub(super) async fn truncate_spares_other_names<D: Dir>(fx: Fixture<D>) {
    file(&fx.dir, "f", b"one").await;
    file(&fx.dir, "ff", b"two").await;
    fx.dir.open_file("f", WRITE.truncate(true)).await.unwrap();
    same(&contents(&fx.dir, "ff").await, b"two", "another file");
}

pub(super) async fn options_that_make_no_sense<D: Dir>(fx: Fixture<D>) {
    file(&fx.dir, "f", b"kept").await;
    let nothing = OpenOptions::new();
    let senseless = [
        ("nothing at all", nothing),
        ("create alone", nothing.create(true)),
        ("create and read", READ.create(true)),
        ("create_new and read", READ.create_new(true)),
        ("truncate alone", nothing.truncate(true)),
        ("truncate and read", READ.truncate(true)),
        ("truncate and append", APPEND.truncate(true)),
    ];
    for (what, options) in senseless {
        for name in ["f", "missing"] {
            let opened = fx.dir.open_file(name, options).await;
            refused_to_open(opened, &[ErrorKind::InvalidInput], what);
        }
    }
    same(&contents(&fx.dir, "f").await, b"kept", "a file opened without sense");
    assert_eq!(names(&fx.dir).await, ["f"]);
}

pub(super) async fn a_reader_cannot_write<D: Dir>(fx: Fixture<D>) {
    file(&fx.dir, "f", b"kept").await;
    let reader = fx.dir.open_file("f", READ).await.unwrap();
    assert!(reader.write_all(0, &b"lost"[..]).await.is_err(), "a reader wrote");
    let (outcome, buf) = reader.write_all(0, vec![1; 4]).await;
    assert!(outcome.is_err(), "a reader wrote");
    assert_eq!(buf, [1; 4], "the buffer of a refused write");
    same(&contents(&fx.dir, "f").await, b"kept", "the file");
}

pub(super) async fn a_writer_cannot_read<D: Dir>(fx: Fixture<D>) {
    file(&fx.dir, "f", b"secret").await;
    let writer = fx.dir.open_file("f", WRITE).await.unwrap();
    let mut buf = [7; 3];
    let error = writer.read_all(0, &mut buf[..]).await.expect_err("a writer read");
    assert_eq!(error.good_bytes().unwrap_or(0), 0);
    writer.write_all(0, &b"S"[..]).await.unwrap();
    same(&contents(&fx.dir, "f").await, b"Secret", "the file");
}

pub(super) async fn append_ignores_positions<D: Dir>(fx: Fixture<D>) {
    let other = file(&fx.dir, "f", b"one ").await;
    let appender = fx.dir.open_file("f", APPEND).await.unwrap();
    appender.write_all(0, &b"two "[..]).await.unwrap();
    appender.write_all(1 << 20, &b"three "[..]).await.unwrap();
    // Somebody else moves the end.
    other.write_all(14, &b"four "[..]).await.unwrap();
    appender.write_all(0, &b"five"[..]).await.unwrap();
    same(&contents(&fx.dir, "f").await, b"one two three four five", "the file");
    other.set_len(4).await.unwrap();
    appender.write_all(99, &b"six"[..]).await.unwrap();
    // Reads do go by their position.
    let mut buf = [0; 3];
    appender.read_all(4, &mut buf[..]).await.unwrap();
    assert_eq!(&buf, b"six");
    assert_eq!(appender.size().await.unwrap(), 7);
}

pub(super) async fn appends_of_many_lose_nothing<D: Dir>(fx: Fixture<D>) {
    const RECORD: usize = 16;
    let options = APPEND.create(true);
    let handles = join_all((0..8).map(|_| fx.dir.open_file("log", options))).await;
    let appends = handles.iter().flat_map(|handle| {
        let handle = handle.as_ref().unwrap();
        (0..32).map(move |_| handle)
    });
    let appends = appends.enumerate().map(|(number, handle)| async move {
        let record = format!("record {number:08}\n");
        assert_eq!(record.len(), RECORD);
        handle.write_all(0, record.into_bytes()).await.0.unwrap();
    });
    join_all(appends).await;
    let log = contents(&fx.dir, "log").await;
    let mut records: Vec<&[u8]> = log.chunks(RECORD).collect();
    records.sort_unstable();
    assert_eq!(records.len(), 8 * 32, "records are missing");
    for (number, record) in records.into_iter().enumerate() {
        same(record, format!("record {number:08}\n").as_bytes(), "a record");
    }
}

pub(super) async fn a_directory_is_no_file<D: Dir>(fx: Fixture<D>) {
    fx.dir.create_dir("dir").await.unwrap();
    let kinds = &[ErrorKind::IsADirectory, ErrorKind::PermissionDenied];
    for options in [WRITE, READ_WRITE, CREATE, APPEND, WRITE.truncate(true)] {
        refused_to_open(fx.dir.open_file("dir", options).await, kinds, "a directory, to write");
    }
    // Some systems open a directory to read, and refuse the read.
    match fx.dir.open_file("dir", READ).await {
        Ok(opened) => {
            refused(opened.read_all(0, &mut [0; 4][..]).await, kinds, "bytes of a directory")
        }
        opened => refused_to_open(opened, kinds, "a directory, to read"),
    }
}

pub(super) async fn a_file_is_no_directory<D: Dir>(fx: Fixture<D>) {
    file(&fx.dir, "f", b"kept").await;
    let kinds = &[ErrorKind::NotADirectory, ErrorKind::NotFound];
    for options in [READ, CREATE, CREATE_NEW] {
        refused_to_open(fx.dir.open_file("f/x", options).await, kinds, "a file below a file");
    }
    same(&contents(&fx.dir, "f").await, b"kept", "the file");
}

pub(super) async fn a_slash_behind_a_file<D: Dir>(fx: Fixture<D>) {
    use ErrorKind::{InvalidInput, IsADirectory, NotADirectory, NotFound};
    file(&fx.dir, "f", b"kept").await;
    let kinds = &[NotADirectory, IsADirectory, InvalidInput, NotFound];
    for options in [READ, READ_WRITE, CREATE, WRITE.truncate(true)] {
        refused_to_open(fx.dir.open_file("f/", options).await, kinds, "a file with a slash behind");
    }
    refused_to_open(
        fx.dir.open_file("new/", CREATE).await,
        kinds,
        "a new file with a slash behind",
    );
    refused(fx.dir.metadata("f/").await, kinds, "metadata of a file with a slash behind");
    refused(fx.dir.remove_file("f/").await, kinds, "removing a file with a slash behind");
    same(&contents(&fx.dir, "f").await, b"kept", "the file");
    assert_eq!(names(&fx.dir).await, ["f"]);
}

pub(super) async fn an_empty_path<D: Dir>(fx: Fixture<D>) {
    let kinds = &[ErrorKind::NotFound, ErrorKind::InvalidInput];
    let dir = &fx.dir;
    file(dir, "f", b"kept").await;
    for options in [READ, CREATE, CREATE_NEW] {
        refused_to_open(dir.open_file("", options).await, kinds, "open");
    }
    refused_to_open(dir.open_dir("").await, kinds, "open a directory");
    refused(dir.metadata("").await, kinds, "metadata");
    refused(dir.symlink_metadata("").await, kinds, "metadata of a link");
    refused(dir.read_link("").await, kinds, "read a link");
    refused(dir.remove_file("").await, kinds, "remove a file");
    refused(dir.remove_dir("").await, kinds, "remove a directory");
    refused(dir.remove_dir_all("").await, kinds, "remove a tree");
    refused(dir.rename("f", "").await, kinds, "rename to it");
    refused(dir.rename("", "g").await, kinds, "rename it");
    refused(dir.copy("f", "").await, kinds, "copy to it");
    refused(dir.copy("", "g").await, kinds, "copy it");
    assert_eq!(names(dir).await, ["f"]);
}

pub(super) async fn a_zero_byte<D: Dir>(fx: Fixture<D>) {
    let (dir, kinds, bad) = (&fx.dir, &[ErrorKind::InvalidInput], "f\0g");
    file(dir, "f", b"kept").await;
    for options in [READ, CREATE, CREATE_NEW, WRITE.truncate(true)] {
        refused_to_open(dir.open_file(bad, options).await, kinds, "open");
    }
    refused_to_open(dir.open_dir(bad).await, kinds, "open a directory");
    refused(dir.metadata(bad).await, kinds, "metadata");
    refused(dir.create_dir(bad).await, kinds, "create a directory");
    refused(dir.create_dir_all(bad).await, kinds, "create directories");
    refused(dir.remove_file(bad).await, kinds, "remove a file");
    refused(dir.remove_dir(bad).await, kinds, "remove a directory");
    refused(dir.rename("f", bad).await, kinds, "rename to it");
    refused(dir.rename(bad, "g").await, kinds, "rename it");
    refused(dir.copy("f", bad).await, kinds, "copy to it");
    refused(dir.copy(bad, "g").await, kinds, "copy it");
    refused(dir.read_link(bad).await, kinds, "read a link");
    if !fx.lacks(Need::Symlinks) {
        refused(dir.symlink(bad, "g").await, kinds, "a link to it");
        refused(dir.symlink("f", bad).await, kinds, "a link of that name");
    }
    if !fx.lacks(Need::HardLinks) {
        refused(dir.hard_link("f", bad).await, kinds, "a second name");
    }
    assert_eq!(names(dir).await, ["f"]);
    same(&contents(dir, "f").await, b"kept", "the file");
}

pub(super) async fn long_names<D: Dir>(fx: Fixture<D>) {
    let (fits, too_long) = ("n".repeat(255), "n".repeat(256));
    file(&fx.dir, &fits, b"long").await;
    same(&contents(&fx.dir, &fits).await, b"long", "the file");
    assert_eq!(names(&fx.dir).await, [fits.as_str()]);
    let kinds = &[ErrorKind::InvalidInput];
    refused_to_open(fx.dir.open_file(&too_long, CREATE).await, kinds, "a name of 256 bytes");
    refused(fx.dir.create_dir(&too_long).await, kinds, "a directory's name of 256 bytes");
    refused(fx.dir.rename(&fits, &too_long).await, kinds, "a new name of 256 bytes");
}

pub(super) async fn long_paths<D: Dir>(fx: Fixture<D>) {
    // In one piece it is longer than systems take; none of its parts is.
    let part = "p".repeat(200);
    let path = vec![part.as_str(); 30].join("/");
    refused_to_open(
        fx.dir.open_file(&path, CREATE).await,
        &[ErrorKind::InvalidInput],
        "a path of 6 kB",
    );
    let mut dir = fx.dir.clone();
    for _ in 0..30 {
        dir.create_dir(&part).await.unwrap();
        dir = dir.open_dir(&part).await.unwrap();
    }
    file(&dir, "f", b"far").await;
    same(&contents(&dir, "f").await, b"far", "a file 6 kB down");
    fx.dir.remove_dir_all(&part).await.unwrap();
}

pub(super) async fn names_that_are_no_text<D: Dir>(fx: Fixture<D>) {
    let Some(name) = fx.odd_name() else { return };
    let made = fx.dir.open_file(&name, CREATE_NEW).await.unwrap();
    made.write_all(0, &b"odd"[..]).await.unwrap();
    same(&contents(&fx.dir, &name).await, b"odd", "the file");
    let listed = super::entries(&fx.dir).await;
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].name().as_path(), name.as_path(), "its name in the listing");
    assert_eq!(listed[0].name().to_str(), None, "it is text after all");
    same(&contents(&fx.dir, listed[0].name()).await, b"odd", "the file by its listed name");
    fx.dir.remove_file(&name).await.unwrap();
    fx.dir.create_dir(&name).await.unwrap();
    let inside = fx.dir.open_dir(&name).await.unwrap();
    if !fx.lacks(Need::Symlinks) {
        inside.symlink(&name, "link").await.unwrap();
        assert_eq!(inside.read_link("link").await.unwrap(), name);
    }
    let path = inside.path().await.unwrap();
    assert_eq!(path.file_name(), name.file_name(), "the end of the directory's path");
}

pub(super) async fn names_that_differ_by_case<D: Dir>(fx: Fixture<D>) {
    if fx.lacks(Need::Case) {
        return;
    }
    file(&fx.dir, "name", b"small").await;
    file(&fx.dir, "Name", b"large").await;
    same(&contents(&fx.dir, "name").await, b"small", "the first");
    assert_eq!(names(&fx.dir).await, ["Name", "name"]);
}

pub(super) async fn dots_on_the_way<D: Dir>(fx: Fixture<D>) {
    fx.dir.create_dir_all("a/b").await.unwrap();
    file(&fx.dir, "a/f", b"found").await;
    let ways = ["./a/f", "a/./f", "a//f", "a/b/../f", "a/b/.././b/../../a/f", ".//./a///f"];
    for way in ways {
        same(&contents(&fx.dir, way).await, b"found", way);
    }
    // It has to be there to be left again.
    let kinds = &[ErrorKind::NotFound];
    refused_to_open(fx.dir.open_file("a/missing/../f", READ).await, kinds, "by way of nothing");
    let kinds = &[ErrorKind::NotADirectory, ErrorKind::NotFound];
    refused_to_open(fx.dir.open_file("a/f/../f", READ).await, kinds, "by way of a file");
    let below = fx.dir.open_dir("a/b").await.unwrap();
    same(&contents(&below, "../f").await, b"found", "from below");
}

pub(super) async fn links_are_followed<D: Dir>(fx: Fixture<D>) {
    if fx.lacks(Need::Symlinks) {
        return;
    }
    file(&fx.dir, "f", b"target").await;
    fx.dir.symlink("f", "one").await.unwrap();
    fx.dir.symlink("one", "two").await.unwrap();
    let opened = fx.dir.open_file("two", READ_WRITE).await.unwrap();
    opened.write_all(0, &b"T"[..]).await.unwrap();
    same(&contents(&fx.dir, "f").await, b"Target", "the file at the end of two links");
    let mut last = "two".to_owned();
    for number in 0..20 {
        let link = format!("link{number}");
        fx.dir.symlink(&last, &link).await.unwrap();
        last = link;
    }
    same(&contents(&fx.dir, &last).await, b"Target", "the file at the end of 22 links");
}

pub(super) async fn links_are_not_followed<D: Dir>(fx: Fixture<D>) {
    if fx.lacks(Need::Symlinks) {
        return;
    }
    file(&fx.dir, "f", b"target").await;
    fx.dir.create_dir("dir").await.unwrap();
    file(&fx.dir, "dir/f", b"below").await;
    fx.dir.symlink("f", "link").await.unwrap();
    fx.dir.symlink("dir", "way").await.unwrap();
    let kinds = &[ErrorKind::FilesystemLoop];
    for options in [READ, READ_WRITE, CREATE, WRITE.truncate(true)] {
        refused_to_open(fx.dir.open_file("link", options.follow(false)).await, kinds, "a link");
    }
    same(&contents(&fx.dir, "f").await, b"target", "what the link leads to");
    // What is meant is the end of the path. Links on the way, and what is no link, are as ever.
    for path in ["f", "way/f"] {
        fx.dir.open_file(path, READ.follow(false)).await.unwrap();
    }
}

pub(super) async fn a_link_to_nowhere<D: Dir>(fx: Fixture<D>) {
    if fx.lacks(Need::Symlinks) {
        return;
    }
    fx.dir.symlink("nowhere", "link").await.unwrap();
    let kinds = &[ErrorKind::NotFound];
    refused_to_open(fx.dir.open_file("link", READ).await, kinds, "a link to nowhere");
    refused(fx.dir.metadata("link").await, kinds, "metadata behind it");
    assert_eq!(kind(&fx.dir, "link").await, Some(FileType::Symlink));
    // Creating goes by way of the link.
    let made = fx.dir.open_file("link", CREATE).await.unwrap();
    made.write_all(0, &b"made"[..]).await.unwrap();
    same(&contents(&fx.dir, "nowhere").await, b"made", "what the link leads to");
    assert_eq!(kind(&fx.dir, "link").await, Some(FileType::Symlink));
}

pub(super) async fn links_in_a_circle<D: Dir>(fx: Fixture<D>) {
    if fx.lacks(Need::Symlinks) {
        return;
    }
    for (target, link) in [("self", "self"), ("b", "a"), ("a", "b"), ("deeper/x", "deeper")] {
        fx.dir.symlink(target, link).await.unwrap();
    }
    let kinds = &[ErrorKind::FilesystemLoop];
    for link in ["self", "a", "deeper", "self/x", "a/x"] {
        refused_to_open(fx.dir.open_file(link, READ).await, kinds, link);
        refused_to_open(fx.dir.open_file(link, CREATE).await, kinds, link);
        refused(fx.dir.metadata(link).await, kinds, link);
        refused_to_open(fx.dir.open_dir(link).await, kinds, link);
    }
    for link in ["self", "a", "b"] {
        fx.dir.remove_file(link).await.unwrap();
    }
}

pub(super) async fn permission_bits_of_a_new_file<D: Dir>(fx: Fixture<D>) {
    if fx.lacks(Need::Modes) {
        return;
    }
    // What belongs to the owner alone is what no usual umask takes away.
    for bits in [0o600, 0o700, 0o400] {
        let name = format!("{bits:o}");
        let made = fx.dir.open_file(&name, CREATE_NEW.mode(bits)).await.unwrap();
        let got = made.metadata().await.unwrap().permissions().mode();
        assert_eq!(got, Some(bits), "{got:?}");
        // Whoever made it may use it as was asked, whatever the bits say to those who come.
        made.write_all(0, &b"x"[..]).await.unwrap();
    }
    // They are for new files only.
    fx.dir.open_file("600", CREATE.mode(0o777)).await.unwrap();
    let got = fx.dir.metadata("600").await.unwrap().permissions().mode();
    assert_eq!(got, Some(0o600), "{got:?}");
}

pub(super) async fn handles_are_independent<D: Dir>(fx: Fixture<D>) {
    file(&fx.dir, "f", b"shared").await;
    let first = fx.dir.open_file("f", READ).await.unwrap();
    let second = fx.dir.open_file("f", READ).await.unwrap();
    let clone = first.clone();
    drop(first);
    same(&all_of::<D>(&clone).await, b"shared", "a clone whose original is gone");
    drop(clone);
    same(&all_of::<D>(&second).await, b"shared", "another handle");
}

pub(super) async fn a_file_without_a_name<D: Dir>(fx: Fixture<D>) {
    if fx.lacks(Need::OpenUnlinked) {
        return;
    }
    let old = file(&fx.dir, "f", &pattern(5000)).await;
    fx.dir.remove_file("f").await.unwrap();
    let new = file(&fx.dir, "f", b"another").await;
    same(&all_of::<D>(&old).await, &pattern(5000), "the file without a name");
    old.write_all(5000, &b"and more"[..]).await.unwrap();
    assert_eq!(old.size().await.unwrap(), 5008);
    same(&all_of::<D>(&new).await, b"another", "who has its name now");
}

pub(super) async fn direct_transfers<D: Dir>(fx: Fixture<D>) {
    let opened = match fx.dir.open_file("f", CREATE.direct(true)).await {
        Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => {
            return fx.skip(format!("no direct transfers here: {error}"));
        }
        opened => opened.unwrap(),
    };
    let needed = opened.alignment().await.unwrap();
    assert!(needed.memory.is_power_of_two() && needed.offset.is_power_of_two(), "{needed:?}");
    // Memory from an allocator may lie anywhere: a bit more of it, and the part that is aligned.
    let block: usize = needed.offset.try_into().unwrap();
    let room = vec![0_u8; 4 * block + needed.memory];
    let from = room.as_ptr().align_offset(needed.memory);
    let mut written = room;
    written[from..from + 4 * block].copy_from_slice(&pattern(4 * block));
    // Borrowed memory goes by way of a packet, of which nothing is known: an error is allowed, and
    // wrong bytes are not.
    let outcome = opened.write_all(needed.offset, &written[from..from + 4 * block]).await;
    let holds = contents(&fx.dir, "f").await;
    match outcome {
        Ok(()) => {
            assert_eq!(holds.len(), 5 * block);
            same(&holds[block..], &pattern(4 * block), "what was written past the cache");
        }
        Err(error) => {
            refused::<()>(Err(error), &[ErrorKind::InvalidInput], "memory that is not aligned");
        }
    }
}

pub(super) async fn durable_from_the_start<D: Dir>(fx: Fixture<D>) {
    for (name, durability) in [("data", Durability::Data), ("all", Durability::All)] {
        let made = fx.dir.open_file(name, CREATE.durability(durability)).await.unwrap();
        for at in 0..4 {
            made.write_all(at * 100, pattern(100)).await.0.unwrap();
        }
        assert_eq!(made.size().await.unwrap(), as_u64(400));
        same(&contents(&fx.dir, Path::new(name)).await[300..], &pattern(100), name);
    }
}
