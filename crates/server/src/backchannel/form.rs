//! The form with the one member `logout_token` (Back-Channel Logout 1.0 §2.5), bounded in size and time.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use url::form_urlencoded;
use zeroize::Zeroizing;

use super::outcome::LogoutRefusal;

/// A logout token has about 1 KiB; one of a realm with large keys and long names fits as well.
pub(super) const MAX_BODY: usize = 16 * 1024;
const BODY_TIMEOUT: Duration = Duration::from_secs(3);

/// The member's value. Other members may be there and mean nothing.
pub(super) async fn logout_token(headers: &HeaderMap, body: Body) -> Result<Zeroizing<String>, LogoutRefusal> {
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err(LogoutRefusal::MediaType);
    }
    let bytes = match tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, MAX_BODY).collect()).await {
        Err(_) => return Err(LogoutRefusal::Form("The body did not arrive in time.")),
        Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(LogoutRefusal::TooLarge),
        Ok(Err(_)) => return Err(LogoutRefusal::Form("The body did not arrive whole.")),
        Ok(Ok(collected)) => collected.to_bytes(),
    };
    let mut given = form_urlencoded::parse(&bytes).filter(|(name, _)| name == "logout_token");
    match (given.next(), given.next()) {
        (Some((_, token)), None) if !token.is_empty() => Ok(Zeroizing::new(token.into_owned())),
        (Some(_), Some(_)) => Err(LogoutRefusal::Form("logout_token is given more than once.")),
        _ => Err(LogoutRefusal::Form("logout_token is missing.")),
    }
}
