//! Which client certificates are believed.
//!
//! rustls's own verifier decides first, and nothing here lets in what it refuses. What it leaves out is looked at after it:
//! authorities out of their time, the path length an authority allows, what a key may be used for, revoked intermediates,
//! and common names where an authority's name constraints cannot reach them. Whose certificate it is, is decided
//! elsewhere.

use std::collections::BTreeSet;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertRevocationListError, CertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use webpki::{
    CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage, OwnedCertRevocationList, RevocationOptionsBuilder,
    UnknownStatusPolicy, VerifiedPath,
};
use x509_parser::extensions::KeyUsage as Usage;
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

/// Verifies client certificates.
#[derive(Debug)]
pub(super) struct ClientTrust {
    authorities: Vec<TrustedAuthority>,
    hints: Vec<DistinguishedName>,
    algorithms: WebPkiSupportedAlgorithms,
    lists_until: Vec<u64>,
    turns: Vec<u64>,
}

/// A root certificate, with what it says of itself and is lost where it is made a trust anchor. Times are seconds since
/// the epoch.
#[derive(Debug)]
struct TrustedAuthority {
    root: Arc<RootCertStore>,
    subject: Vec<u8>,
    not_before: u64,
    not_after: u64,
    path_length: Option<u32>,
    signs_lists: bool,
    views: Vec<ListOrder>,
}

/// The revocation lists in one order, and rustls's verifier with them: of several lists of one name it takes the first.
#[derive(Debug)]
struct ListOrder {
    stock: Arc<dyn ClientCertVerifier>,
    lists: Vec<CertRevocationList<'static>>,
}

/// Why nobody can be verified with these files; what is wrong, as a sentence without its subject.
#[derive(Debug)]
pub(super) enum Unusable {
    /// The authorities.
    Authorities(String),
    /// The revocation lists.
    Lists(String),
}

impl ClientTrust {
    /// Trusts these authorities, and nobody on these lists, nor anybody who is on no list of their authority's.
    pub(super) fn new(
        certificates: Vec<CertificateDer<'static>>,
        lists: Option<Vec<CertificateRevocationListDer<'static>>>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, Unusable> {
        let lists = newest_first(lists.unwrap_or_default());
        let (mut hints, mut authorities) = (Vec::new(), Vec::new());
        for (index, certificate) in certificates.into_iter().enumerate() {
            let wrong = |what| Unusable::Authorities(format!("its certificate number {} {what}", index + 1));
            let mut authority = TrustedAuthority::read(certificate).map_err(wrong)?;
            authority.views = views(&authority.root, &lists, provider)?;
            hints.extend(authority.root.subjects());
            authorities.push(authority);
        }
        let lists_until: Vec<u64> = lists.iter().filter_map(next_update).collect();
        let turns =
            authorities.iter().map(|authority| authority.not_after).chain(lists_until.iter().copied()).collect();
        let algorithms = provider.signature_verification_algorithms;
        let trust = Self { authorities, hints, algorithms, lists_until, turns };
        trust.check_list_signers(&lists)?;
        Ok(trust)
    }

    /// When it changes by itself whom this trusts: authorities and lists expire. Seconds since the epoch.
    pub(super) fn turns(&self) -> &[u64] {
        &self.turns
    }

    /// Whether somebody could be let in at all.
    pub(super) fn trusts_anybody(&self, now: UnixTime) -> Result<(), &'static str> {
        if !self.authorities.iter().any(|authority| authority.check(now).is_ok()) {
            return Err("no client CA is valid now");
        }
        let in_force = self.lists_until.iter().any(|until| *until > now.as_secs());
        if in_force || self.lists_until.is_empty() { Ok(()) } else { Err("the revocation list has expired") }
    }

    fn check_list_signers(&self, lists: &[CertificateRevocationListDer<'_>]) -> Result<(), Unusable> {
        for list in lists {
            let issuer = issuer(list);
            let mut namesakes =
                self.authorities.iter().filter(|known| issuer.as_ref() == Some(&known.subject)).peekable();
            if namesakes.peek().is_some() && !namesakes.any(|authority| authority.signs_lists) {
                return Err(Unusable::Lists("has a list of an authority that may not sign lists".to_owned()));
            }
        }
        Ok(())
    }

    /// Looks for a way from the leaf to this authority.
    fn way(
        &self,
        authority: &TrustedAuthority,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let wrong_list = rustls::Error::from(CertRevocationListError::BadSignature);
        let mut verdict = Err(wrong_list.clone());
        for view in &authority.views {
            verdict = view.stock.verify_client_cert(leaf, intermediates, now);
            if verdict.is_ok() {
                verdict = self.look_closer(authority, view, leaf, intermediates, now).and(verdict);
            }
            // Perhaps it is the list of a namesake: an authority keeps its name when it changes its key.
            if verdict.as_ref().err() != Some(&wrong_list) {
                break;
            }
        }
        verdict
    }

    /// Looks at what rustls's verifier leaves out.
    fn look_closer(
        &self,
        authority: &TrustedAuthority,
        view: &ListOrder,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let lists: Vec<&CertRevocationList<'_>> = view.lists.iter().collect();
        // The leaf was looked for on its authority's list, which must be there. An intermediate is refused if it stands on
        // a list; that there be one for its authority too is not asked.
        let revocation = RevocationOptionsBuilder::new(&lists).ok().map(|options| {
            options
                .with_status_policy(UnknownStatusPolicy::Allow)
                .with_expiration_policy(ExpirationPolicy::Enforce)
                .build()
        });
        let named = names_itself(leaf)?;
        let judge = |path: &VerifiedPath<'_>| authority.judge(path, named, now);
        let leaf = EndEntityCert::try_from(leaf).map_err(refusal)?;
        let (algorithms, roots) = (self.algorithms.all, &authority.root.roots);
        let usage = KeyUsage::client_auth();
        leaf.verify_for_usage(algorithms, roots, intermediates, now, usage, revocation, Some(&judge))
            .map(drop)
            .map_err(refusal)
    }
}

/// Looks at a leaf by itself, and tells whether it has alternative names.
fn names_itself(leaf: &CertificateDer<'_>) -> Result<bool, CertificateError> {
    let (_, read) = X509Certificate::from_der(leaf).map_err(|_| CertificateError::BadEncoding)?;
    // Without a serial number it could not be revoked. The map fails where an extension stands twice.
    if read.raw_serial().is_empty() || read.extensions_map().is_err() {
        return Err(CertificateError::BadEncoding);
    }
    if !may(&read, Usage::digital_signature) {
        return Err(CertificateError::InvalidPurpose);
    }
    let names = read.subject_alternative_name().map_err(|_| CertificateError::BadEncoding)?;
    Ok(names.is_some())
}

impl ListOrder {
    fn new(
        roots: &Arc<RootCertStore>,
        lists: Vec<CertificateRevocationListDer<'static>>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, Unusable> {
        let unusable =
            |error| Unusable::Lists(format!("has a certificate revocation list that cannot be used: {error:?}"));
        let read = |list: &CertificateRevocationListDer<'_>| OwnedCertRevocationList::from_der(list).map(Into::into);
        let parsed = lists.iter().map(read).collect::<Result<_, _>>().map_err(unusable)?;
        let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), Arc::clone(provider));
        if !lists.is_empty() {
            // Whoever is on no list of their authority's is refused, which is the builder's default.
            builder = builder.with_crls(lists).only_check_end_entity_revocation().enforce_revocation_expiration();
        }
        let stock = builder.build().map_err(|error| Unusable::Authorities(error.to_string()))?;
        Ok(Self { stock, lists: parsed })
    }
}

impl ClientCertVerifier for ClientTrust {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let mut refused = rustls::Error::from(CertificateError::UnknownIssuer);
        for authority in &self.authorities {
            match self.way(authority, leaf, intermediates, now) {
                Ok(verified) => return Ok(verified),
                // Another authority's certificate says least about why it is refused, a namesake's little.
                Err(error) if weight(&error) >= weight(&refused) => refused = error,
                Err(_) => {}
            }
        }
        Err(refused)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, leaf, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, leaf, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// How much a refusal says.
fn weight(error: &rustls::Error) -> u8 {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => 0,
        rustls::Error::InvalidCertificate(CertificateError::BadSignature) => 1,
        _ => 2,
    }
}

impl TrustedAuthority {
    /// What the root certificate says, if it may sign certificates at all: with a module's own certificate in the file,
    /// whoever has its key could make all others.
    fn read(certificate: CertificateDer<'static>) -> Result<Self, &'static str> {
        let seconds = |time: x509_parser::time::ASN1Time| u64::try_from(time.timestamp()).unwrap_or(0);
        let mut root = RootCertStore::empty();
        let authority = {
            let (_, read) = X509Certificate::from_der(&certificate).map_err(|_| "cannot be read")?;
            let basics = read.basic_constraints().map_err(|_| "cannot be read")?.filter(|basics| basics.value.ca);
            let Some(basics) = basics.filter(|_| may(&read, Usage::key_cert_sign)) else {
                return Err("is not that of an authority: its basic constraints or its key usage do not say so");
            };
            Self {
                root: Arc::new(RootCertStore::empty()),
                subject: read.subject().as_raw().to_vec(),
                not_before: seconds(read.validity().not_before),
                not_after: seconds(read.validity().not_after),
                path_length: basics.value.path_len_constraint,
                signs_lists: may(&read, Usage::crl_sign),
                views: Vec::new(),
            }
        };
        root.add(certificate).map_err(|_| "cannot be read")?;
        Ok(Self { root: Arc::new(root), ..authority })
    }

    fn check(&self, now: UnixTime) -> Result<(), webpki::Error> {
        let at = |seconds| UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
        if now.as_secs() < self.not_before {
            return Err(webpki::Error::CertNotValidYet { time: now, not_before: at(self.not_before) });
        }
        if now.as_secs() > self.not_after {
            return Err(webpki::Error::CertExpired { time: now, not_after: at(self.not_after) });
        }
        Ok(())
    }

    /// Judges a path to this authority that webpki has verified.
    fn judge(&self, path: &VerifiedPath<'_>, named: bool, now: UnixTime) -> Result<(), webpki::Error> {
        self.check(now)?;
        let mut constrained = path.anchor().name_constraints.is_some();
        let mut length = 0;
        for intermediate in path.intermediate_certificates() {
            let der = intermediate.der();
            let (_, read) = X509Certificate::from_der(&der).map_err(|_| webpki::Error::BadDer)?;
            if !may(&read, Usage::key_cert_sign) {
                return Err(webpki::Error::EndEntityUsedAsCa);
            }
            constrained |= read.name_constraints().map_err(|_| webpki::Error::MalformedExtensions)?.is_some();
            // RFC 5280 §6.1.4 (l): one that an authority issued to itself is not counted.
            length += u32::from(intermediate.issuer() != intermediate.subject());
        }
        if self.path_length.is_some_and(|allowed| length > allowed) {
            return Err(webpki::Error::PathLenConstraintViolated);
        }
        // Name constraints are about alternative names: a common name would slip through below them.
        if constrained && !named { Err(webpki::Error::NameConstraintViolation) } else { Ok(()) }
    }
}

/// Whether a key may be used so: everything is allowed where there is no key usage (RFC 5280 §4.2.1.3).
fn may(certificate: &X509Certificate<'_>, so: fn(&Usage) -> bool) -> bool {
    match certificate.key_usage() {
        Ok(Some(usage)) => so(usage.value),
        Ok(None) => true,
        Err(_) => false,
    }
}

/// For each list, where several have one name, an order in which it is the first one.
fn views(
    roots: &Arc<RootCertStore>,
    lists: &[CertificateRevocationListDer<'static>],
    provider: &Arc<CryptoProvider>,
) -> Result<Vec<ListOrder>, Unusable> {
    let issuers: BTreeSet<Vec<u8>> = lists.iter().filter_map(issuer).collect();
    let orders = if issuers.len() < lists.len() { lists.len() } else { 1 };
    let in_order = |first| {
        let mut lists = lists.to_vec();
        // The others stay as they are: newer before older ones.
        let list = lists.remove(first);
        lists.insert(0, list);
        ListOrder::new(roots, lists, provider)
    };
    if lists.is_empty() {
        return Ok(vec![ListOrder::new(roots, Vec::new(), provider)?]);
    }
    (0..orders).map(in_order).collect()
}

/// Of several lists of one authority the newest counts.
fn newest_first(mut lists: Vec<CertificateRevocationListDer<'static>>) -> Vec<CertificateRevocationListDer<'static>> {
    let since = |list: &CertificateRevocationListDer<'_>| {
        CertificateRevocationList::from_der(list).map_or(0, |(_, list)| list.last_update().timestamp())
    };
    lists.sort_by_key(|list| std::cmp::Reverse(since(list)));
    lists
}

fn issuer(list: &CertificateRevocationListDer<'_>) -> Option<Vec<u8>> {
    let (_, list) = CertificateRevocationList::from_der(list).ok()?;
    Some(list.issuer().as_raw().to_vec())
}

fn next_update(list: &CertificateRevocationListDer<'_>) -> Option<u64> {
    let (_, list) = CertificateRevocationList::from_der(list).ok()?;
    u64::try_from(list.next_update()?.timestamp()).ok()
}

/// In rustls's words, so that the client gets the same alert as for what rustls finds by itself.
fn refusal(error: webpki::Error) -> rustls::Error {
    use webpki::Error as E;
    match error {
        E::CertExpired { .. } => CertificateError::Expired.into(),
        E::CertNotValidYet { .. } => CertificateError::NotValidYet.into(),
        E::CertRevoked => CertificateError::Revoked.into(),
        E::CrlExpired { .. } => CertificateError::ExpiredRevocationList.into(),
        E::InvalidCrlSignatureForPublicKey => CertRevocationListError::BadSignature.into(),
        E::IssuerNotCrlSigner => CertRevocationListError::IssuerInvalidForCrl.into(),
        E::EndEntityUsedAsCa => CertificateError::InvalidPurpose.into(),
        other => CertificateError::Other(rustls::OtherError(Arc::new(other))).into(),
    }
}
