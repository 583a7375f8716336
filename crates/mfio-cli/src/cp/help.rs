//! What `mfio cp --help` says beside the options.

/// For `-h`.
pub(super) const SHORT: &str = "\
Examples:
  mfio cp big.iso /mnt/big.iso        one file
  mfio cp -r src backup               a tree; into backup/src if backup is a directory
  mfio cp -r src/. backup             the content of src into backup
  mfio cp -rT --resume src backup     go on with a copy that was interrupted

Exit codes: 0 all was copied, 1 something was not, 2 wrong command line, 3 no backend, 130 interrupted
`mfio cp --help` says what is kept, how a copy is resumed, and what --json prints.";

/// For `--help`.
pub(super) const LONG: &str = "\
Examples:
  mfio cp big.iso /mnt/big.iso        one file
  mfio cp -r src backup               a tree; into backup/src if backup is a directory
  mfio cp -r src/. backup             the content of src into backup
  mfio cp -rT --resume src backup     go on with a copy that was interrupted
  mfio cp -r src backup --json        one JSON object at the end, for programs

Whole files only:
  Every file is written under a temporary name (.NAME.mfio- and 16 digits) in its final directory and
  renamed when it is whole, so that nothing has half a file under its final name, whatever happens. What a
  final name had before is replaced in that instant; a link there is replaced, not followed.

What is kept, as with `cp -a`:
  - content, with holes as holes;
  - permission bits;
  - times of the last change and the last access, to the nanosecond, of files, links and directories;
  - owner and group where the process may give them (root may); where it may not, the copy is the
    process's own, without a word, and set-user-id and set-group-id are left out;
  - with -r, symbolic links as they are, and hard links among what is copied: two names of one file
    become two names of one copy.
  Not kept: extended attributes, access control lists. Devices, FIFOs and sockets are reported and left
  out. A directory that was there before keeps its own mode, owner and times, unless with --resume.

Resuming:
  With --resume, a file that is there already with the type, length and time (to the nanosecond) of its
  source is skipped: it got its time and its name when it was whole. Its owner and mode are set where they
  differ. With --verify it is read and compared, too. Everything else is copied. What was changed at the
  source since has another time, and is copied again; on a file system that keeps coarser times, so is
  everything. Temporary files of runs that are gone are removed in the directories that are copied into;
  a run that is still alive is seen by its lock on the directory. On network file systems whose locks do
  not reach other machines, do not resume while another machine copies to the same place.
  To resume a tree, name the copy itself and say -T (or copy SRC/. to it).

--json prints one line on standard output, also when something failed or was interrupted:
  files, bytes, links, hard_links, dirs   what was made (directories: entered)
  skipped                                 files and links that were there and whole (--resume)
  leftovers                               temporary files of earlier runs that were removed (--resume)
  failed, failed_count                    what was not copied: a list of {path, message, os_code}, of the
                                          first thousand (path_hex beside a path that is no text), and how many
  warnings                                the same of what was copied, but not as might be expected
  verified                                all was copied, and compared
  interrupted, exit_code                  how it ended
  target                                  where SRC itself went; null if nothing was begun
  backend, seconds                        the backend's name, null if there is none; and the time it took

Exit codes: 0 all was copied, 1 something was not, 2 wrong command line, 3 no backend, 130 interrupted";
