//! Fuzz targets for every parser of outside bytes; see `docs/testing.md` for how they are run.

mod parsers;

pub use parsers::*;
