//! Files and directories: the cases, by group, and what they share.

mod cancel;
mod copy;
mod dirs;
mod faces;
mod limits;
mod links;
mod listing;
mod locks;
mod metadata;
mod open;
mod remove;
mod rename;
mod storage;
mod transfer;

use std::{fmt::Debug, future::poll_fn, pin::Pin};

use futures_core::Stream;
use mfio::{
    error::{ErrorKind, Result},
    traits::{IoRead, IoWrite},
};

use super::{Case, Dir};
use crate::{
    DirHandleExt, OpenOptions, Path,
    fs::{DirEntry, FileType},
};

pub use faces::blocking;

/// The list of all cases, in groups. Handed to the macro called `$with`, which gets `$to` besides.
#[doc(hidden)]
#[macro_export]
macro_rules! __fs_cases {
    ($with:ident $to:tt) => {
        $crate::$with! { $to
            open {
                a_missing_file
                create_makes_an_empty_file
                create_keeps_what_is_there
                create_new_makes_it
                create_new_refuses_what_is_there
                one_of_eight_creators_wins
                truncate_empties
                truncate_spares_other_names
                options_that_make_no_sense
                a_reader_cannot_write
                a_writer_cannot_read
                append_ignores_positions
                appends_of_many_lose_nothing
                a_directory_is_no_file
                a_file_is_no_directory
                a_slash_behind_a_file
                an_empty_path
                a_zero_byte
                long_names
                long_paths
                names_that_are_no_text
                names_that_differ_by_case
                dots_on_the_way
                links_are_followed
                links_are_not_followed
                a_link_to_nowhere
                links_in_a_circle
                permission_bits_of_a_new_file
                handles_are_independent
                a_file_without_a_name
                direct_transfers
                durable_from_the_start
            }
            transfer {
                what_is_written_is_read
                a_short_read_says_how_much_is_good
                nothing_past_the_end
                no_bytes_at_all
                holes_read_as_zeroes
                beyond_4_gib
                the_largest_positions
                every_length_at_odd_places
                the_later_write_wins
                overlapping_writes_in_flight
                read_to_end_from_anywhere
                values
                owned_buffers_come_back
                packets_come_back
                a_packet_used_again
                several_requests_in_a_row
                several_buffers_at_once
                several_buffers_appended
                a_thousand_in_flight
                eight_mib_at_once
                clones_in_one_task
                clones_on_other_threads
                other_handles_see_it_at_once
                a_layer_that_splits
            }
            cancel {
                a_dropped_read_harms_nothing
                a_dropped_write_harms_nothing_else
                a_cancelled_read_gives_the_buffer_back
                a_cancelled_write_gives_the_buffer_back
                the_first_of_two
                half_of_many
                a_dropped_open
                a_dropped_change
                a_dropped_listing
                a_dropped_removal
                a_dropped_copy
            }
            metadata {
                kinds_and_lengths
                size_follows_the_end
                links_followed_or_not
                the_handle_and_the_path_agree
                a_missing_object
                identities
                link_counts
                times_to_the_nanosecond
                times_not_named_stay
                times_before_1970
                a_write_changes_the_time
                the_present_time
                permission_bits
                read_only_or_not
                owners
            }
            storage {
                set_len_cuts
                set_len_extends_by_zeroes
                set_len_beyond_4_gib
                set_len_needs_a_writer
                a_cut_below_a_reader
                allocate_extends
                allocate_keeps_what_is_there
                a_punched_hole_reads_as_zeroes
                a_hole_past_the_end
                where_data_is
                holes_take_no_storage
                syncs
                write_and_sync_gives_the_buffer_back
                write_and_sync_says_why_not
                durability_of_one_handle
            }
            locks {
                exclusive_keeps_others_out
                shared_keeps_exclusive_out
                clones_share_one
                a_waiter_gets_it
                the_end_of_the_file_lets_go
                a_waiter_that_gives_up
                nothing_to_unlock
                from_shared_to_exclusive
                eight_take_turns
            }
            dirs {
                create_and_remove
                create_where_something_is
                create_below_nothing
                create_below_a_file
                create_all
                create_all_over_a_file
                create_all_by_eight
                relative_to_handles
                by_links_or_not
                a_handle_of_something_else
                a_handle_survives_a_rename
                a_handle_of_what_is_gone
                where_it_is
                absolute_paths
                room
                sync_of_names
                confined_by_dots
                confined_by_absolute_paths
                confined_by_links
                confined_inside
                confined_for_changes
            }
            listing {
                of_nothing
                kinds_and_numbers
                a_thousand_entries
                two_at_once
                anew
                while_others_come_and_go
                a_directory_that_is_gone
            }
            remove {
                a_missing_name
                a_full_directory
                a_file_as_a_directory
                a_directory_as_a_file
                a_link_and_not_its_target
                a_deep_tree
                a_wide_tree
                a_tree_with_links
                a_tree_that_is_none
                a_tree_while_others_write
            }
            rename {
                onto_nothing
                replacing_all_pairs_of_kinds
                leaving_all_pairs_of_kinds
                exchanging_all_pairs_of_kinds
                a_missing_name
                onto_itself
                onto_another_name_of_the_same_file
                into_its_own_subtree
                onto_its_own_parent
                between_directories
                below_a_missing_directory
                an_open_file
                readers_see_the_old_or_the_new
            }
            links {
                two_names_one_file
                a_second_name_in_use
                of_a_missing_file
                of_a_directory
                of_a_link
                targets_come_back_as_written
                a_target_of_no_bytes
                a_symbolic_link_in_the_way
                reading_what_is_no_link
                through_directories
                relative_to_where_the_link_is
            }
            copy {
                of_all_sizes
                takes_the_permission_bits
                onto_a_longer_file
                onto_itself
                onto_another_name_of_itself
                of_what_is_missing
                of_a_directory
                onto_a_directory
                through_links
                of_holes
            }
            limits {
                two_thousand_open_files
                five_hundred_directories
                two_thousand_at_once
                a_hundred_and_twenty_levels
            }
            faces {
                read_to_end_appends
                a_growing_file
            }
        }
    };
}

/// Makes one `#[test]` of each case, in a module for each group, for the [`Subject`](super::Subject) that
/// the expression gives. It stands in a module of its own, at its top level; what the expression names is
/// looked up there.
#[macro_export]
macro_rules! fs_conformance {
    ($subject:expr) => {
        $crate::__fs_cases! { __kit_tests [$crate::conformance::check, $subject] }
    };
}

/// As [`fs_conformance!`](crate::fs_conformance), with one `#[test]` for each group.
#[macro_export]
macro_rules! fs_conformance_by_group {
    ($subject:expr) => {
        $crate::__fs_cases! { __kit_group_tests [$crate::conformance::check_group, $subject] }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __kit_group_tests {
    ([$check:path, $subject:expr] $($group:ident $cases:tt)*) => {
        $(
            #[test]
            fn $group() {
                $check(&$subject, stringify!($group));
            }
        )*
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __kit_tests {
    ([$check:path, $subject:expr] $($group:ident { $($case:ident)* })*) => {
        $(
            mod $group {
                #[allow(unused_imports, reason = "the expression may name nothing")]
                use super::*;
                $(
                    #[test]
                    fn $case() {
                        let name = concat!(stringify!($group), "::", stringify!($case));
                        $check(&$subject, name);
                    }
                )*
            }
        )*
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __fs_list {
    ([$dir:ty] $($group:ident { $($case:ident)* })*) => {
        vec![$($(
            Case::new(
                concat!(stringify!($group), "::", stringify!($case)),
                |fixture| Box::pin($group::$case::<$dir>(fixture)),
            ),
        )*)*]
    };
}

/// All cases for files and directories.
#[must_use]
pub fn cases<D: Dir>() -> Vec<Case<D>> {
    crate::__fs_cases! { __fs_list [D] }
}

// What the cases share.

const READ: OpenOptions = OpenOptions::new().read(true);
const WRITE: OpenOptions = OpenOptions::new().write(true);
const READ_WRITE: OpenOptions = OpenOptions::new().read(true).write(true);
const CREATE: OpenOptions = READ_WRITE.create(true);
const CREATE_NEW: OpenOptions = READ_WRITE.create_new(true);
const APPEND: OpenOptions = OpenOptions::new().read(true).append(true);

/// The operation failed, in one of these ways.
#[track_caller]
fn refused<T: Debug>(outcome: Result<T>, kinds: &[ErrorKind], what: &str) {
    match outcome {
        Ok(output) => panic!("{what}: succeeded with {output:?}, where {kinds:?} was due"),
        Err(error) if kinds.contains(&error.kind()) => {}
        Err(error) => panic!("{what}: failed with {error:?}, where {kinds:?} was due"),
    }
}

/// As [`refused`] for what gives no output that can be shown.
#[track_caller]
fn refused_to_open<T>(outcome: Result<T>, kinds: &[ErrorKind], what: &str) {
    refused(outcome.map(|_opened| "something opened"), kinds, what);
}

/// A new file of these bytes, open for both.
async fn file<D: Dir>(dir: &D, path: &str, bytes: &[u8]) -> D::FileHandle {
    let file = dir.open_file(path, CREATE_NEW).await.unwrap();
    file.write_all(0, bytes).await.unwrap();
    file
}

/// What the file of this name holds.
async fn contents<D: Dir>(dir: &D, path: impl AsRef<Path>) -> Vec<u8> {
    let file = dir.open_file(path, READ).await.unwrap();
    all_of::<D>(&file).await
}

/// What an open file holds.
async fn all_of<D: Dir>(file: &D::FileHandle) -> Vec<u8> {
    let mut bytes = vec![];
    file.read_to_end(0, &mut bytes).await.unwrap();
    bytes
}

/// What a listing gives, in its order.
async fn entries<D: Dir>(dir: &D) -> Vec<DirEntry> {
    let mut listing = dir.read_dir().await.unwrap();
    let mut entries = vec![];
    while let Some(entry) = next::<D>(&mut listing).await {
        entries.push(entry);
    }
    entries
}

/// The next of a listing.
async fn next<D: Dir>(listing: &mut D::ReadDir) -> Option<DirEntry> {
    let entry = poll_fn(|cx| Pin::new(&mut *listing).poll_next(cx)).await;
    entry.map(|entry| entry.unwrap())
}

/// The names in a directory, sorted.
async fn names<D: Dir>(dir: &D) -> Vec<String> {
    let entries = entries(dir).await;
    let mut names: Vec<String> = entries.iter().map(|entry| entry.name().to_string()).collect();
    names.sort();
    names
}

/// The kind of the object at a path, links not followed; `None` where there is none.
async fn kind<D: Dir>(dir: &D, path: &str) -> Option<FileType> {
    match dir.symlink_metadata(path).await {
        Ok(metadata) => Some(metadata.file_type()),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => panic!("metadata of {path}: {error:?}"),
    }
}

/// Bytes that differ from place to place.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at.wrapping_mul(2_654_435_761) >> 7).to_le_bytes()[0]).collect()
}

fn as_u64(len: usize) -> u64 {
    len.try_into().unwrap()
}

/// Whether two long things are the same: where they differ is said, and not all they hold.
#[track_caller]
fn same(got: &[u8], wanted: &[u8], what: &str) {
    if got == wanted {
        return;
    }
    let at = got.iter().zip(wanted).position(|(got, wanted)| got != wanted);
    match at {
        Some(at) => panic!("{what}: byte {at} is {}, not {}", got[at], wanted[at]),
        None => panic!("{what}: {} bytes, not {}", got.len(), wanted.len()),
    }
}
