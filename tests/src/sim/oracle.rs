//! What is known of every token in the simulation, seen from outside: who holds it, whether it is spent, and therefore
//! whether a job could still be saved.
//!
//! A job is **doomed**, and its loss excused, from the moment when not one unspent refresh token of its line is left
//! where the vault could find it: in the store, or in the memory of a living process. A process counts as holding what it
//! was answered until three seconds after that was first written, which is longer than any rollback of the store reaches
//! back. So the only losses that are excused are those whose last token was in an answer that never reached a living
//! process, or died with the process that held it before the store had it for good. A job with a session of the vault's
//! own is never doomed, for a new session can always be had.

use std::collections::{HashMap, HashSet};

use tokenvault_core::secret::TokenHash;

/// How long after it was first written a process still holds what it was answered.
const HELD_MS: u64 = 3_000;

/// A line of tokens, each made from one before it; belongs to one job.
pub type Line = usize;

#[derive(Debug, Default)]
struct Token {
    line: Line,
    spent: bool,
    holders: Vec<usize>,
    written_at: Option<u64>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Oracle {
    refresh: HashMap<TokenHash, Token>,
    access: HashMap<String, Line>,
    lines: Vec<(u64, Vec<TokenHash>)>,
    doomed: HashMap<Line, &'static str>,
}

impl Oracle {
    /// A line of its own for a first pair, held by nobody yet.
    pub fn begin(&mut self, refresh: TokenHash, access: &str, now: u64) -> Line {
        self.lines.push((now, Vec::new()));
        let line = self.lines.len() - 1;
        self.issued(line, refresh, access);
        line
    }

    /// A pair that was made from one of a line.
    pub fn issued(&mut self, line: Line, refresh: TokenHash, access: &str) {
        self.lines[line].1.push(refresh);
        self.refresh.insert(refresh, Token { line, ..Token::default() });
        self.access.insert(signature(access).to_owned(), line);
    }

    /// When a line began.
    pub fn began(&self, line: Line) -> Option<u64> {
        self.lines.get(line).map(|(began, _)| *began)
    }

    /// The line of a refresh token.
    pub fn line_of(&self, refresh: TokenHash) -> Option<Line> {
        self.refresh.get(&refresh).map(|token| token.line)
    }

    /// The line of an access token of the vault's.
    pub fn line_of_access(&self, access: &str) -> Option<Line> {
        self.access.get(signature(access)).copied()
    }

    /// Whether a refresh has been carried out with it.
    pub fn is_spent(&self, refresh: TokenHash) -> bool {
        self.refresh.get(&refresh).is_some_and(|token| token.spent)
    }

    /// A refresh was carried out with it.
    pub fn spend(&mut self, refresh: TokenHash) {
        if let Some(token) = self.refresh.get_mut(&refresh) {
            token.spent = true;
        }
    }

    /// A living process was answered with it.
    pub fn received(&mut self, refresh: TokenHash, process: usize) {
        if let Some(token) = self.refresh.get_mut(&refresh) {
            token.holders.push(process);
        }
    }

    /// The store has it.
    pub fn written(&mut self, refresh: TokenHash, now: u64) {
        if let Some(token) = self.refresh.get_mut(&refresh) {
            token.written_at.get_or_insert(now);
        }
    }

    /// Looks whether a line can still be saved, given what the store holds and which processes live.
    pub fn judge(
        &mut self,
        line: Line,
        stored: &HashSet<TokenHash>,
        lives: impl Fn(usize) -> bool,
        now: u64,
        why: &'static str,
    ) {
        let held = |token: &Token| {
            token.written_at.is_none_or(|at| now <= at + HELD_MS) && token.holders.iter().any(|holder| lives(*holder))
        };
        let saved = self.lines[line].1.iter().rev().any(|hash| {
            self.refresh.get(hash).is_some_and(|token| !token.spent && (stored.contains(hash) || held(token)))
        });
        if !saved {
            self.doomed.entry(line).or_insert(why);
        }
    }

    /// A process died. An unspent token that it alone had been answered with, and that the store never had, is gone, even
    /// where the job had been given up before and would have been brought back.
    pub fn died(&mut self, process: usize) {
        let gone = |token: &&Token| !token.spent && token.written_at.is_none() && token.holders == [process];
        for token in self.refresh.values().filter(gone) {
            let newest = self.lines[token.line].1.last();
            if newest.and_then(|hash| self.refresh.get(hash)).is_some_and(|newest| std::ptr::eq(newest, token)) {
                self.doomed.entry(token.line).or_insert("died with its holder");
            }
        }
    }

    /// Why a line could not be saved any more.
    pub fn doom(&self, line: Line) -> Option<&'static str> {
        self.doomed.get(&line).copied()
    }
}

/// Tells tokens apart as well as the whole token does.
fn signature(token: &str) -> &str {
    token.rsplit('.').next().unwrap_or(token)
}
