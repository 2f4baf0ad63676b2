//! How big tokens get. Keycloak makes examples of them without touching anybody's session; they are made for users who
//! are likely to hold many roles. Where not everybody could be looked at, and tokens carry whatever roles their users have,
//! nothing is called fine.

use tokenvault_keycloak::{ServiceAccount, Unlearnt};

use super::Report;
use super::keycloak::{AGAIN, Realm};
use super::sample::{self, Sample};
use super::view::{Client, View};

/// Servers refuse a request whose head is bigger than this in many places, Keycloak's own among them; other headers need
/// room as well.
const TOO_LARGE: usize = 8192;
/// Keycloak takes no longer token for exchange, unless its option says otherwise; earlier versions of 26 took a fifth of it.
const TOO_LONG_TO_EXCHANGE: usize = 20_000;

/// Makes the examples and judges the biggest one of each client.
pub(super) async fn examine(
    view: &View<'_>,
    vault: &Client,
    accepted: &[Client],
    account: &ServiceAccount,
    report: &mut Report,
) {
    let sample = match sample::take(view).await {
        Ok(sample) => sample,
        Err(error) => {
            untold(view.realm, "token-size", &error, report);
            return untold(view.realm, "proof-size", &error, report);
        }
    };
    judge(view, &TOKENS, vault, &sample, account.envelope, report).await;
    for client in accepted {
        judge(view, &PROOFS, client, &sample, account.envelope, report).await;
    }
}

/// What is judged, and what is said of it.
struct Kind {
    check: &'static str,
    most: usize,
    harm: fn(usize) -> String,
    remedy: fn(&Client) -> String,
}

const TOKENS: Kind = Kind {
    check: "token-size",
    most: TOO_LARGE,
    harm: |_| "servers refuse heads of that size (431), Keycloak's own among them".to_owned(),
    remedy: smaller,
};

const PROOFS: Kind = Kind {
    check: "proof-size",
    most: TOO_LONG_TO_EXCHANGE,
    harm: |most| format!("Keycloak takes {most} at most for exchange: registrations with it fail"),
    remedy: lighter,
};

fn smaller(vault: &Client) -> String {
    if vault.switch("fullScopeAllowed") == Some(true) {
        format!(
            "take \"Full scope allowed\" from the vault's client, and keep realm-management/impersonation in its scope mappings where it impersonates: {AGAIN}, but without --full-scope, does both"
        )
    } else {
        "take roles out of the scope mappings of the vault's client, or mappers and client scopes that modules do not need".to_owned()
    }
}

fn lighter(client: &Client) -> String {
    format!(
        "where nobody reads roles from its tokens, switch \"Always use lightweight access token\" on for {}, as FOLIO does, and at once {AGAIN}: it keeps `sub` and the user's id in them; or raise Keycloak's option spi-login-protocol--openid-connect--req-token-params-default-max-size",
        client.name
    )
}

async fn judge(view: &View<'_>, kind: &Kind, client: &Client, sample: &Sample, envelope: usize, report: &mut Report) {
    let (check, realm, name) = (kind.check, view.realm.name(), client.name.as_str());
    let (size, user) = match biggest(view, client, sample, envelope).await {
        Ok(Some(found)) => found,
        Ok(None) => return report.unknown(check, realm, "the realm has no users yet", "run it again when it has"),
        Err(error) => return untold(view.realm, check, &error, report),
    };
    if size > kind.most {
        let harm = (kind.harm)(kind.most);
        let finding = format!("the token of {name} for the user {user} has {size} characters: {harm}");
        return report.hazard(check, realm, finding, (kind.remedy)(client));
    }
    let finding = format!("the biggest of {name}'s tokens for {sample} has {size} characters (for the user {user})");
    if sample.is_partial() && client.carries_every_role() {
        let finding = format!("{finding}; they carry every role of their users, and somebody else may have more");
        report.unknown(check, realm, finding, (kind.remedy)(client));
    } else {
        report.fine(check, realm, finding);
    }
}

fn untold(realm: &Realm<'_>, check: &'static str, error: &Unlearnt, report: &mut Report) {
    let remedy = "take a token of an administrator with the roles view-users, view-clients and view-realm";
    report.unknown(check, realm.name(), format!("no examples of tokens: {error}"), remedy);
}

/// The biggest example, and whose it is. What is made is the token's payload; an envelope of the same size stands around
/// every token of a realm.
async fn biggest(
    view: &View<'_>,
    client: &Client,
    sample: &Sample,
    envelope: usize,
) -> Result<Option<(usize, String)>, Unlearnt> {
    let mut biggest = None;
    for id in &sample.users {
        let path =
            format!("/clients/{}/evaluate-scopes/generate-example-access-token?scope=openid&userId={id}", client.id);
        let payload = view.get(&path).await?.to_string().len();
        // Six bits a character (RFC 4648 §5, without padding).
        let size = (payload * 4).div_ceil(3) + envelope;
        if biggest.as_ref().is_none_or(|(most, _)| size > *most) {
            biggest = Some((size, id.clone()));
        }
    }
    Ok(biggest)
}
