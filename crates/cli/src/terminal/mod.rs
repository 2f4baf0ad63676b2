//! How text is shown to a person: colours and width, points in time, progress.

pub(crate) mod progress;
pub(crate) mod style;
pub(crate) mod times;
