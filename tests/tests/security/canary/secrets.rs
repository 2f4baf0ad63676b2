//! The secrets of a run, and the search for them.

use std::collections::{BTreeSet, HashMap};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// No form is shorter.
const START: usize = 8;

/// Something that must not be seen: a name that may be shown, and the forms it could turn up in.
struct Canary {
    name: String,
    forms: Vec<Vec<u8>>,
}

/// Everything that must not be seen.
#[derive(Default)]
pub(crate) struct Canaries(Vec<Canary>);

impl Canaries {
    /// A secret text: as it is, in JSON, percent-encoded, in base64, in hexadecimal digits, and as the parts of a JWT.
    pub(crate) fn add(&mut self, name: impl Into<String>, secret: &str) {
        assert!(secret.len() >= 16, "too short to be told from anything else");
        let percent: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        let json = serde_json::Value::from(secret).to_string();
        let mut forms = bytes_forms(secret.as_bytes());
        forms.extend([percent.into_bytes(), json.trim_matches('"').as_bytes().to_vec()]);
        // A JWT's header is no secret; what it says and what proves it are.
        forms.extend(secret.split('.').skip(1).filter(|part| part.len() >= 32).map(|part| part.as_bytes().to_vec()));
        self.push(name, forms);
    }

    /// A secret of bytes.
    pub(crate) fn add_bytes(&mut self, name: impl Into<String>, secret: &[u8]) {
        self.push(name, bytes_forms(secret));
    }

    /// A private key in PEM: the whole, and each of its lines.
    pub(crate) fn add_pem(&mut self, name: impl Into<String>, pem: &str) {
        let lines = pem.lines().filter(|line| line.len() >= 16 && !line.starts_with("-----"));
        let mut forms: Vec<_> = lines.map(|line| line.as_bytes().to_vec()).collect();
        let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
        forms.extend(STANDARD.decode(&body).ok());
        forms.extend([body.into_bytes(), b"PRIVATE KEY-----".to_vec()]);
        self.push(name, forms);
    }

    fn push(&mut self, name: impl Into<String>, mut forms: Vec<Vec<u8>>) {
        forms.sort();
        forms.dedup();
        self.0.push(Canary { name: name.into(), forms });
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The names of those that occur in `bytes`, and of anything else there that looks like a token.
    pub(crate) fn seen_in(&self, bytes: &[u8]) -> Vec<String> {
        // Megabytes are searched for hundreds of forms: their first bytes say which of them may stand at a place.
        let mut by_start: HashMap<[u8; START], Vec<(usize, &[u8])>> = HashMap::new();
        let mut possible = vec![false; 1 << 16];
        for (number, form) in self.0.iter().enumerate().flat_map(|(n, canary)| canary.forms.iter().map(move |f| (n, f)))
        {
            let start = form.first_chunk().expect("a form is longer than its start");
            by_start.entry(*start).or_default().push((number, form));
            possible[usize::from(u16::from_le_bytes([form[0], form[1]]))] = true;
        }
        let mut seen = BTreeSet::new();
        for at in 0..bytes.len().saturating_sub(START - 1) {
            if possible[usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]))]
                && let Some(forms) = bytes[at..].first_chunk().and_then(|start| by_start.get(start))
            {
                seen.extend(forms.iter().filter(|(_, form)| bytes[at..].starts_with(form)).map(|(number, _)| *number));
            }
        }
        let mut names: Vec<String> = seen.into_iter().map(|number| self.0[number].name.clone()).collect();
        if looks_like_a_jwt(bytes) {
            names.push("something like a JWT".to_owned());
        }
        names
    }
}

fn bytes_forms(secret: &[u8]) -> Vec<Vec<u8>> {
    let hex = secret.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
    let mut forms = vec![secret.to_vec(), hex.to_uppercase().into_bytes(), hex.into_bytes()];
    forms.push(format!("{secret:?}").trim_matches(['[', ']']).as_bytes().to_vec());
    for skip in 0..3 {
        // In base64 a text looks different by where it begins; what is left of its middle is the same.
        let whole = [vec![0; skip], secret.to_vec()].concat();
        for encoded in [STANDARD_NO_PAD.encode(&whole), URL_SAFE_NO_PAD.encode(&whole)] {
            let middle = &encoded[if skip == 0 { 0 } else { 4 }..encoded.len() - 4];
            forms.push(middle.as_bytes().to_vec());
        }
    }
    forms
}

/// Whether three parts in base64url stand there, the first an object: `eyJ….….…`, also where only the third is missing.
fn looks_like_a_jwt(bytes: &[u8]) -> bool {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let starts = bytes.windows(3).enumerate().filter(|(_, window)| *window == b"eyJ").map(|(at, _)| at);
    starts.into_iter().any(|at| {
        let head = bytes[at..].iter().take_while(|byte| is_word(byte)).count();
        let rest = &bytes[at + head..];
        head >= 12 && rest.first() == Some(&b'.') && rest[1..].iter().take_while(|byte| is_word(byte)).count() >= 12
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbGljZSIsInNpZCI6IjEyMzQ1Njc4OTAifQ.c2lnbmF0dXJlLW9mLXRoZS10b2tlbi10aGF0LWlzLWxvbmc";

    fn canaries() -> Canaries {
        let mut canaries = Canaries::default();
        canaries.add("password", "a \"pass\" & word/of+32 bytes = long");
        canaries.add("token", TOKEN);
        canaries.add_bytes("key", &[7, 200, 13, 45, 99, 255, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]);
        canaries.add_pem(
            "pem",
            "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49\n-----END PRIVATE KEY-----\n",
        );
        canaries
    }

    fn seen(text: impl AsRef<[u8]>) -> Vec<String> {
        canaries().seen_in(&[b"before ".as_slice(), text.as_ref(), b" after"].concat())
    }

    #[test]
    fn a_planted_secret_is_found_in_every_form() {
        let password = "a \"pass\" & word/of+32 bytes = long";
        assert_eq!(seen(password), ["password"]);
        assert_eq!(seen(serde_json::json!({ "message": format!("x{password}y") }).to_string()), ["password"]);
        assert_eq!(seen(format!("{:?}", format!("x{password}y"))), ["password"]);
        assert_eq!(
            seen(url::form_urlencoded::Serializer::new(String::new()).append_pair("p", password).finish()),
            ["password"]
        );
        for before in ["", "u:", "user:", "client:id:"] {
            assert_eq!(seen(STANDARD.encode(format!("{before}{password}"))), ["password"], "{before}");
        }
        let key = [7, 200, 13, 45, 99, 255, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13];
        assert_eq!(seen(key), ["key"]);
        assert_eq!(seen(format!("Key({key:?})")), ["key"]);
        assert_eq!(seen(format!("{key:02x?}").replace(", ", "")), ["key"]);
        assert_eq!(seen(STANDARD.encode(key)), ["key"]);
        assert_eq!(seen("MIGHAgEAMBMGByqGSM49AgEGCCqGSM49"), ["pem"]);
    }

    #[test]
    fn a_token_is_found_whole_in_parts_and_where_nobody_knew_of_it() {
        let like_one = "something like a JWT".to_owned();
        assert_eq!(seen(format!("Bearer {TOKEN}")), ["token".to_owned(), like_one.clone()]);
        let parts: Vec<&str> = TOKEN.split('.').collect();
        assert_eq!(seen(parts[1]), ["token"]);
        assert_eq!(seen(parts[2]), ["token"]);
        assert_eq!(seen("eyJhbGciOiJIUzUxMiJ9.eyJqdGkiOiJ1bmtub3duIn0.c2ln"), [like_one]);
    }

    #[test]
    fn what_is_no_secret_is_not_taken_for_one() {
        for text in
            ["", "eyJ", "eyJhbGciOiJSUzI1NiJ9", "a password of 32 bytes", "MIGHAgEAMBMGByqGSM", "token=[redacted]"]
        {
            assert!(seen(text).is_empty(), "{text}");
        }
    }
}
