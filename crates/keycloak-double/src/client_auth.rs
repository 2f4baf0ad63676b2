//! Who is asking: client authentication by `client_secret_post` and `client_secret_basic`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use url::form_urlencoded;

use crate::answer::{RefusedRequest, Request};
use crate::state::Realm;

const WORDS: &str = "Invalid client or Invalid client credentials";

/// The id of the client that proved itself. Fields of the form win over the header, as in Keycloak.
pub(crate) fn authenticate(realm: &Realm, request: &Request) -> Result<String, RefusedRequest> {
    let basic = request.authorization.as_deref().and_then(parse_basic);
    let id = request.field("client_id").map(str::to_owned).or(basic.as_ref().map(|(id, _)| id.clone()));
    let secret = request.field("client_secret").map(str::to_owned).or(basic.map(|(_, secret)| secret));
    let client = id.as_ref().and_then(|id| realm.clients.get(id)).filter(|c| c.enabled);
    let Some(client) = client else { return Err(RefusedRequest::new(401, "invalid_client", WORDS)) };
    if secret.as_deref() != Some(client.secret()) {
        return Err(RefusedRequest::new(401, "unauthorized_client", WORDS));
    }
    Ok(client.client_id().to_owned())
}

/// RFC 6749, section 2.3.1: both halves are form-encoded before they are joined.
fn parse_basic(header: &str) -> Option<(String, String)> {
    let (scheme, encoded) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, secret) = decoded.split_once(':')?;
    Some((form_decoded(id), form_decoded(secret)))
}

fn form_decoded(text: &str) -> String {
    let protected = text.replace('&', "%26").replace('=', "%3D");
    form_urlencoded::parse(protected.as_bytes()).map(|(name, _)| name.into_owned()).next().unwrap_or_default()
}
