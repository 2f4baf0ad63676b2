//! How many connections each listener may hold, of the files that the process may have open.
//!
//! Modules come first. The connections of the other listeners are bounded, and so are the files that the process needs for
//! itself. So a caller who fills any other listener takes no file that a module's connection would need.

use rustix::process::{Resource, getrlimit};

use crate::config::Config;
use crate::tls::ConnectionLimits;
use crate::{admin, api, backchannel, management};

/// For what is not an accepted connection, beside those to Redis and for renewals: registrations that ask Keycloak, files,
/// the runtime's own.
const OWN: usize = 256;
/// The least a listener has, however few files there are.
const LEAST: usize = 8;
/// What others than modules may have of what is left, each of them for each of its purposes.
const PART_OF_OTHERS: usize = 16;
/// The same for modules' handshakes.
const PART_OF_HANDSHAKES: usize = 8;

/// Connections and handshakes at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ListenerCapacity {
    /// Connections that are open.
    pub(crate) connections: usize,
    /// Handshakes, beside those.
    pub(crate) handshakes: usize,
}

impl ListenerCapacity {
    /// A listener's limits, with no more connections than this.
    pub(crate) fn of(self, mut limits: ConnectionLimits) -> ConnectionLimits {
        (limits.max_connections, limits.max_handshakes) = (self.connections, self.handshakes);
        // However few there are, no caller has them all.
        limits.caller_connections = limits.caller_connections.min((self.connections / 2).max(1));
        limits
    }

    fn all(self) -> usize {
        self.connections + self.handshakes
    }

    fn at_most(self, part: usize) -> Self {
        let at_most = |wanted: usize| wanted.min(part.max(LEAST));
        Self { connections: at_most(self.connections), handshakes: at_most(self.handshakes) }
    }
}

/// What each listener may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ListenerCapacities {
    /// For modules.
    pub(crate) modules: ListenerCapacity,
    /// For operators.
    pub(crate) admin: ListenerCapacity,
    /// For the identity provider.
    pub(crate) idp: ListenerCapacity,
    /// For health and metrics.
    pub(crate) management: usize,
}

impl ListenerCapacities {
    /// What is configured, whatever it needs.
    pub(crate) fn wanted(config: &Config) -> Self {
        let of = |limits: ConnectionLimits| ListenerCapacity {
            connections: limits.max_connections,
            handshakes: limits.max_handshakes,
        };
        let none = ListenerCapacity { connections: 0, handshakes: 0 };
        Self {
            modules: of(api::connection_limits(&config.server)),
            admin: config.admin.as_ref().map_or(none, |_| of(admin::connection_limits())),
            // Strangers' connections are counted among the handshakes for as long as they last.
            idp: config
                .idp
                .as_ref()
                .map_or(none, |_| ListenerCapacity { connections: 1, ..of(backchannel::connection_limits()) }),
            management: management::MAX_CONNECTIONS,
        }
    }

    /// The same within what the process may have open.
    pub(crate) fn within(config: &Config, files: Option<u64>) -> Self {
        let wanted = Self::wanted(config);
        let files = files.and_then(|files| usize::try_from(files).ok()).unwrap_or(usize::MAX);
        let left = files - own(config).min(files / 2);
        if wanted.all() <= left {
            return wanted;
        }
        let part = left / PART_OF_OTHERS;
        let (admin, idp) = (wanted.admin.at_most(part), wanted.idp.at_most(part));
        let management = wanted.management.min(part.max(LEAST));
        let left = left.saturating_sub(admin.all() + idp.all() + management);
        let handshakes = wanted.modules.handshakes.min((left / PART_OF_HANDSHAKES).max(LEAST));
        let connections = wanted.modules.connections.min(left.saturating_sub(handshakes).max(LEAST));
        Self { modules: ListenerCapacity { connections, handshakes }, admin, idp, management }
    }

    /// The same within what this process may have open now.
    pub(crate) fn here(config: &Config) -> Self {
        let capacities = Self::within(config, getrlimit(Resource::Nofile).current);
        let wanted = Self::wanted(config);
        if capacities != wanted {
            tracing::warn!(
                connections = capacities.modules.connections,
                wanted = wanted.modules.connections,
                files = needed_files(config),
                "the limit of open files is too low for `server.max_connections` and the other listeners: fewer connections are taken; raise it (systemd: LimitNOFILE)"
            );
        }
        capacities
    }

    fn all(&self) -> usize {
        self.modules.all() + self.admin.all() + self.idp.all() + self.management
    }
}

/// How many files the process needs to be able to open for all that is configured.
pub fn needed_files(config: &Config) -> u64 {
    (ListenerCapacities::wanted(config).all() + own(config)) as u64
}

fn own(config: &Config) -> usize {
    OWN + config.redis.pool_size + config.renewal.concurrency
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{AdminSection, Environment, IdpSection};

    fn config() -> Config {
        let text = "[server]\ncert_file='c'\nkey_file='k'\nclient_ca_file='a'\n[redis]\nurl='redis://r'\n[keyring]\nfile='k'\n\
                    [policy]\nfile='p'\n[keycloak]\nissuer='http://kc/realms/{tenant}'\nclient_id='vault'\n\
                    client_secret_file='s'\naccepted_clients=['ui']\n[tenants.a]\n";
        let config = Config::parse(text, std::path::Path::new("main.toml"), &Environment::default());
        let mut config = config.expect("a configuration");
        config.admin = Some(AdminSection::default());
        config.idp = Some(IdpSection::default());
        config
    }

    #[test]
    fn where_there_are_files_enough_everybody_has_what_is_configured() {
        let config = config();
        let wanted = ListenerCapacities::wanted(&config);
        assert_eq!(ListenerCapacities::within(&config, Some(needed_files(&config))), wanted);
        assert_eq!(ListenerCapacities::within(&config, None), wanted);
        assert_ne!(ListenerCapacities::within(&config, Some(needed_files(&config) - 1)), wanted);
    }

    #[test]
    fn with_few_files_all_doors_together_leave_what_the_process_needs_and_modules_have_the_most() {
        let config = config();
        for files in [256, 512, 1024, 2048, 4096] {
            let capacities = ListenerCapacities::within(&config, Some(files));
            let files = usize::try_from(files).expect("small");
            assert!(capacities.all() <= files - own(&config).min(files / 2), "{files}: {capacities:?}");
            let others = capacities.admin.all() + capacities.idp.all() + capacities.management;
            assert!(capacities.modules.connections > others, "{files}: {capacities:?}");
            assert!(capacities.modules.handshakes >= LEAST);
        }
    }
}
