//! Keys good and bad: from rcgen where it makes them, from the openssl program where it would rather not.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, LazyLock, OnceLock};

use rcgen::{KeyPair, PublicKeyData, SigningKey as _};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::{Signer, SigningKey};
use rustls::{SignatureAlgorithm, SignatureScheme};

use crate::certificates::der::{integer, null, oid, seq, tlv};

/// A key pair. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) enum Key {
    Made(Arc<KeyPair>),
    /// A file of openssl's and its kind.
    Openssl(Arc<PathBuf>, Weak),
}

/// What only openssl makes, or signs with as asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Weak {
    Rsa1024,
    Rsa2048,
    P224,
    Secp256k1,
}

/// How a certificate is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Alg {
    EcdsaSha256,
    EcdsaSha384,
    EcdsaSha512,
    EcdsaSha1,
    Ed25519,
    RsaSha256,
    RsaSha384,
    RsaSha512,
    RsaSha1,
    RsaMd5,
    RsaPss,
}

impl Alg {
    /// The `AlgorithmIdentifier`.
    pub(crate) fn identifier(self) -> Vec<u8> {
        let rsa = |dotted: &str| seq(&[oid(dotted), null()]);
        match self {
            Self::EcdsaSha256 => seq(&[oid("1.2.840.10045.4.3.2")]),
            Self::EcdsaSha384 => seq(&[oid("1.2.840.10045.4.3.3")]),
            Self::EcdsaSha512 => seq(&[oid("1.2.840.10045.4.3.4")]),
            Self::EcdsaSha1 => seq(&[oid("1.2.840.10045.4.1")]),
            Self::Ed25519 => seq(&[oid("1.3.101.112")]),
            Self::RsaSha256 => rsa("1.2.840.113549.1.1.11"),
            Self::RsaSha384 => rsa("1.2.840.113549.1.1.12"),
            Self::RsaSha512 => rsa("1.2.840.113549.1.1.13"),
            Self::RsaSha1 => rsa("1.2.840.113549.1.1.5"),
            Self::RsaMd5 => rsa("1.2.840.113549.1.1.4"),
            Self::RsaPss => {
                let sha256 = || seq(&[oid("2.16.840.1.101.3.4.2.1"), null()]);
                let mgf = seq(&[oid("1.2.840.113549.1.1.8"), sha256()]);
                let parameters = [tlv(0xa0, &sha256()), tlv(0xa1, &mgf), tlv(0xa2, &integer(&[32]))];
                seq(&[oid("1.2.840.113549.1.1.10"), seq(&parameters)])
            }
        }
    }

    fn digest(self) -> &'static str {
        match self {
            Self::EcdsaSha384 | Self::RsaSha384 => "-sha384",
            Self::EcdsaSha512 | Self::RsaSha512 => "-sha512",
            Self::EcdsaSha1 | Self::RsaSha1 => "-sha1",
            Self::RsaMd5 => "-md5",
            _ => "-sha256",
        }
    }
}

impl Key {
    pub(crate) fn new() -> Self {
        Self::of(&rcgen::PKCS_ECDSA_P256_SHA256)
    }

    pub(crate) fn of(algorithm: &'static rcgen::SignatureAlgorithm) -> Self {
        Self::Made(Arc::new(KeyPair::generate_for(algorithm).expect("a key")))
    }

    /// One of openssl's; of each kind there are two for all cases.
    pub(crate) fn openssl(kind: Weak, which: usize) -> Self {
        static MADE: [[OnceLock<Arc<PathBuf>>; 2]; 4] = [const { [const { OnceLock::new() }; 2] }; 4];
        let place = match kind {
            Weak::Rsa1024 => 0,
            Weak::Rsa2048 => 1,
            Weak::P224 => 2,
            Weak::Secp256k1 => 3,
        };
        let file = MADE[place][which].get_or_init(|| {
            let file = DIR.path().join(format!("{kind:?}-{which}.pem"));
            let options: &[&str] = match kind {
                Weak::Rsa1024 => &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"],
                Weak::Rsa2048 => &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
                Weak::P224 => &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-224"],
                Weak::Secp256k1 => &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:secp256k1"],
            };
            let name = file.display().to_string();
            openssl(&[&["genpkey"], options, &["-out", &name]].concat(), &[]);
            Arc::new(file)
        });
        Self::Openssl(Arc::clone(file), kind)
    }

    /// The `SubjectPublicKeyInfo`.
    pub(crate) fn spki(&self) -> Vec<u8> {
        match self {
            Self::Made(pair) => pair.subject_public_key_info(),
            Self::Openssl(file, _) => {
                openssl(&["pkey", "-in", &file.display().to_string(), "-pubout", "-outform", "DER"], &[])
            }
        }
    }

    /// Signs what a certificate or a list says.
    pub(crate) fn sign(&self, alg: Alg, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Made(pair) if !matches!(alg, Alg::EcdsaSha1) => pair.sign(message).expect("a signature"),
            Self::Made(pair) => {
                let file = DIR.path().join(format!("{}.pem", uuid::Uuid::new_v4()));
                std::fs::write(&file, pair.serialize_pem()).expect("a file");
                openssl(&["dgst", alg.digest(), "-sign", &file.display().to_string()], message)
            }
            Self::Openssl(file, _) => {
                let name = file.display().to_string();
                let mut arguments = vec!["dgst", alg.digest(), "-sign", &name];
                if alg == Alg::RsaPss {
                    arguments.extend(["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:32"]);
                }
                openssl(&arguments, message)
            }
        }
    }

    /// For the client's side of a handshake.
    pub(crate) fn signing(&self) -> Arc<dyn SigningKey> {
        match self {
            Self::Made(pair) => {
                let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pair.serialize_der()));
                rustls::crypto::aws_lc_rs::sign::any_supported_type(&der).expect("a key rustls can use")
            }
            Self::Openssl(..) => Arc::new(ByOpenssl(self.clone())),
        }
    }
}

/// Signs handshakes with keys that rustls would not take.
#[derive(Debug, Clone)]
struct ByOpenssl(Key);

impl ByOpenssl {
    fn is_rsa(&self) -> bool {
        matches!(self.0, Key::Openssl(_, Weak::Rsa1024 | Weak::Rsa2048))
    }
}

impl SigningKey for ByOpenssl {
    fn choose_scheme(&self, _: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        Some(Box::new(self.clone()))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        if self.is_rsa() { SignatureAlgorithm::RSA } else { SignatureAlgorithm::ECDSA }
    }
}

impl Signer for ByOpenssl {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        Ok(self.0.sign(if self.is_rsa() { Alg::RsaPss } else { Alg::EcdsaSha256 }, message))
    }

    fn scheme(&self) -> SignatureScheme {
        if self.is_rsa() { SignatureScheme::RSA_PSS_SHA256 } else { SignatureScheme::ECDSA_NISTP256_SHA256 }
    }
}

static DIR: LazyLock<tempfile::TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a directory"));

/// Runs the openssl program.
fn openssl(arguments: &[&str], input: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut child = Command::new("openssl")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program openssl; ./test installs it");
    child.stdin.take().expect("its input").write_all(input).ok();
    let output = child.wait_with_output().expect("its output");
    assert!(output.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}
