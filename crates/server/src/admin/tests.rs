//! The handlers on use cases that only take notes.
