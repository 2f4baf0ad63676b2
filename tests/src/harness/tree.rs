//! What a directory holds, to be compared with what it holds later. It may hold secrets, so that only names are told.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::Result;

/// Every file in and below a directory, with its bytes.
pub struct Tree(BTreeMap<PathBuf, Vec<u8>>);

impl Tree {
    /// As it is now.
    pub fn of(dir: &Path) -> Result<Self> {
        let mut found = BTreeMap::new();
        gather(dir, &mut found)?;
        Ok(Self(found))
    }

    /// How many files there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The names of the files that are another in the directory as it is now.
    pub fn changed(&self, dir: &Path) -> Result<Vec<String>> {
        let now = Self::of(dir)?;
        let files: BTreeSet<&PathBuf> = self.0.keys().chain(now.0.keys()).collect();
        let changed = files.into_iter().filter(|file| self.0.get(*file) != now.0.get(*file));
        Ok(changed.filter_map(|file| Some(file.file_name()?.to_string_lossy().into_owned())).collect())
    }
}

fn gather(dir: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            gather(&path, found)?;
        } else {
            let bytes = fs::read(&path)?;
            found.insert(path, bytes);
        }
    }
    Ok(())
}

/// Changes a text as somebody with an editor does, so that it still says the same.
pub fn edit(file: &Path) -> Result<()> {
    let mut text = fs::read(file)?;
    text.extend(b"# mine\n");
    Ok(fs::write(file, text)?)
}
