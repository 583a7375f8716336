//! What the measuring programs share: the pattern that every read is checked against, the walk over a file, clocks, places and percentiles, and the command line.

pub mod args;
pub mod clock;
pub mod pattern;
pub mod place;
pub mod walk;
