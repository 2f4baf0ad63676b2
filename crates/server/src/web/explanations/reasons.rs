//! `reason`: why the identity provider refused, why a job is over or waits, why something is not supported.

use tokenvault_vault::problem::Code;

use super::explanation::{Explanation, Responsible};

const fn reason(
    codes: &'static [Code],
    word: &'static str,
    means: &'static str,
    by: Responsible,
    how: &'static str,
) -> Explanation {
    Explanation { codes, member: "reason", word, means, by, how }
}

pub(super) const ALL: &[&[Explanation]] =
    &[IDP_REJECTED, ENDED, SESSION_ENDED, REAUTH_REQUIRED, WAITING, UNSUPPORTED, THROTTLED];

const IDP: &[Code] = &[Code::IdpRejected];

/// The identity provider understood, and said no to the vault.
const IDP_REJECTED: &[Explanation] = &[
    reason(
        IDP,
        "not_allowed",
        "Keycloak does not let the vault's client do this. For an exchange: the client is not in the token's audience (`aud`), or its standard token exchange is off. For an impersonation: the role is missing, or the user is disabled or gone.",
        Responsible::Realm,
        "Run deploy/keycloak/setup.sh with the options it was run with: it gives the client that users log in with (in FOLIO `<tenant>-login-application`) a mapper that puts the vault's client into `aud`, also of lightweight tokens, and switches the exchange on. For impersonation it grants `realm-management/impersonation` to the service account and, where the client has no full scope, puts the role into its scope mappings. `tokenvault doctor` tells which is missing.",
    ),
    reason(
        IDP,
        "token_too_long",
        "The user's access token has more characters than Keycloak takes for an exchange: 20 000 (earlier releases of Keycloak 26: 4 000). `length` says how many. A regular token of a user with more than some 200 of FOLIO's roles is such a one.",
        Responsible::Realm,
        "Give the client that users log in with lightweight access tokens, as FOLIO's own tenants have (`client.use.lightweight.access.token.enabled`), and run deploy/keycloak/setup.sh, which maps the vault's claims into them; or let its tokens carry fewer roles. `tokenvault doctor` finds it with an administrator's token (`proof-size`).",
    ),
    reason(
        IDP,
        "not_exchangeable",
        "The user's access token cannot be exchanged for a pair: its session is an offline one or a service account's, or the token is bound to a key (DPoP, mutual TLS).",
        Responsible::Module,
        "Register with a token of an ordinary login. A pair of an offline session is deposited with `acquisition` `adopt`. If every token is so, the realm's administrator switches \"Require DPoP bound tokens\" and certificate-bound tokens off for the client that users log in with.",
    ),
    reason(
        IDP,
        "no_refresh_token",
        "Keycloak exchanged the token, and gave an access token alone: nothing that a job could be kept going with.",
        Responsible::Realm,
        "See that \"Use refresh tokens\" is on for the vault's client and that \"Allow refresh token in Standard Token Exchange\" is \"Same session\" (deploy/keycloak/setup.sh sets both), and that no client policy takes refresh tokens out of its answers.",
    ),
    reason(
        IDP,
        "not_bearer",
        "The token that the vault was given is bound to a key (`token_type` is not `Bearer`). A module could not use it, so it was not kept.",
        Responsible::Realm,
        "Switch \"Require DPoP bound tokens\" off for the vault's client (deploy/keycloak/setup.sh does), and leave it out of client policies that bind tokens.",
    ),
    reason(
        IDP,
        "client_rejected",
        "Keycloak refused the vault's client itself: the secret, key or certificate is wrong, or the client is disabled or unknown.",
        Responsible::Operator,
        "Compare the tenant's `client_id` and its secret file with the client at Keycloak; `tokenvault doctor` tries them.",
    ),
    reason(
        IDP,
        "identity_mismatch",
        "The token that the vault was given names another user than the proof: in one session by the user id claim, in a new one also by Keycloak's own id. It was not kept.",
        Responsible::Realm,
        "Look whether the vault's client and the client that users log in with map the user id claim from the same attribute (deploy/keycloak/setup.sh writes the mapper), and whether the attribute was changed since the user logged in: where users can write their own `user_id`, they can take another's. `tokenvault doctor` looks at both.",
    ),
    reason(
        IDP,
        "identity_missing",
        "The token that the vault was given does not say whose it is, or which session it belongs to: the vault's client lacks the mapper of the user id claim, for impersonation that of Keycloak's own user id (`keycloak_user_id`), or that of `sid`.",
        Responsible::Realm,
        "Run deploy/keycloak/setup.sh with the options it was run with: it writes the mappers, also for lightweight tokens. `sid` comes with the default client scope `basic`.",
    ),
    reason(
        IDP,
        "account_unknown",
        "Keycloak's own id of the user is not known, and nobody is impersonated by a name or by an id that users can write themselves.",
        Responsible::Realm,
        "Run deploy/keycloak/setup.sh with the options it was run with: it maps the property `id` into the claim `keycloak_user_id` of the vault's client. Then register again.",
    ),
    reason(
        IDP,
        "session_mismatch",
        "The exchanged token belongs to another session than the proof. It was not kept.",
        Responsible::Operator,
        "This Keycloak exchanges differently from those the vault was tested with: look for the versions in the README, and whether the client uses the standard token exchange.",
    ),
    reason(
        IDP,
        "consent_missing",
        "The vault's client requires the user's consent, and the user has not given it.",
        Responsible::Realm,
        "Switch off `Consent required` for the vault's client, which no user ever sees; or let the user consent.",
    ),
    reason(
        IDP,
        "client_session_gone",
        "The session lives, but the vault's part in it was ended meanwhile: revoked, or a refresh token was sent twice.",
        Responsible::Module,
        "Register again. If it comes again and again, somebody else uses the vault's client.",
    ),
    reason(
        IDP,
        "token_reused",
        "A refresh token was sent that had been spent, and Keycloak ended the client's part of the session.",
        Responsible::Operator,
        "See the runbook token-reused: the vault sends none twice, so somebody else uses its client, or a deposited token was used elsewhere.",
    ),
    reason(
        IDP,
        "token_invalid",
        "The token is not one of this client's, or none at all.",
        Responsible::Module,
        "For adopt: deposit the refresh token of the client that `adopt_clients` names.",
    ),
    reason(
        IDP,
        "refused",
        "Keycloak said no in words that the vault does not know.",
        Responsible::Operator,
        "Look into Keycloak's log at the time of the request.",
    ),
];

const OVER: &[Code] = &[Code::JobEnded, Code::JobIdEnded];

/// The job is over as planned.
const ENDED: &[Explanation] = &[
    reason(OVER, "released", "Its registrar is done with it.", Responsible::Nobody, "Use a new job id for new work."),
    reason(
        OVER,
        "expired",
        "Its `expires_at` has passed.",
        Responsible::Module,
        "Ask for a later end when registering, or move it while the job lives (register it again); the tenant's `max_job_life` bounds it.",
    ),
    reason(OVER, "revoked", "An operator has ended it.", Responsible::Operator, "The audit log says who, and when."),
];

const SESSION: &[Code] = &[Code::SessionEnded, Code::JobIdEnded];

/// The session that the job's tokens lived in is gone.
const SESSION_ENDED: &[Explanation] = &[
    reason(
        SESSION,
        "session_not_active",
        "The user has logged out, or an administrator has ended the session.",
        Responsible::User,
        "Log in and start the job again. A job that is to survive the logout is registered with `acquisition` `impersonate` and `on_logout` `continue`, where policy and tenant allow it.",
    ),
    reason(
        SESSION,
        "session_expired",
        "The session reached its idle or its maximum time.",
        Responsible::Realm,
        "Compare the realm's SSO and client session times with how long jobs run; `tokenvault doctor` does. For now the user logs in and starts the job again.",
    ),
    reason(
        SESSION,
        "client_session_gone",
        "The session lives, but the vault's part in it was ended: revoked, or a refresh token was sent twice.",
        Responsible::User,
        "Start the job again. If it comes again and again, somebody else uses the vault's client.",
    ),
    reason(
        SESSION,
        "session_recreated",
        "The vault's part in the session was ended and made anew by somebody else. Older tokens are dangerous now: sent for exchange they would end the user's session.",
        Responsible::User,
        "Start the job again. If it comes again and again, somebody else uses the vault's client.",
    ),
    reason(
        SESSION,
        "token_reused",
        "A refresh token was sent that had been spent, and Keycloak ended the client's part of the session.",
        Responsible::Operator,
        "See the runbook token-reused. The user starts the job again.",
    ),
    reason(
        SESSION,
        "token_stale",
        "What was issued before a point in time was declared void (not-before), or a newer token has taken this one's place.",
        Responsible::User,
        "Log in and start the job again.",
    ),
    reason(
        SESSION,
        "session_lost",
        "The session is gone, and how could not be learnt.",
        Responsible::User,
        "Log in and start the job again. Keycloak's log may say more; a restart that loses sessions looks like this.",
    ),
];

const REAUTH: &[Code] = &[Code::ReauthRequired];

/// The vault has no usable grant any more; the id may be registered again.
const REAUTH_REQUIRED: &[Explanation] = &[
    reason(
        REAUTH,
        "spend_lost",
        "A refresh token was spent, the answer to it was lost, and there was nothing to replace it.",
        Responsible::User,
        "Start the job again; the same id may be used. See the runbook ambiguous-spends if it comes again.",
    ),
    reason(
        REAUTH,
        "token_refused",
        "Keycloak does not take the job's refresh token any more.",
        Responsible::User,
        "Start the job again; the same id may be used. All jobs at once: the realm's key for refresh tokens was replaced.",
    ),
    reason(
        REAUTH,
        "identity_changed",
        "A renewed token named another user than the job's. It was not served.",
        Responsible::Realm,
        "Look whether the user's id attribute was changed or given to somebody else, and whether a mapper of the vault's client was. Then the user starts the job again.",
    ),
];

const NOT_READY: &[Code] = &[Code::TokenNotReady];

/// The job waits for somebody.
const WAITING: &[Explanation] = &[
    reason(
        NOT_READY,
        "user_disabled",
        "The user is disabled. The job waits until its end for that to change.",
        Responsible::Realm,
        "Enable the user, or end the job (`tokenvault admin jobs revoke`).",
    ),
    reason(
        NOT_READY,
        "consent_missing",
        "The user's consent to the vault's client is missing.",
        Responsible::Realm,
        "Switch off `Consent required` for the vault's client, or let the user consent again; the job goes on by itself.",
    ),
    reason(
        NOT_READY,
        "unclear",
        "The session seems dead, and why cannot be learnt yet: it may have ended, or its user be disabled.",
        Responsible::Realm,
        "Look at the user. If the session has ended, the job ends by itself soon.",
    ),
    reason(
        NOT_READY,
        "identity_missing",
        "The newest token does not say whose it is, so it is not served: a mapper of the vault's client was taken out.",
        Responsible::Realm,
        "Run deploy/keycloak/setup.sh with the options it was run with; the jobs go on by themselves.",
    ),
    reason(
        NOT_READY,
        "impersonation_refused",
        "Keycloak refuses a new session for the user: the role is missing, or the user is disabled or gone.",
        Responsible::Realm,
        "Grant `realm-management/impersonation` to the vault's service account (deploy/keycloak/setup.sh), or look at the user; the job goes on by itself.",
    ),
];

const NO: &[Code] = &[Code::Unsupported];

/// Nobody may have this.
const UNSUPPORTED: &[Explanation] = &[
    reason(
        NO,
        "privileged",
        "The user is a service account or has a role of `realm-management`, directly, in a composite or by a group. Nobody acts in an administrator's name for a day by showing a short token.",
        Responsible::Nobody,
        "Register the job with `acquisition` `exchange`, which ends with the user's logout, or in the name of a user without such a role.",
    ),
    reason(
        NO,
        "roles_unknown",
        "Keycloak shows no role of the user at all, so whether the user is privileged cannot be judged, and is not guessed.",
        Responsible::Realm,
        "Let the introspection of user tokens show roles: the client that users log in with needs the default client scope `roles` with `introspection.token.claim` on both of its role mappers, **and** full scope: scope mappings would hide the roles they do not name, and administrators with them. `tokenvault doctor` says HAZARD where it does not.",
    ),
    reason(
        NO,
        "acquisition_differs",
        "The job is there, and was registered with another `acquisition`. A repeated registration leaves its pair as it is.",
        Responsible::Module,
        "Leave the member out, or name the job's own; for another acquisition use another job id.",
    ),
    reason(
        NO,
        "child_on_logout",
        "The child asks for another `on_logout` than its parent has. Both live by one pair, so a logout does the same to both.",
        Responsible::Module,
        "Leave the member out; or tighten the parent, which its registrar can; or register a job with a pair of its own.",
    ),
];

/// Too much at a time, or too much altogether.
const THROTTLED: &[Explanation] = &[
    reason(
        &[Code::StoreUnavailable],
        "store_full",
        "Redis has reached `maxmemory` and takes nothing new. Jobs that are there are served, renewed and ended.",
        Responsible::Operator,
        "Raise `maxmemory`; docs/operations.md says how much is needed, and docs/runbooks/store-full.md what to look at. Never switch eviction on.",
    ),
    reason(
        &[Code::TooManyRequests],
        "module_share",
        "The module has `max_records_per_module` records in the tenant: its jobs and children, and what is left of those that have ended, for as long as `tombstone_ttl` says.",
        Responsible::Operator,
        "Look whether the module registers and releases in a loop; else raise `max_records_per_module`, and Redis' memory with it (docs/operations.md).",
    ),
    reason(
        &[Code::TooManyRequests],
        "session_busy",
        "Registrations in one session of a user's take turns with the renewals of the jobs that are there. This one had no turn within ten seconds: 64 registrations of all modules, 16 of one, join a session at a time.",
        Responsible::Module,
        "Send it again after `Retry-After`. Where it comes often, register fewer jobs of one user at a time, or one job with children.",
    ),
];
