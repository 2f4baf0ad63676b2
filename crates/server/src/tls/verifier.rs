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
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

/// Verifies client certificates.
#[derive(Debug)]
pub(super) struct ClientTrust {
    roots: Arc<RootCertStore>,
    /// One for each of the roots, in their order.
    authorities: Vec<Authority>,
    views: Vec<View>,
    algorithms: WebPkiSupportedAlgorithms,
    turns: Vec<u64>,
}

/// What a root certificate says of itself, which is lost where it is made a trust anchor. Times are seconds since the epoch.
#[derive(Debug)]
struct Authority {
    subject: Vec<u8>,
    not_before: u64,
    not_after: u64,
    path_length: Option<u32>,
    signs_lists: bool,
}

/// The revocation lists in one order, and rustls's verifier with them: of several lists of one name it takes the first.
#[derive(Debug)]
struct View {
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
        let mut roots = RootCertStore::empty();
        let mut authorities = Vec::new();
        for (index, certificate) in certificates.into_iter().enumerate() {
            let wrong = |what: &str| Unusable::Authorities(format!("its certificate number {} {what}", index + 1));
            authorities.push(Authority::read(&certificate).map_err(wrong)?);
            roots.add(certificate).map_err(|_| wrong("cannot be read"))?;
        }
        let (roots, lists) = (Arc::new(roots), newest_first(lists.unwrap_or_default()));
        let mut turns: Vec<u64> = authorities.iter().map(|authority| authority.not_after).collect();
        turns.extend(lists.iter().filter_map(next_update));
        let views = views(&roots, &lists, provider)?;
        let trust = Self { roots, authorities, views, algorithms: provider.signature_verification_algorithms, turns };
        trust.check_list_signers(&lists)?;
        Ok(trust)
    }

    /// When it changes by itself whom this trusts: authorities and lists expire. Seconds since the epoch.
    pub(super) fn turns(&self) -> &[u64] {
        &self.turns
    }

    /// Whether somebody could be let in at all.
    pub(super) fn trusts_anybody(&self, now: UnixTime) -> Result<(), &'static str> {
        if !self.authorities.iter().any(|authority| authority.holds(now)) {
            return Err("no client CA is valid now");
        }
        let lists = self.views.first().map_or(&[][..], |view| &view.lists);
        // The lists' times stand after the authorities' ones.
        let in_force = self.turns.iter().skip(self.authorities.len()).any(|until| *until > now.as_secs());
        if lists.is_empty() || in_force { Ok(()) } else { Err("the revocation list has expired") }
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

    fn look(
        &self,
        view: &View,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = view.stock.verify_client_cert(leaf, intermediates, now)?;
        let (_, read) = X509Certificate::from_der(leaf).map_err(|_| CertificateError::BadEncoding)?;
        if !may(&read, |usage| usage.digital_signature()) {
            return Err(CertificateError::InvalidPurpose.into());
        }
        let named = read.subject_alternative_name().map_err(|_| CertificateError::BadEncoding)?.is_some();
        let lists: Vec<&CertRevocationList<'_>> = view.lists.iter().collect();
        // rustls's verifier has looked for the leaf on its authority's list, which must be there. An intermediate is
        // refused if it stands on a list; that there be one for its authority too is not asked.
        let revocation = RevocationOptionsBuilder::new(&lists).ok().map(|options| {
            options
                .with_status_policy(UnknownStatusPolicy::Allow)
                .with_expiration_policy(ExpirationPolicy::Enforce)
                .build()
        });
        let judge = |path: &VerifiedPath<'_>| self.judge(path, named, now);
        let leaf = EndEntityCert::try_from(leaf).map_err(refusal)?;
        leaf.verify_for_usage(
            self.algorithms.all,
            &self.roots.roots,
            intermediates,
            now,
            KeyUsage::client_auth(),
            revocation,
            Some(&judge),
        )
        .map_err(refusal)?;
        Ok(verified)
    }

    /// Judges a path that webpki has verified.
    fn judge(&self, path: &VerifiedPath<'_>, named: bool, now: UnixTime) -> Result<(), webpki::Error> {
        let at = self.roots.roots.iter().position(|root| std::ptr::eq(root, path.anchor()));
        let authority = at.and_then(|at| self.authorities.get(at)).ok_or(webpki::Error::UnknownIssuer)?;
        authority.check(now)?;
        let mut constrained = path.anchor().name_constraints.is_some();
        let mut length = 0;
        for intermediate in path.intermediate_certificates() {
            let der = intermediate.der();
            let (_, read) = X509Certificate::from_der(&der).map_err(|_| webpki::Error::BadDer)?;
            if !may(&read, |usage| usage.key_cert_sign()) {
                return Err(webpki::Error::EndEntityUsedAsCa);
            }
            constrained |= read.name_constraints().map_err(|_| webpki::Error::MalformedExtensions)?.is_some();
            // RFC 5280 §6.1.4 (l): one that an authority issued to itself is not counted.
            length += u32::from(intermediate.issuer() != intermediate.subject());
        }
        if authority.path_length.is_some_and(|allowed| length > allowed) {
            return Err(webpki::Error::PathLenConstraintViolated);
        }
        // Name constraints are about alternative names: a common name would slip through below them.
        if constrained && !named { Err(webpki::Error::NameConstraintViolation) } else { Ok(()) }
    }
}

impl View {
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
        self.views[0].stock.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let wrong_list = rustls::Error::from(CertRevocationListError::BadSignature);
        let mut verdict = Err(wrong_list.clone());
        for view in &self.views {
            verdict = self.look(view, leaf, intermediates, now);
            // Perhaps it is the list of a namesake: an authority keeps its name when it changes its key.
            if verdict.as_ref().err() != Some(&wrong_list) {
                break;
            }
        }
        verdict
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.views[0].stock.verify_tls12_signature(message, leaf, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.views[0].stock.verify_tls13_signature(message, leaf, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.views[0].stock.supported_verify_schemes()
    }
}

impl Authority {
    /// What the root certificate says, if it may sign certificates at all: with a module's own certificate in the file,
    /// whoever has its key could make all others.
    fn read(certificate: &CertificateDer<'_>) -> Result<Self, &'static str> {
        let (_, read) = X509Certificate::from_der(certificate).map_err(|_| "cannot be read")?;
        let basics = read.basic_constraints().map_err(|_| "cannot be read")?.filter(|basics| basics.value.ca);
        let Some(basics) = basics.filter(|_| may(&read, |usage| usage.key_cert_sign())) else {
            return Err("is not that of an authority: its basic constraints or its key usage do not say so");
        };
        let seconds = |time: x509_parser::time::ASN1Time| u64::try_from(time.timestamp()).unwrap_or(0);
        Ok(Self {
            subject: read.subject().as_raw().to_vec(),
            not_before: seconds(read.validity().not_before),
            not_after: seconds(read.validity().not_after),
            path_length: basics.value.path_len_constraint,
            signs_lists: may(&read, |usage| usage.crl_sign()),
        })
    }

    fn holds(&self, now: UnixTime) -> bool {
        self.check(now).is_ok()
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
}

/// Whether a key may be used so: everything is allowed where there is no key usage (RFC 5280 §4.2.1.3).
fn may(certificate: &X509Certificate<'_>, so: impl Fn(&x509_parser::extensions::KeyUsage) -> bool) -> bool {
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
) -> Result<Vec<View>, Unusable> {
    let issuers: BTreeSet<Vec<u8>> = lists.iter().filter_map(issuer).collect();
    let orders = if issuers.len() < lists.len() { lists.len() } else { 1 };
    let in_order = |first| {
        let mut lists = lists.to_vec();
        lists.rotate_left(first);
        View::new(roots, lists, provider)
    };
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
