//! Files: who may read the secret ones, what certificates and revocation lists are worth and until when, and whether the
//! audit log can be written.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Access, access};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use tokenvault_core::time::Timestamp;
use tokenvault_server::config::Config;
use tokenvault_server::tls::{ListenerFiles, TlsState, next_update, not_after};

use super::report::DoctorReport;

/// A certificate that ends sooner is a hazard: its renewal has failed, or there is none.
const SOON: Duration = Duration::from_hours(14 * 24);

pub(super) fn examine(config: &Config, now: Timestamp, report: &mut DoctorReport) {
    for (key, file) in secret_files(config) {
        private(&key, &file, report);
    }
    let server = &config.server;
    pair("server", &config.server, report);
    certificate("server.cert_file", &server.cert_file, now, report);
    certificate("server.client_ca_file", &server.client_ca_file, now, report);
    if let Some(file) = &server.client_crl_file {
        revocations("server.client_crl_file", file, now, report);
    }
    if let Some(admin) = &config.admin {
        pair("admin", admin, report);
        certificate("admin.cert_file", &admin.cert_file, now, report);
        certificate("admin.client_ca_file", &admin.client_ca_file, now, report);
    }
    if let Some(file) = config.admin.as_ref().and_then(|admin| admin.client_crl_file.as_ref()) {
        revocations("admin.client_crl_file", file, now, report);
    }
    if let Some(idp) = &config.idp {
        pair("idp", idp, report);
        certificate("idp.cert_file", &idp.cert_file, now, report);
    }
    if let Some(file) = &config.redis.ca_file {
        certificate("redis.ca_file", file, now, report);
    }
    if let Some(file) = &config.audit.file {
        audit(file, report);
    }
}

/// The files that hold secrets, each with the key that names it.
fn secret_files(config: &Config) -> Vec<(String, PathBuf)> {
    let mut files = vec![
        ("keyring.file".to_owned(), config.keyring.file.clone()),
        ("server.key_file".to_owned(), config.server.key_file.clone()),
    ];
    let more = [
        ("admin.key_file", config.admin.as_ref().map(|admin| &admin.key_file)),
        ("idp.key_file", config.idp.as_ref().map(|idp| &idp.key_file)),
        ("redis.password_file", config.redis.password_file.as_ref()),
        ("telemetry.otlp_headers_file", config.telemetry.otlp_headers_file.as_ref()),
        ("audit.hash_key_file", config.audit.hash_key_file.as_ref()),
    ];
    files.extend(more.into_iter().filter_map(|(key, file)| Some((key.to_owned(), file?.clone()))));
    for (name, tenant) in &config.tenants {
        files.push((format!("the credential of tenant {name}"), tenant.credential.file().to_owned()));
        for (client, file) in &tenant.adopt_clients {
            files.push((format!("the secret of {client} of tenant {name}"), file.clone()));
        }
    }
    files.dedup_by(|one, other| one.1 == other.1);
    files
}

/// Others must not read it. A group may: that is how Kubernetes hands out secrets.
fn private(key: &str, file: &Path, report: &mut DoctorReport) {
    let mode = match std::fs::metadata(file) {
        Ok(metadata) => metadata.permissions().mode() & 0o777,
        // Another check reports a file that cannot be read.
        Err(_) => return,
    };
    let subject = format!("{key}: {}", file.display());
    if mode & 0o027 == 0 {
        return report.fine("secret-mode", subject, format!("mode {mode:04o}"));
    }
    let who = if mode & 0o007 != 0 { "everybody on this machine" } else { "its whole group" };
    let act = if mode & 0o022 != 0 { "change" } else { "read" };
    let remedy = format!("chmod 600 {}, and change what it holds: others may have seen it", file.display());
    report.hazard("secret-mode", subject, format!("mode {mode:04o}: {who} may {act} it"), remedy);
}

/// Certificate and key together, as the listener would load them.
fn pair(section: &'static str, files: impl Into<ListenerFiles>, report: &mut DoctorReport) {
    match TlsState::load(files) {
        Ok(_) => report.fine("tls-files", section, "certificate, key and authorities belong together"),
        Err(error) => report.hazard(
            "tls-files",
            section,
            error.to_string(),
            "certificates and keys are PEM files, and the key must be the first certificate's",
        ),
    }
}

fn certificate(key: &'static str, file: &Path, now: Timestamp, report: &mut DoctorReport) {
    let found = CertificateDer::pem_file_iter(file).into_iter().flatten().filter_map(Result::ok);
    let Some(end) = found.filter_map(|der| not_after(&der)).min() else {
        let remedy = "see the line on this section's TLS files";
        return report.unknown("certificate-expiry", key, format!("{} cannot be read", file.display()), remedy);
    };
    until(
        "certificate-expiry",
        key,
        file,
        (end, SOON, "have it renewed and replace the file: it is reloaded"),
        now,
        report,
    );
}

fn revocations(key: &'static str, file: &Path, now: Timestamp, report: &mut DoctorReport) {
    let lists = CertificateRevocationListDer::pem_file_iter(file).into_iter().flatten().filter_map(Result::ok);
    let Some(end) = lists.filter_map(|der| next_update(&der)).min() else {
        let remedy = "see the line on this section's TLS files";
        return report.unknown("crl-expiry", key, format!("{} cannot be read", file.display()), remedy);
    };
    let remedy = "publish a new list and replace the file: an expired one refuses everybody";
    // Lists are often published daily; one that lasts another hour is not late.
    until("crl-expiry", key, file, (end, Duration::from_hours(1), remedy), now, report);
}

/// Judges an end.
fn until(
    check: &'static str,
    key: &str,
    file: &Path,
    (end, soon, remedy): (Timestamp, Duration, &str),
    now: Timestamp,
    report: &mut DoctorReport,
) {
    let subject = format!("{key}: {}", file.display());
    if end <= now {
        report.hazard(check, subject, format!("has expired on {end}"), remedy);
    } else if end.since(now) < soon {
        report.hazard(check, subject, format!("expires soon, on {end}"), remedy);
    } else {
        report.fine(check, subject, format!("until {end}"));
    }
}

/// Whether the audit log could be written. Nothing is: a file that is not there is not made.
fn audit(file: &Path, report: &mut DoctorReport) {
    let subject = format!("audit.file: {}", file.display());
    let writable = match File::options().append(true).open(file) {
        Ok(_) => Ok("can be written"),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            may_be_made(file).map(|()| "is not there yet, and can be made")
        }
        Err(error) => Err(error),
    };
    match writable {
        Ok(finding) => report.fine("audit-file", subject, finding),
        Err(error) => report.hazard(
            "audit-file",
            subject,
            format!("cannot be written: {error}"),
            "make its directory and let the vault's user write there: without it the vault does not start",
        ),
    }
}

fn may_be_made(file: &Path) -> std::io::Result<()> {
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok(access(directory, Access::WRITE_OK | Access::EXEC_OK)?)
}
