//! What is known of every token in the simulation, seen from outside: who holds it, whether it is spent, and therefore
//! whether a job could still be saved.
//!
//! A job is **doomed**, and its loss excused, from the moment when not one unspent refresh token of its line is left
//! where the vault could find it: in the store, or in the memory of a living process. A process counts as holding what it
//! was answered until three seconds after that was first written, which is longer than any rollback of the store reaches
//! back. So the only losses that are excused are those whose last token was in an answer that never reached a living
//! process, or died with the process that held it before the store had it for good. A job with a session of the vault's
//! own is never doomed, for a new session can always be had.
//!
//! Where the key of the refresh tokens was deleted, the access token is what is left: a job is lost by that only where its access
//! token died before the trouble ended, or could not be exchanged.
//!
//! Nor is a job doomed by what the vault threw away. The newest token that the store has had and not lost, and the three
//! newest before it that had not been declared to be sent when it came, count as being there whether the record still holds
//! them or not.

use std::collections::{HashMap, HashSet};

use tokenvault_core::secret::TokenHash;

use super::module::expires_at_ms;
use super::process::EPOCH_MS;

/// How long after it was first written a process still holds what it was answered.
const HELD_MS: u64 = 3_000;

/// How many of its tokens the vault is to keep: the newest, and three unspent ones before it.
const TO_BE_KEPT: usize = 4;

/// A line of tokens, each made from one before it; belongs to one job.
pub type Line = usize;

#[derive(Debug, Default)]
struct Chain {
    began: u64,
    /// Every token, the oldest first.
    issued: Vec<TokenHash>,
    /// What the vault is to keep, the newest first.
    kept: Vec<TokenHash>,
    /// Until when the newest access token lives.
    access_until: u64,
    /// The key of all its refresh tokens was deleted: until when the access token that may still be exchanged lives.
    hope: Option<u64>,
    /// The same from before the store had a newer pair, which it may lose.
    hope_before: Option<u64>,
}

#[derive(Debug, Default)]
struct Token {
    line: Line,
    spent: bool,
    /// The key it was signed with was deleted.
    void: bool,
    issued_at: u64,
    holders: Vec<usize>,
    written_at: Option<u64>,
    /// Since when the store has had it, unless it lost it.
    kept_since: Option<u64>,
    /// Whether it was declared to be sent.
    declared: bool,
}

impl Token {
    /// Whether whoever has it can renew with it.
    fn is_good(&self) -> bool {
        !self.spent && !self.void
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Oracle {
    refresh: HashMap<TokenHash, Token>,
    access: HashMap<String, Line>,
    lines: Vec<Chain>,
    doomed: HashMap<Line, &'static str>,
}

impl Oracle {
    /// A line of its own for a first pair, held by nobody yet.
    pub fn begin(&mut self, refresh: TokenHash, access: &str, now: u64) -> Line {
        self.lines.push(Chain { began: now, ..Chain::default() });
        let line = self.lines.len() - 1;
        self.issued(line, refresh, access, now);
        line
    }

    /// A pair that was made from one of a line.
    pub fn issued(&mut self, line: Line, refresh: TokenHash, access: &str, now: u64) {
        let chain = &mut self.lines[line];
        chain.issued.push(refresh);
        chain.access_until = expires_at_ms(access).map_or(0, |end| end.saturating_sub(EPOCH_MS));
        self.refresh.insert(refresh, Token { line, issued_at: now, ..Token::default() });
        self.access.insert(signature(access).to_owned(), line);
    }

    /// When a line began.
    pub fn began(&self, line: Line) -> Option<u64> {
        self.lines.get(line).map(|chain| chain.began)
    }

    /// The line of a refresh token.
    pub fn line_of(&self, refresh: TokenHash) -> Option<Line> {
        self.refresh.get(&refresh).map(|token| token.line)
    }

    /// The line of an access token of the vault's.
    pub fn line_of_access(&self, access: &str) -> Option<Line> {
        self.access.get(signature(access)).copied()
    }

    /// When a refresh token was issued.
    pub fn issued_at(&self, refresh: TokenHash) -> Option<u64> {
        self.refresh.get(&refresh).map(|token| token.issued_at)
    }

    /// The key of the refresh tokens was deleted: what is left to a line is its access token, unless it is hopeless.
    pub fn void(&mut self, hopeless: &[Line]) {
        for token in self.refresh.values_mut() {
            token.void = true;
        }
        for (line, chain) in self.lines.iter_mut().enumerate() {
            chain.hope = Some(if hopeless.contains(&line) { 0 } else { chain.access_until });
        }
    }

    /// The access token of a line can no longer be exchanged.
    pub fn despair(&mut self, line: Line) {
        let chain = &mut self.lines[line];
        chain.hope = chain.hope.map(|_| 0);
        chain.hope_before = chain.hope_before.map(|_| 0);
    }

    /// Whether a line lost all its refresh tokens with their key, and its access token before `then`.
    pub fn lost_its_key(&self, line: Line, then: u64) -> bool {
        self.lines.get(line).and_then(|chain| chain.hope).is_some_and(|until| until <= then)
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
    pub fn written(&mut self, refresh: TokenHash, declared: bool, now: u64) {
        let Some(token) = self.refresh.get_mut(&refresh) else { return };
        token.written_at.get_or_insert(now);
        token.declared |= declared;
        if token.kept_since.replace(token.kept_since.unwrap_or(now)).is_none() {
            let (line, void) = (token.line, token.void);
            // One that was on its way when its key was deleted brings no hope.
            if !void {
                let chain = &mut self.lines[line];
                chain.hope_before = chain.hope.take().or(chain.hope_before);
            }
            self.keep(line, refresh);
        }
    }

    /// As the vault is to do it: what has been declared goes when a newer token comes.
    fn keep(&mut self, line: Line, newest: TokenHash) {
        let kept = &mut self.lines[line].kept;
        kept.retain(|hash| self.refresh.get(hash).is_some_and(|token| !token.declared));
        kept.insert(0, newest);
        kept.truncate(TO_BE_KEPT);
    }

    /// The store lost what it was told since then.
    pub fn roll_back(&mut self, then: u64) {
        for token in self.refresh.values_mut() {
            token.kept_since = token.kept_since.filter(|since| *since < then);
        }
        for chain in &mut self.lines {
            chain.kept.retain(|hash| self.refresh.get(hash).is_some_and(|token| token.kept_since.is_some()));
            // What came after the key was deleted is lost: the access token from before it is what is left again.
            if chain.kept.iter().all(|hash| self.refresh.get(hash).is_some_and(|token| token.void)) {
                chain.hope = chain.hope.or(chain.hope_before);
            }
        }
    }

    /// A record was created with a token beside its first one, of one and the same exchange: from now on it is of its line.
    pub fn spared(&mut self, refresh: TokenHash, line: Line) {
        let Some(token) = self.refresh.get_mut(&refresh).filter(|token| token.line != line) else { return };
        let before = std::mem::replace(&mut token.line, line);
        self.lines[before] = Chain { began: self.lines[before].began, ..Chain::default() };
        self.lines[line].issued.insert(0, refresh);
        self.lines[line].kept.push(refresh);
    }

    /// Whether the vault has, or should have, an unspent token of a line that the store was given for good.
    fn should_be_kept(&self, line: Line) -> bool {
        let mut kept = self.lines[line].kept.iter().filter_map(|hash| self.refresh.get(hash));
        kept.any(|token| token.is_good() && !token.declared) || self.lines[line].hope.is_some()
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
        let saved = self.lines[line].issued.iter().rev().any(|hash| {
            self.refresh.get(hash).is_some_and(|token| token.is_good() && (stored.contains(hash) || held(token)))
        });
        if !saved && !self.should_be_kept(line) {
            self.doomed.entry(line).or_insert(why);
        }
    }

    /// A process died. An unspent token that it alone had been answered with, and that the store never had, is gone, even
    /// where the job had been given up before and would have been brought back.
    pub fn died(&mut self, process: usize) {
        let gone = |token: &&Token| !token.spent && token.written_at.is_none() && token.holders == [process];
        for token in self.refresh.values().filter(gone) {
            let newest = self.lines[token.line].issued.last();
            let is_newest =
                newest.and_then(|hash| self.refresh.get(hash)).is_some_and(|newest| std::ptr::eq(newest, token));
            if is_newest && !self.should_be_kept(token.line) {
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
