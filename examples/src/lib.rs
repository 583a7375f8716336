//! Servers that crates of others make of mfio's sockets, without a change in those crates.

pub mod http;
