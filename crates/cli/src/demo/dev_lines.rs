//! What `tokenvault dev` prints: where everything is, and command lines that work as they are.

use std::path::Path;

use super::environment::DemoEnvironment;
use super::files::{REGISTRAR, WORKER};

/// The job of the example.
const JOB: &str = "job-1";

/// What a developer needs to know of the running vault.
#[derive(Debug, Clone)]
pub struct DevLines {
    facts: Vec<(&'static str, String)>,
    commands: Vec<(String, String)>,
}

impl DevLines {
    /// About this environment.
    pub fn about(environment: &DemoEnvironment<'_>) -> Self {
        let file = |name: &str| quoted(&environment.file(name));
        let realm = &environment.idp.realm;
        let store = environment.settings.redis_url.clone().unwrap_or_else(|| "memory".to_owned());
        let facts = vec![
            ("vault", format!("{} (mutual TLS)", environment.vault_url())),
            ("management", format!("{0}/readyz, {0}/metrics", environment.management_url())),
            ("identity provider", format!("{} ({})", environment.realm_url(), environment.idp.kind())),
            ("store", store),
            ("access tokens", format!("live {} s", environment.settings.at_ttl.as_secs())),
            ("user", format!("{}, password {}", realm.user, realm.password.expose())),
            ("UI client", format!("{}, secret in {}", realm.ui_client, file("ui-client-secret"))),
            ("tenant", realm.name.clone()),
            ("files", quoted(&environment.dir())),
            ("  trust", "ca.pem".to_owned()),
            ("  may register", format!("{REGISTRAR}.pem, {REGISTRAR}.key")),
            ("  may read", format!("{WORKER}.pem, {WORKER}.key")),
            ("  the vault's", "tokenvault.toml, policy.toml, keyring.toml".to_owned()),
        ];
        Self { facts, commands: commands(environment, &file) }
    }

    /// All of it. A fact is broken into lines by `broken`; a command line is not, so that it can be copied.
    pub fn shown(&self, broken: impl Fn(&str) -> String) -> String {
        let facts = self.facts.iter().map(|(name, fact)| broken(&format!("  {name:<18} {fact}")) + "\n");
        let commands = self.commands.iter().map(|(comment, command)| format!("\n# {comment}\n{command}\n"));
        facts.chain(commands).collect()
    }

    /// The command lines, in the order they are to be tried.
    pub fn commands(&self) -> impl Iterator<Item = &str> {
        self.commands.iter().map(|(_, command)| command.as_str())
    }
}

fn commands(environment: &DemoEnvironment<'_>, file: &dyn Fn(&str) -> String) -> Vec<(String, String)> {
    let curl = |module: &str| {
        let (cert, key) = (file(&format!("{module}.pem")), file(&format!("{module}.key")));
        format!("curl -sS --cacert {} --cert {cert} --key {key}", file("ca.pem"))
    };
    let url = format!("{}/tokens/{JOB}", environment.vault_url());
    let ca = match environment.settings.keycloak.as_ref().and_then(|access| access.ca_pem.as_ref()) {
        Some(_) => format!(" --cacert {}", file("keycloak-ca.pem")),
        None => String::new(),
    };
    let (ui_client, user) = (&environment.idp.realm.ui_client, environment.idp.realm.user);
    let login = format!(
        "TOKEN=$(curl -sS{ca} {}/protocol/openid-connect/token -d grant_type=password -d client_id={ui_client} \
         --data-urlencode client_secret@{} -d username={user} --data-urlencode password@{} \
         | sed 's/.*\"access_token\":\"\\([^\"]*\\)\".*/\\1/')",
        environment.realm_url(),
        file("ui-client-secret"),
        file("user-password"),
    );
    // A session of the vault's own is never had without being asked for.
    let own = if environment.settings.survive_logout { ",\\\"acquisition\\\":\\\"impersonate\\\"" } else { "" };
    let register = format!(
        "{} -X PUT {url} -H 'content-type: application/json' \
         -d \"{{\\\"access_token\\\":\\\"$TOKEN\\\",\\\"readers\\\":[\\\"{WORKER}\\\"]{own}}}\"",
        curl(REGISTRAR)
    );
    vec![
        (format!("{user}'s access token, as the UI has it"), login),
        (format!("{REGISTRAR} registers a job with it"), register),
        (format!("{WORKER} reads a live access token, now and in an hour"), format!("{} {url}", curl(WORKER))),
        (format!("{REGISTRAR} releases the job"), format!("{} -i -X DELETE {url}", curl(REGISTRAR))),
    ]
}

/// As a word for a shell.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-+".contains(&byte));
    if plain { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_are_quoted_where_a_shell_would_split_them() {
        assert_eq!(quoted(Path::new("/tmp/a-b.pem")), "/tmp/a-b.pem");
        assert_eq!(quoted(Path::new("/tmp/it's here")), r"'/tmp/it'\''s here'");
    }
}
