//! Keys and signatures: strong ones of every kind are good, weak ones of every kind are not.

use super::{Case, Must, ROOT, case, module};
use crate::certificates::keys::{Alg, Key, Weak};
use crate::certificates::x509::{Authority, Spec};

const OURS: Must = Must::Admit("mod-uri");

pub(super) fn cases() -> Vec<Case> {
    [leaves(), issuers(), mismatches()].concat()
}

fn leaf_with(name: &'static str, key: Key, must: Must) -> Case {
    let leaf = module(&key).by(&ROOT);
    case(name, &[&ROOT], vec![leaf], key, must)
}

fn leaves() -> Vec<Case> {
    let mut rsa_over_12 =
        leaf_with("an RSA key of 1024 bits over TLS 1.2", Key::openssl(Weak::Rsa1024, 0), Must::Refuse("DecryptError"));
    rsa_over_12.tls12 = true;
    vec![
        leaf_with("a P-256 key", Key::new(), OURS),
        leaf_with("a P-384 key", Key::of(&rcgen::PKCS_ECDSA_P384_SHA384), OURS),
        leaf_with("a P-521 key", Key::of(&rcgen::PKCS_ECDSA_P521_SHA512), OURS),
        leaf_with("an Ed25519 key", Key::of(&rcgen::PKCS_ED25519), OURS),
        leaf_with("an RSA key of 2048 bits", Key::openssl(Weak::Rsa2048, 0), OURS),
        leaf_with("an RSA key of 1024 bits", Key::openssl(Weak::Rsa1024, 0), Must::Refuse("DecryptError")),
        leaf_with("a P-224 key", Key::openssl(Weak::P224, 0), Must::Refuse("DecryptError")),
        leaf_with("a secp256k1 key", Key::openssl(Weak::Secp256k1, 0), Must::Refuse("DecryptError")),
        rsa_over_12,
    ]
}

/// A P-256 leaf below a root with this key, signed so.
fn signed_with(name: &'static str, root: Key, alg: Alg, must: Must) -> Case {
    // What a root says of itself is believed without a look at its signature.
    let root = Authority { alg, ..Authority::root_with("a root of its kind", root, alg, |spec| spec) };
    let key = Key::new();
    let leaf = module(&key).by(&root);
    case(name, &[&root], vec![leaf], key, must)
}

fn issuers() -> Vec<Case> {
    let (rsa, weak) = (|| Key::openssl(Weak::Rsa2048, 1), || Key::openssl(Weak::Rsa1024, 1));
    let p384 = || Key::of(&rcgen::PKCS_ECDSA_P384_SHA384);
    let weak_signature = Must::Refuse("DecryptError");
    vec![
        signed_with("signed with P-256 and SHA-256", Key::new(), Alg::EcdsaSha256, OURS),
        signed_with("signed with P-384 and SHA-384", p384(), Alg::EcdsaSha384, OURS),
        signed_with("signed with P-521 and SHA-512", Key::of(&rcgen::PKCS_ECDSA_P521_SHA512), Alg::EcdsaSha512, OURS),
        signed_with("signed with Ed25519", Key::of(&rcgen::PKCS_ED25519), Alg::Ed25519, OURS),
        signed_with("signed with RSA and SHA-256", rsa(), Alg::RsaSha256, OURS),
        signed_with("signed with RSA and SHA-384", rsa(), Alg::RsaSha384, OURS),
        signed_with("signed with RSA and SHA-512", rsa(), Alg::RsaSha512, OURS),
        signed_with("signed with RSA-PSS and SHA-256", rsa(), Alg::RsaPss, OURS),
        signed_with("signed with RSA and SHA-1", rsa(), Alg::RsaSha1, weak_signature),
        signed_with("signed with RSA and MD5", rsa(), Alg::RsaMd5, weak_signature),
        signed_with("signed with P-256 and SHA-1", Key::new(), Alg::EcdsaSha1, weak_signature),
        signed_with("signed with RSA of 1024 bits", weak(), Alg::RsaSha256, Must::Refuse("DecryptError")),
        signed_with("signed with RSA-PSS of 1024 bits", weak(), Alg::RsaPss, Must::Refuse("DecryptError")),
        signed_with("signed with P-224", Key::openssl(Weak::P224, 1), Alg::EcdsaSha256, weak_signature),
        signed_with("signed with secp256k1", Key::openssl(Weak::Secp256k1, 1), Alg::EcdsaSha256, weak_signature),
    ]
}

/// Signatures that are not what they say.
fn mismatches() -> Vec<Case> {
    let key = Key::new();
    let spec = || Spec { issuer: ROOT.name.clone(), ..module(&key) };
    let mut flipped = spec().by(&ROOT);
    let last = flipped.len() - 1;
    flipped[last] ^= 1;
    let mut altered = spec().by(&ROOT);
    let at = altered.windows(7).position(|bytes| bytes == b"mod-uri").expect("its name");
    altered[at..at + 7].copy_from_slice(b"mod-urk");
    let mut renamed =
        Spec::leaf(&key).named(&[crate::certificates::x509::uri("spiffe://example.org/mod-urk")]).by(&ROOT);
    let at = renamed.windows(7).position(|bytes| bytes == b"mod-urk").expect("its name");
    renamed[at..at + 7].copy_from_slice(b"mod-uri");
    let claims = |alg: Alg| Spec { claimed: Some(alg.identifier()), ..spec() }.by(&ROOT);
    let outside = spec().signed(&ROOT.key, Alg::Ed25519);
    let other_hash = spec().signed(&ROOT.key, Alg::EcdsaSha384);
    vec![
        case("a signature with one bit flipped", &[&ROOT], vec![flipped], key.clone(), Must::Refuse("DecryptError")),
        case("a name altered after it was signed", &[&ROOT], vec![altered], key.clone(), Must::Refuse("DecryptError")),
        case(
            "a name altered into a module's after it was signed",
            &[&ROOT],
            vec![renamed],
            key.clone(),
            Must::Refuse("DecryptError"),
        ),
        case(
            "one algorithm inside and another outside",
            &[&ROOT],
            vec![claims(Alg::EcdsaSha384)],
            key.clone(),
            Must::Refuse("CertificateUnknown"),
        ),
        case(
            "SHA-1 inside and SHA-256 outside",
            &[&ROOT],
            vec![claims(Alg::EcdsaSha1)],
            key.clone(),
            Must::Refuse("CertificateUnknown"),
        ),
        case(
            "an algorithm that is not the issuer's",
            &[&ROOT],
            vec![outside],
            key.clone(),
            Must::Refuse("DecryptError"),
        ),
        case("another hash than was signed", &[&ROOT], vec![other_hash], key, Must::Refuse("DecryptError")),
    ]
}
