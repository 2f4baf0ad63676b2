//! What the sections must fulfil beyond their types.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tokenvault_redis::ServerAddress;
use url::Url;

use super::sections::{
    AdminSection, AuditSection, IdpSection, RedisSection, RenewalSection, ServerSection, TelemetrySection,
};

/// Collects what is wrong within one section: keys and what to say of them.
#[derive(Default)]
pub(super) struct SectionCheck {
    pub(super) wrong: Vec<(String, String)>,
}

impl SectionCheck {
    fn holds(&mut self, key: &str, holds: bool, otherwise: &str) {
        if !holds {
            self.wrong.push((key.to_owned(), otherwise.to_owned()));
        }
    }

    pub(super) fn given(&mut self, key: &str, file: &Path) {
        self.holds(key, !file.as_os_str().is_empty(), "is missing");
    }

    fn positive(&mut self, key: &str, value: Duration) {
        self.holds(key, !value.is_zero(), "must be more than 0");
    }

    fn counted(&mut self, key: &str, value: usize) {
        self.holds(key, value > 0, "must be at least 1");
    }

    pub(super) fn server(&mut self, server: &ServerSection) {
        self.given("cert_file", &server.cert_file);
        self.given("key_file", &server.key_file);
        self.given("client_ca_file", &server.client_ca_file);
        self.positive("handshake_timeout", server.handshake_timeout);
        self.positive("header_timeout", server.header_timeout);
        self.positive("body_timeout", server.body_timeout);
        self.positive("idle_timeout", server.idle_timeout);
        self.counted("max_connections", server.max_connections);
        self.counted("max_handshakes", server.max_handshakes);
        self.counted("caller_connections", server.caller_connections);
        self.counted("max_concurrent_requests", server.max_concurrent_requests);
        self.holds("caller_rate", server.caller_rate > 0, "must be at least 1");
        self.holds("caller_burst", server.caller_burst > 0, "must be at least 1");
        self.holds("register_rate", server.register_rate > 0, "must be at least 1");
        self.holds("register_burst", server.register_burst > 0, "must be at least 1");
        self.counted("caller_concurrency", server.caller_concurrency);
        self.holds("max_body", server.max_body >= 16 * 1024, "must be at least 16384: two tokens must fit");
        self.holds("default_wait", server.default_wait <= server.max_wait, "must not be above `max_wait`");
        self.holds("request_timeout", server.request_timeout > server.max_wait, "must be above `max_wait`");
        self.holds("shutdown_delay", server.shutdown_delay <= Duration::from_mins(5), "must be from 0 to 300");
    }

    pub(super) fn admin(&mut self, admin: &AdminSection) {
        self.given("cert_file", &admin.cert_file);
        self.given("key_file", &admin.key_file);
        self.given("client_ca_file", &admin.client_ca_file);
        self.given("policy_file", &admin.policy_file);
    }

    pub(super) fn idp(&mut self, idp: &IdpSection) {
        self.given("cert_file", &idp.cert_file);
        self.given("key_file", &idp.key_file);
        self.holds("max_rate", idp.max_rate > 0, "must be at least 1");
        self.holds("max_tenant_rate", idp.max_tenant_rate > 0, "must be at least 1");
    }

    pub(super) fn redis(&mut self, redis: &RedisSection) {
        match (&redis.sentinel, &redis.cluster) {
            (None, None) => self.redis_url(redis),
            _ => self.holds(
                "url",
                redis.url.is_empty(),
                "goes with neither `sentinel` nor `cluster`: take one of the three",
            ),
        }
        self.holds("cluster", redis.sentinel.is_none() || redis.cluster.is_none(), "does not go with `sentinel`");
        let addresses =
            |nodes: &[String]| !nodes.is_empty() && nodes.iter().all(|node| ServerAddress::parse(node).is_some());
        if let Some(sentinel) = &redis.sentinel {
            self.holds("sentinel.master", !sentinel.master.is_empty(), "is missing");
            self.holds("sentinel.nodes", addresses(&sentinel.nodes), "must name at least one sentinel, each HOST:PORT");
            self.holds("sentinel.database", sentinel.database >= 0, "must not be negative");
            let nameless = sentinel.username.is_some() && sentinel.password_file.is_none();
            self.holds("sentinel.username", !nameless, "needs `sentinel.password_file`");
        }
        if let Some(cluster) = &redis.cluster {
            self.holds("cluster.nodes", addresses(&cluster.nodes), "must name at least one server, each HOST:PORT");
        }
        let plain = redis.sentinel.as_ref().is_some_and(|sentinel| !sentinel.tls)
            || redis.cluster.as_ref().is_some_and(|cluster| !cluster.tls)
            || redis.url.starts_with("redis://");
        for (key, file) in [("ca_file", &redis.ca_file), ("cert_file", &redis.cert_file)] {
            let useless = file.is_some() && plain;
            self.holds(key, !useless, "has no effect without TLS: use rediss:// in `url`, or set `tls`");
        }
        let half = redis.cert_file.is_some() != redis.key_file.is_some();
        self.holds("key_file", !half, "goes with `cert_file`: give both or none");
        let nameless = redis.username.is_some() && redis.password_file.is_none();
        self.holds("username", !nameless, "needs `password_file`");
        self.counted("pool_size", redis.pool_size);
        self.positive("connect_timeout", redis.connect_timeout);
        self.positive("response_timeout", redis.response_timeout);
        self.holds("ack_timeout", redis.ack_replicas == 0 || !redis.ack_timeout.is_zero(), "must be more than 0");
    }

    fn redis_url(&mut self, redis: &RedisSection) {
        if redis.url.is_empty() {
            return self.holds("url", false, "is missing");
        }
        let url =
            Url::parse(&redis.url).ok().filter(|url| matches!(url.scheme(), "redis" | "rediss") && url.has_host());
        self.holds("url", url.is_some(), "must be redis://HOST:PORT/DB or rediss://HOST:PORT/DB");
        if let Some(url) = url {
            let bare = url.username().is_empty() && url.password().is_none() && url.query().is_none();
            self.holds("url", bare, "must not contain credentials or a query: use `username` and `password_file`");
        }
    }

    pub(super) fn renewal(&mut self, renewal: &RenewalSection) {
        self.holds("fraction", (0.1..=0.9).contains(&renewal.fraction), "must be from 0.1 to 0.9");
        self.holds("jitter", (0.0..=0.5).contains(&renewal.jitter), "must be from 0 to 0.5");
        self.holds("lease", renewal.lease >= Duration::from_secs(1), "must be at least 1");
        self.counted("concurrency", renewal.concurrency);
        self.positive("poll_interval", renewal.poll_interval);
        self.positive("probe_interval", renewal.probe_interval);
        let doubt = Duration::from_secs(1)..=Duration::from_mins(10);
        self.holds("doubt", doubt.contains(&renewal.doubt), "must be from 1 to 600");
        self.positive("quarantine", renewal.quarantine);
        self.positive("retry_min", renewal.retry_min);
        self.holds("retry_max", renewal.retry_max >= renewal.retry_min, "must not be below `retry_min`");
        self.positive("tombstone_ttl", renewal.tombstone_ttl);
        self.counted("spends_per_session", renewal.spends_per_session);
    }

    pub(super) fn audit(&mut self, audit: &AuditSection) {
        let keyless = audit.file.is_some() && audit.hash_key_file.is_none();
        self.holds("hash_key_file", !keyless, "is missing: users are recorded by a keyed hash, never by their ids");
        self.holds("required", !audit.required || audit.file.is_some(), "needs `file`");
    }

    pub(super) fn telemetry(&mut self, telemetry: &TelemetrySection) {
        // Nothing at all is understood as well, and would log nothing at all.
        let understood = !telemetry.log_level.trim().is_empty()
            && telemetry.log_level.parse::<tracing_subscriber::filter::Targets>().is_ok();
        self.holds("log_level", understood, "must be a level (error, warn, info, debug, trace) or target=level pairs");
        let endpoint = telemetry.otlp_endpoint.as_deref().map(Url::parse);
        let plain = |url: &Url| {
            matches!(url.scheme(), "http" | "https")
                && url.has_host()
                && url.username().is_empty()
                && url.password().is_none()
        };
        let usable = endpoint.is_none_or(|url| url.is_ok_and(|url| plain(&url)));
        self.holds(
            "otlp_endpoint",
            usable,
            "must be an http or https URL without credentials: use `otlp_headers_file`",
        );
        let useless = telemetry.otlp_headers_file.is_some() && telemetry.otlp_endpoint.is_none();
        self.holds("otlp_headers_file", !useless, "has no effect without `otlp_endpoint`");
        self.holds("otlp_sample_ratio", (0.0..=1.0).contains(&telemetry.otlp_sample_ratio), "must be from 0 to 1");
    }
}

/// The listeners that want an address which one before them has already. Port 0 is any free port, never the same.
pub(super) fn clashes(listeners: &[(&'static str, Option<SocketAddr>)]) -> Vec<(&'static str, String)> {
    let given: Vec<_> = listeners.iter().filter_map(|(key, address)| Some((*key, (*address)?))).collect();
    let mut found = Vec::new();
    for (at, (key, address)) in given.iter().enumerate() {
        let taken = given[..at].iter().find(|(_, earlier)| overlap(*earlier, *address));
        if let Some((other, _)) = taken {
            found.push((*key, format!("is the address of `{other}` already; give each listener its own")));
        }
    }
    found
}

fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let everywhere = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && (everywhere || one.ip() == other.ip())
}
