//! What the checks work with: the configuration that is examined, and who examines it.

use std::sync::Arc;

use tokenvault_core::ports::{Clock, Entropy};
use tokenvault_core::secret::AccessToken;
use tokenvault_server::config::Config;

/// What every check may need.
pub(super) struct Examination<'a> {
    pub(super) config: &'a Config,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) entropy: Arc<dyn Entropy>,
    pub(super) administrator: Option<&'a AccessToken>,
}
