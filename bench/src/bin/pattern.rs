//! `pattern make FILE BYTES` writes a pattern file, `pattern check FILE` reads it back and compares every byte.

use anyhow::{Context, Result, bail};
use mfio_bench::{args::Args, pattern};
use std::path::Path;

fn main() -> Result<()> {
    let args = Args::from_env()?;
    let path =
        Path::new(args.word(1).context("usage: pattern make FILE BYTES | pattern check FILE")?);
    match args.word(0) {
        Some("make") => {
            let len = args
                .word(2)
                .context("how many bytes?")?
                .parse()
                .context("bytes: a whole number")?;
            pattern::write_file(path, len)
        }
        Some("check") => {
            println!("{} bytes are right", pattern::check_file(path)?);
            Ok(())
        }
        _ => bail!("usage: pattern make FILE BYTES | pattern check FILE"),
    }
}
