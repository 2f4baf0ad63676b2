//! Where a page of jobs ended, as a text that callers pass on and do not read.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokenvault_core::ids::JobId;

/// Where to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cursor {
    /// In the walk over all records.
    Walk(String),
    /// After this one of a user's jobs.
    Job(JobId),
}

impl Cursor {
    /// The text.
    pub fn encode(&self) -> String {
        let plain = match self {
            Self::Walk(place) => format!("w{place}"),
            Self::Job(job) => format!("j{job}"),
        };
        URL_SAFE_NO_PAD.encode(plain)
    }

    /// Reads the text; `None` if it is not one that was handed out.
    pub fn decode(text: &str) -> Option<Self> {
        let plain = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        match plain.split_at_checked(1)? {
            ("w", place) if !place.is_empty() => Some(Self::Walk(place.to_owned())),
            ("j", job) => JobId::parse(job).ok().map(Self::Job),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_and_nothing_else_is_one() {
        for cursor in [Cursor::Walk("12:345".to_owned()), Cursor::Job(JobId::parse("job-1").unwrap())] {
            assert_eq!(Cursor::decode(&cursor.encode()), Some(cursor));
        }
        for junk in
            ["", "!", "dw", &URL_SAFE_NO_PAD.encode("x"), &URL_SAFE_NO_PAD.encode("w"), &URL_SAFE_NO_PAD.encode("j/")]
        {
            assert_eq!(Cursor::decode(junk), None, "{junk:?}");
        }
    }
}
