//! The HTTP client that every part of the demonstration calls with.

use std::time::Duration;

use reqwest::{redirect, retry};

/// A client without a proxy from the environment, without redirects and without retries.
pub(super) fn client_builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .connect_timeout(Duration::from_secs(5))
        .timeout(Duration::from_secs(40))
}
