//! The files and variables that a command reads. They follow from the options that it has.

/// What a command reads.
pub(super) struct CommandInputs {
    /// The configuration.
    pub(super) configuration: bool,
    /// Operators' profiles.
    pub(super) profiles: bool,
    /// The demonstration's password.
    pub(super) password: bool,
}

type Term = (&'static str, &'static str);

const CONFIGURATION: &[Term] = &[
    (
        "/etc/tokenvault/tokenvault.toml",
        "The configuration: tokenvault.toml(5). `--config` names another. All files below are named in it; a name that is not \
         absolute is relative to its directory.",
    ),
    (
        "policy.toml",
        "Which certificate is which module, and what it may do (`policy.file`). Read again when it changes.",
    ),
    (
        "admin-policy.toml",
        "Which certificate is which operator, and what they may do (`admin.policy_file`). Read again when it changes.",
    ),
    (
        "secrets/keyring.toml",
        "The keys that tokens are sealed with (`keyring.file`), for the vault's user alone. Without it no stored job can be \
         used. Read again when it changes.",
    ),
    (
        "secrets/{tenant}/client-secret",
        "The secret of the vault's client at Keycloak (`keycloak.client_secret_file`). Read again when it changes.",
    ),
    (
        "tenants.toml",
        "Tenants that come and go (`keycloak.tenants_file`), if it is configured. Read again when it changes.",
    ),
    (
        "tls/",
        "Certificates, keys, CAs and revocation lists (`cert_file`, `key_file`, `client_ca_file`, `client_crl_file`). Read again \
         when they change.",
    ),
    ("/var/log/tokenvault/audit.log", "The audit log (`audit.file`), if one is configured."),
];

const PROFILES: &[Term] = &[(
    "~/.config/tokenvault/profiles.toml",
    "Where vaults are, and the operator's certificate for each. `--profile-file` names another.",
)];

const OVERRIDES: Term = (
    "TOKENVAULT_SECTION__KEY",
    "Overrides a key of the configuration, such as `TOKENVAULT_REDIS__URL` for `url` in `[redis]`, and \
     `TOKENVAULT_TENANTS__DIKU__CLIENT_ID` for `client_id` in `[tenants.diku]`: two underscores between section and key, in any \
     case. Numbers, `true`, `false` and `[lists]` are recognised; quote a number that is a text.",
);

const HOME: Term = ("HOME", "Where the profiles are looked for.");

const PASSWORD: Term = (
    "TOKENVAULT_DEMO_KEYCLOAK_PASSWORD",
    "The administrator's password for `--keycloak-url`, where `--keycloak-admin-password-file` names no file.",
);

const TERMINAL: &[Term] = &[
    ("NO_COLOR", "Whatever its value, nothing is coloured. Without it there are colours on a terminal alone."),
    ("TERM", "`dumb` stands for a terminal without colours."),
    ("TZ", "The time zone in which times are shown to a person at a terminal."),
];

impl CommandInputs {
    pub(super) fn files(&self) -> Vec<Term> {
        let parts = [(self.configuration, CONFIGURATION), (self.profiles, PROFILES)];
        parts.into_iter().filter(|(reads, _)| *reads).flat_map(|(_, terms)| terms.iter().copied()).collect()
    }

    pub(super) fn variables(&self) -> Vec<Term> {
        let own = [(self.configuration, OVERRIDES), (self.profiles, HOME), (self.password, PASSWORD)];
        let own = own.into_iter().filter(|(reads, _)| *reads).map(|(_, term)| term);
        own.chain(TERMINAL.iter().copied()).collect()
    }
}
