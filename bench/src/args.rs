//! A command line of words and `--name value` pairs. Small on purpose: the programs start thousands of times under counting tools.

use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;

/// The words of a command line, taken apart.
#[derive(Debug, Default)]
pub struct Args {
    words: Vec<String>,
    named: BTreeMap<String, String>,
}

impl Args {
    /// Takes apart what follows the program's name.
    ///
    /// # Errors
    /// A `--name` without a value.
    pub fn from_env() -> Result<Self> {
        let mut args = Self::default();
        let mut rest = std::env::args().skip(1);
        while let Some(word) = rest.next() {
            match word.strip_prefix("--") {
                Some(name) => {
                    let value = rest.next().with_context(|| format!("--{name} needs a value"))?;
                    args.named.insert(name.to_owned(), value);
                }
                None => args.words.push(word),
            }
        }
        Ok(args)
    }

    /// The word at `index`, if there is one.
    pub fn word(&self, index: usize) -> Option<&str> {
        self.words.get(index).map(String::as_str)
    }

    /// The value of `--name`, or `default`.
    pub fn text<'a>(&'a self, name: &str, default: &'a str) -> &'a str {
        self.named.get(name).map_or(default, String::as_str)
    }

    /// The number given as `--name`, or `default`.
    ///
    /// # Errors
    /// The value is not a whole number.
    pub fn number(&self, name: &str, default: u64) -> Result<u64> {
        self.named.get(name).map_or(Ok(default), |text| {
            text.parse().with_context(|| format!("--{name} {text}: not a whole number"))
        })
    }

    /// Refuses names that the program does not know, so that a typing mistake never measures the wrong thing.
    ///
    /// # Errors
    /// Names the first stranger.
    pub fn only(&self, known: &[&str]) -> Result<()> {
        match self.named.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) => bail!("--{name} is not known here; known: {known:?}"),
            None => Ok(()),
        }
    }
}
