//! The commands as operators meet them.
