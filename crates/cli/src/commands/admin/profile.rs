//! The operator's profiles: where vaults are, and with which certificate to call them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::failure::Failure;

/// What a profile says; any of it may be left to the options.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Profile {
    pub(super) address: Option<String>,
    pub(super) cacert: Option<PathBuf>,
    pub(super) cert: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
}

/// The file.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Profiles {
    default: Option<String>,
    profile: BTreeMap<String, Profile>,
}

impl Profiles {
    pub(super) fn load(file: &Path) -> Result<Self, Failure> {
        let wrong = |problem: String| Failure::usage(format!("{}: {problem}", file.display()));
        let text = std::fs::read_to_string(file).map_err(|error| wrong(format!("cannot be read: {error}")))?;
        toml::from_str(&text).map_err(|error| wrong(error.message().to_owned()))
    }

    /// The profile of this name, or else the default one, or else the only one. Its files are relative to the profiles'.
    pub(super) fn choose(self, name: Option<&str>, file: &Path) -> Result<Profile, Failure> {
        let known = self.profile.keys().cloned().collect::<Vec<_>>().join(", ");
        let only = self.profile.keys().next().filter(|_| self.profile.len() == 1).cloned();
        let shown = file.display();
        let Some(name) = name.map(str::to_owned).or(self.default).or(only) else {
            return Err(Failure::usage(format!("{shown}: give --profile: it has {known} and no `default`")));
        };
        let Some(profile) = self.profile.get(&name) else {
            return Err(Failure::usage(format!("{shown}: has no profile {name:?}; it has {known}")));
        };
        let base = file.parent().unwrap_or(Path::new(""));
        let beside = |path: &Option<PathBuf>| path.as_ref().map(|path| base.join(path));
        Ok(Profile {
            address: profile.address.clone(),
            cacert: beside(&profile.cacert),
            cert: beside(&profile.cert),
            key: beside(&profile.key),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(text: &str, name: Option<&str>) -> Result<Option<String>, String> {
        let profiles: Profiles = toml::from_str(text).unwrap();
        let chosen = profiles.choose(name, Path::new("/etc/p.toml"));
        chosen.map(|profile| profile.address).map_err(|failure| failure.text().unwrap_or_default().to_owned())
    }

    #[test]
    fn the_named_the_default_or_the_only_profile_is_taken() {
        let one = "[profile.a]\naddress = \"a\"";
        let two = format!("{one}\n[profile.b]\naddress = \"b\"");
        let with_default = format!("default = \"b\"\n{two}");
        let address = |text: &str| Ok(Some(text.to_owned()));
        assert_eq!(choose(one, None), address("a"));
        assert_eq!(choose(&with_default, None), address("b"));
        assert_eq!(choose(&with_default, Some("a")), address("a"));
        assert!(choose(&two, None).unwrap_err().contains("it has a, b and no `default`"));
        assert!(choose(&two, Some("c")).unwrap_err().contains("no profile \"c\""));
    }

    #[test]
    fn a_file_that_is_none_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("profiles.toml");
        std::fs::write(&file, "[profile.a]\nadress = \"x\"").unwrap();
        let failure = Profiles::load(&file).unwrap_err();
        assert!(failure.text().unwrap().contains("unknown field `adress`"), "{failure:?}");
    }
}
