//! The machine and the configuration by itself: listeners, limits, the policy's tenants.

use std::net::IpAddr;

use rustix::process::{Resource, getrlimit};
use tokenvault_server::admin::Operators;
use tokenvault_server::callers::{Policy, PolicyTable as _};
use tokenvault_server::config::{Config, ConfigError};

use super::report::DoctorReport;

pub(super) fn examine(config: &Config, report: &mut DoctorReport) {
    listeners(config, report);
    open_files(config, report);
    policy(config, report);
    operators(config, report);
}

fn listeners(config: &Config, report: &mut DoctorReport) {
    let management = config.management.listen;
    if is_public(management.ip()) {
        report.hazard(
            "management-public",
            "management.listen",
            format!("{management} can be reached from other machines, in plain HTTP"),
            "listen on loopback or a private address; where only a network policy lets anybody in, run with --accept management-public",
        );
    } else {
        report.fine("management-public", "management.listen", management.to_string());
    }
    let Some(admin) = config.admin.as_ref().map(|admin| admin.listen) else { return };
    if is_public(admin.ip()) {
        report.hazard(
            "admin-public",
            "admin.listen",
            format!("{admin} can be reached from other machines"),
            "listen on loopback or a private address; where only a network policy lets operators in, run with --accept admin-public",
        );
    } else {
        report.fine("admin-public", "admin.listen", admin.to_string());
    }
}

/// Whether strangers may reach the address: every interface, or one that is routed on the Internet.
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !(ip.is_loopback() || ip.is_private() || ip.is_link_local() || is_shared(ip.octets())),
        IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
            Some(ip) => is_public(ip.into()),
            None => !(ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local()),
        },
    }
}

/// RFC 6598: between a provider and its customers.
fn is_shared([first, second, ..]: [u8; 4]) -> bool {
    first == 100 && (64..128).contains(&second)
}

fn open_files(config: &Config, report: &mut DoctorReport) {
    let needed = tokenvault_server::capacity::needed_files(config);
    // `serve` takes as many as it may have.
    match getrlimit(Resource::Nofile).maximum {
        Some(limit) if limit < needed => report.hazard(
            "open-files",
            "ulimit -n",
            format!(
                "{limit} files may be open, and `server.max_connections`, the other listeners and the rest may need {needed}: fewer connections are taken",
            ),
            "raise it where the vault is started (systemd: LimitNOFILE), or lower `server.max_connections`",
        ),
        limit => {
            let limit = limit.map_or_else(|| "any number of".to_owned(), |limit| limit.to_string());
            report.fine(
                "open-files",
                "ulimit -n",
                format!("{limit} files may be open, {needed} may be needed (here; the service may have another limit)"),
            );
        }
    }
}

fn policy(config: &Config, report: &mut DoctorReport) {
    let file = config.policy.file.display().to_string();
    let policy = match Policy::load(&config.policy.file) {
        Ok(policy) => policy,
        Err(error) => {
            let remedy = "the sample deploy/policy.toml shows how it is written";
            return report.hazard("policy", file, problems(&error), remedy);
        }
    };
    let strays = policy.unknown_tenants(|tenant| config.tenants.contains_key(tenant));
    let strays: Vec<String> = strays
        .iter()
        .flat_map(|(tenant, modules)| modules.iter().map(move |module| format!("{module} in {tenant}")))
        .collect();
    if strays.is_empty() {
        report.fine("policy", file, format!("{} modules, all in tenants there are", policy.len()));
    } else {
        report.hazard(
            "policy",
            file,
            format!("names tenants that are not configured: {}", strays.join(", ")),
            format!("correct the name there, or add a table [tenants.NAME] to {}", config.source.place().display()),
        );
    }
}

/// Who may operate the vault. Without the section `[admin]` nobody may.
fn operators(config: &Config, report: &mut DoctorReport) {
    let Some(admin) = &config.admin else { return };
    let (check, file) = ("admin-policy", admin.policy_file.display().to_string());
    let remedy = "the sample deploy/admin-policy.toml shows how it is written";
    match Operators::load(&admin.policy_file) {
        Ok(operators) => report.fine(check, file, format!("{} operators", operators.len())),
        Err(error) => report.hazard(check, file, problems(&error), remedy),
    }
}

fn problems(error: &ConfigError) -> String {
    let told = error.findings.iter().map(|finding| format!("{}: {}", finding.place, finding.problem));
    told.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_interface_and_every_routed_address_is_public() {
        for (address, public) in [
            ("127.0.0.1", false),
            ("::1", false),
            ("10.1.2.3", false),
            ("172.16.0.1", false),
            ("192.168.1.1", false),
            ("100.64.0.1", false),
            ("fd00::1", false),
            ("fe80::1", false),
            ("::ffff:127.0.0.1", false),
            ("0.0.0.0", true),
            ("::", true),
            ("203.0.113.7", true),
            ("2001:db8::1", true),
            ("::ffff:203.0.113.7", true),
        ] {
            assert_eq!(is_public(address.parse().unwrap()), public, "{address}");
        }
    }
}
