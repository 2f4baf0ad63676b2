//! A program on a terminal of its own, for what only people are shown: questions, and how far something has come.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::process::wait_until;
use super::{Failure, Result};

const WIDTH: u16 = 120;

/// A program and its terminal; killed when dropped.
pub struct Terminal {
    child: Child,
    keyboard: File,
    screen: Arc<Mutex<Vec<u8>>>,
    watching: Option<JoinHandle<()>>,
}

impl Terminal {
    /// Starts `command` on a new terminal.
    pub fn start(command: Command) -> Result<Self> {
        Self::start_with(WIDTH, "xterm", command)
    }

    /// Starts `command` on a new terminal of so many columns and of this kind.
    pub fn start_with(width: u16, kind: &str, mut command: Command) -> Result<Self> {
        let (ours, theirs) = pair(width)?;
        command.env("TERM", kind).stdin(theirs.try_clone()?).stdout(theirs.try_clone()?).stderr(theirs);
        let child = command.spawn()?;
        // The command holds the terminal's other side as well, and what is written there ends only with the last of them.
        drop(command);
        let (keyboard, screen) = (File::from(ours), Arc::new(Mutex::new(Vec::new())));
        let watching = std::thread::spawn(watch(keyboard.try_clone()?, Arc::clone(&screen)));
        Ok(Self { child, keyboard, screen, watching: Some(watching) })
    }

    /// Everything that was shown until now, with all that moves the cursor.
    pub fn shown(&self) -> String {
        String::from_utf8_lossy(&self.screen.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    /// Waits until a text is shown.
    pub async fn wait_for(&self, text: &str, within: Duration) -> Result<()> {
        let waited =
            wait_until(&format!("{text:?} on the terminal"), within, async || self.shown().contains(text)).await;
        waited.map_err(|failure| failure.context(self.shown()))
    }

    /// Types a line.
    pub fn enter(&mut self, line: &str) -> Result<()> {
        Ok(self.keyboard.write_all(format!("{line}\n").as_bytes())?)
    }

    /// Waits until the program has ended and everything it wrote is shown.
    pub async fn end(mut self, within: Duration) -> Result<(ExitStatus, String)> {
        let mut ended = None;
        wait_until("the program on the terminal to end", within, || {
            ended = self.child.try_wait().ok().flatten();
            let over = ended.is_some();
            async move { over }
        })
        .await
        .map_err(|failure| failure.context(self.shown()))?;
        if let Some(watching) = self.watching.take() {
            watching.join().map_err(|_| Failure::new("nobody watches the terminal"))?;
        }
        Ok((ended.ok_or_else(|| Failure::new("it was waited for"))?, self.shown()))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The lines of what was shown, without what colours them or moves the cursor.
pub fn lines(shown: &str) -> Vec<String> {
    let mut plain = String::new();
    let shown = shown.replace("\r\n", "\n");
    let mut rest = shown.chars();
    while let Some(c) = rest.next() {
        match c {
            // A control sequence (ECMA-48) ends with its first letter.
            '\u{1b}' => drop(rest.find(char::is_ascii_alphabetic)),
            '\r' => plain.push('\n'),
            c => plain.push(c),
        }
    }
    plain.lines().map(|line| line.trim_end().to_owned()).collect()
}

/// Whether colours, or bold and dim letters, were shown.
pub fn is_coloured(shown: &str) -> bool {
    shown.split("\u{1b}[").skip(1).any(|sequence| {
        sequence.find(|c: char| c.is_ascii_alphabetic()).is_some_and(|end| sequence[end..].starts_with('m'))
    })
}

/// The lines that are wider than the terminal.
pub fn too_wide(shown: &str, width: usize) -> Vec<String> {
    lines(shown).into_iter().filter(|line| line.chars().count() > width).collect()
}

/// The two sides of a new terminal: ours, and the program's.
fn pair(width: u16) -> Result<(OwnedFd, OwnedFd)> {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
    grantpt(&ours)?;
    unlockpt(&ours)?;
    let name = ptsname(&ours, Vec::new())?;
    let theirs = rustix::fs::open(
        OsStr::from_bytes(name.as_bytes()),
        OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    tcsetwinsize(&theirs, Winsize { ws_row: 24, ws_col: width, ws_xpixel: 0, ws_ypixel: 0 })?;
    Ok((ours, theirs))
}

/// Reads until nobody has the other side open any more, which the system calls an error.
fn watch(mut from: File, screen: Arc<Mutex<Vec<u8>>>) -> impl FnOnce() {
    move || {
        let mut buffer = [0; 4096];
        while let Ok(count) = from.read(&mut buffer)
            && count > 0
        {
            screen.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&buffer[..count]);
        }
    }
}
