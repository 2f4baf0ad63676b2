//! Why a store is unavailable, in words: each cause has a stable code, for programs, and says what an operator would look at.

use std::fmt;

/// The causes, each with its words. `docs/runbooks/store-unavailable.md` leads out of each.
pub const CAUSES: [(&str, &str); 16] = [
    ("refused", "nobody listens at its address"),
    ("connect_timeout", "no connection came about in time"),
    ("timeout", "it did not answer in time"),
    ("connection_lost", "it closed the connection"),
    ("io", "the connection to it broke, or its name is not known"),
    ("pool_exhausted", "every connection was in use for too long"),
    ("authentication", "it does not accept the user or the password"),
    ("no_permission", "its user may not do what the vault does"),
    ("loading", "it still reads its files after a start"),
    ("read_only", "the server that answers is a replica: it follows another one"),
    ("master_down", "the server that answers is a replica that has lost its primary"),
    ("out_of_memory", "it is full: its maxmemory is reached"),
    ("cannot_persist", "it cannot write to its disk"),
    ("too_few_replicas", "it has fewer replicas than it is to have before it writes"),
    ("server", "it refused a command"),
    ("protocol", "what answers does not speak as Redis does"),
];

/// A cause as it is written: its words, and its code for who searches for it.
pub(super) struct Written<'a>(pub(super) &'a str);

impl fmt::Display for Written<'_> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match CAUSES.iter().find(|(code, _)| *code == self.0) {
            Some((code, words)) => write!(to, "{words} ({code})"),
            None => to.write_str(self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::StoreError;

    #[test]
    fn a_cause_is_said_in_words_with_its_code() {
        let said = StoreError::Unavailable("refused").to_string();
        assert_eq!(said, "the store is unavailable: nobody listens at its address (refused)");
        let said = StoreError::Unavailable("its clock has not been heard yet").to_string();
        assert_eq!(said, "the store is unavailable: its clock has not been heard yet");
    }
}
