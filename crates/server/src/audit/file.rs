//! The audit file: appended to in whole lines, and found again when it was moved away.
//!
//! Whatever rotates it may rename it (with or without a signal afterwards), remove it, or copy and truncate it. The file
//! has one writer, this process; everything else may read.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Its owner writes, its group (whatever ships logs) reads.
const MODE: u32 = 0o640;

/// An open audit file.
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    /// Which file it is, whatever its name: device and inode.
    identity: (u64, u64),
    sync: bool,
}

impl LogFile {
    /// Opens it, or makes it.
    pub(super) fn open(path: &Path, sync: bool) -> io::Result<Self> {
        let file = File::options().append(true).create(true).mode(MODE).open(path)?;
        let identity = identity(&file.metadata()?);
        let mut log = Self { path: path.to_owned(), file, identity, sync };
        if ends_torn(path) {
            // What a machine's crash left of a line must not spoil the next.
            log.write_whole(b"\n")?;
        }
        Ok(log)
    }

    /// Appends whole lines: all of them or none.
    pub(super) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        self.follow()?;
        self.write_whole(lines)?;
        if self.sync { self.file.sync_data() } else { Ok(()) }
    }

    /// Opens it by its name again.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        *self = Self::open(&self.path, self.sync)?;
        Ok(())
    }

    /// Opens it again if another file, or none, has its name.
    fn follow(&mut self) -> io::Result<()> {
        match fs::metadata(&self.path) {
            Ok(metadata) if identity(&metadata) == self.identity => Ok(()),
            Ok(_) => self.reopen(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.reopen(),
            Err(error) => Err(error),
        }
    }

    /// Where the disk is full half-way, the half is taken back.
    fn write_whole(&mut self, lines: &[u8]) -> io::Result<()> {
        let mut written = 0;
        while written < lines.len() {
            match self.file.write(&lines[written..]) {
                Ok(0) => return self.take_back(written, io::ErrorKind::WriteZero.into()),
                Ok(more) => written += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return self.take_back(written, error),
            }
        }
        Ok(())
    }

    fn take_back(&mut self, written: usize, error: io::Error) -> io::Result<()> {
        let length = self.file.metadata().map_or(0, |metadata| metadata.len());
        if let Some(before) = length.checked_sub(written as u64).filter(|_| written > 0) {
            // Where that fails too, the half line ends at the next opening.
            drop(self.file.set_len(before));
        }
        Err(error)
    }
}

fn identity(metadata: &fs::Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// Whether there is a last line without its end. What cannot be read, such as a pipe, has none.
fn ends_torn(path: &Path) -> bool {
    let last = || -> io::Result<u8> {
        let mut byte = [0];
        let mut file = File::open(path)?;
        if !file.metadata()?.is_file() || file.metadata()?.len() == 0 {
            return Ok(b'\n');
        }
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut byte)?;
        Ok(byte[0])
    };
    last().is_ok_and(|last| last != b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &Path) -> String {
        fs::read_to_string(path).expect("the file")
    }

    #[test]
    fn lines_go_on_in_a_new_file_once_the_old_one_is_renamed_or_removed() {
        let dir = tempfile::tempdir().expect("a directory");
        let (path, old) = (dir.path().join("audit.log"), dir.path().join("audit.log.1"));
        let mut log = LogFile::open(&path, true).expect("a file");
        log.append(b"1\n").expect("written");
        fs::rename(&path, &old).expect("renamed");
        log.append(b"2\n").expect("written");
        assert_eq!((read(&old), read(&path)), ("1\n".to_owned(), "2\n".to_owned()));
        fs::remove_file(&path).expect("removed");
        log.append(b"3\n").expect("written");
        assert_eq!(read(&path), "3\n");
    }

    #[test]
    fn a_file_that_was_copied_and_truncated_is_written_from_its_start() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("audit.log");
        let mut log = LogFile::open(&path, false).expect("a file");
        log.append(b"1\n2\n").expect("written");
        File::options().write(true).open(&path).expect("the file").set_len(0).expect("truncated");
        log.append(b"3\n").expect("written");
        assert_eq!(fs::read(&path).expect("the file"), b"3\n", "no hole of zeros");
    }

    #[test]
    fn a_torn_last_line_spoils_no_other() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("audit.log");
        fs::write(&path, "1\n{\"torn").expect("a file");
        LogFile::open(&path, false).expect("a file").append(b"2\n").expect("written");
        assert_eq!(read(&path), "1\n{\"torn\n2\n");
    }

    #[test]
    fn a_full_device_takes_nothing() {
        let mut full = LogFile::open(Path::new("/dev/full"), false).expect("the device");
        let error = full.append(b"1\n").expect_err("it is full");
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
}
