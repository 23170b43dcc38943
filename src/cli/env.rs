//! The environment: which `ETCDCTL_*` variables count, and what is said of the others.
//!
//! A variable is the default of its flag and nothing more: the flag beats it, empty means unset, and
//! a value that makes no sense is an error that names the variable. (etcdctl dies of a flag beside
//! its variable and ignores nonsense in silence: `compat.md` section 0, item 8.)

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use super::commands::Command;
use super::flags;
use super::suggest::nearest;
use crate::error::{Error, Result};

const PREFIX: &str = "ETCDCTL_";
/// Said by every script since 3.0; ours is always API 3.
const API: &str = "ETCDCTL_API";

/// The `ETCDCTL_*` variables that are set to something.
#[derive(Default)]
pub struct Environment(Vec<(String, OsString)>);

impl Environment {
    /// Out of all variables.
    pub fn of(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Environment {
        let ours = variables.into_iter().filter_map(|(name, value)| {
            let name = name.into_string().ok()?;
            (name.starts_with(PREFIX) && !value.is_empty()).then_some((name, value))
        });
        let mut ours: Vec<_> = ours.collect();
        ours.sort();
        Environment(ours)
    }

    /// The value of a variable.
    pub fn get(&self, variable: &str) -> Option<&OsStr> {
        let found = self.0.iter().find(|(name, _)| name == variable);
        found.map(|(_, value)| value.as_os_str())
    }

    /// `ETCDCTL_API` is 3 or nothing wherever a server is spoken to; offline commands have no API.
    pub fn check_api(&self, command: Command) -> Result<()> {
        let Some(api) = self.get(API) else {
            return Ok(());
        };
        if command != Command::Save || api == "3" {
            return Ok(());
        }
        let what = match api.to_str() {
            Some("2") => "etcd's API 2 has no snapshots, and 3.6 has no API 2".to_string(),
            _ => format!("unsupported API version: {}", api.to_string_lossy()),
        };
        Err(
            Error::usage(format!("{API}={}: {what}", api.to_string_lossy()))
                .hint(format!("unset {API}, or set it to 3")),
        )
    }

    /// One line about the variables that nothing here knows; none if there are none.
    pub fn warning(&self, command: Command) -> Option<String> {
        let known: Vec<String> = flags::all().filter_map(|flag| flag.variable()).collect();
        let elsewhere = |name: &str| {
            let flag = name.trim_start_matches(PREFIX).to_lowercase();
            flags::instead(&flag.replace('_', "-")).is_some()
        };
        let unknown: Vec<String> = self
            .0
            .iter()
            .map(|(name, _)| name.as_str())
            .filter(|name| *name != API && !known.iter().any(|known| known == name))
            // What etcdctl knows means nothing to a command that asks no server.
            .filter(|name| command == Command::Save || !elsewhere(name))
            .map(
                |name| match nearest(name, known.iter().map(String::as_str)) {
                    Some(near) => format!("{name} (did you mean {near}?)"),
                    None => name.to_string(),
                },
            )
            .collect();
        let list = unknown.join(", ");
        (!unknown.is_empty()).then(|| format!("environment variables without effect: {list}"))
    }

    /// The variables that set a flag of this command, for `--debug`; passwords hidden.
    pub fn in_effect(&self, command: Command) -> Vec<String> {
        let flags = flags::all().filter(|flag| flag.commands.contains(&command));
        flags
            .filter_map(|flag| {
                let variable = flag.variable()?;
                let value = self.get(&variable)?.to_string_lossy().into_owned();
                let value = match flag.long {
                    "password" => "(hidden)".to_string(),
                    "user" => value.split(':').next().unwrap_or_default().to_string(),
                    _ => value,
                };
                Some(format!("{variable}={value}"))
            })
            .collect()
    }
}

/// Where a temporary file may be made, in order of preference: where TMPDIR says, else where there
/// is most likely room for a whole snapshot.
pub fn spool_dirs() -> Vec<PathBuf> {
    let said = std::env::var_os("TMPDIR").filter(|dir| !dir.is_empty());
    let usual = ["/var/tmp", "/tmp", "."].map(PathBuf::from);
    said.map(PathBuf::from).into_iter().chain(usual).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        Environment::of(
            pairs
                .iter()
                .map(|(name, value)| (name.into(), value.into())),
        )
    }

    #[test]
    fn empty_is_unset_and_others_are_not_seen() {
        let env = environment(&[("ETCDCTL_CERT", ""), ("PATH", "/bin"), ("ETCDCTL_KEY", "k")]);
        assert_eq!(env.get("ETCDCTL_CERT"), None);
        assert_eq!(env.get("PATH"), None);
        assert_eq!(env.get("ETCDCTL_KEY"), Some(OsStr::new("k")));
    }

    #[test]
    fn api_three_is_silent_and_two_is_an_error() {
        let three = environment(&[("ETCDCTL_API", "3")]);
        assert!(three.check_api(Command::Save).is_ok());
        assert_eq!(three.warning(Command::Save), None);
        let two = environment(&[("ETCDCTL_API", "2")]);
        assert!(two.check_api(Command::Save).is_err());
        assert!(two.check_api(Command::Verify).is_ok());
        assert!(
            environment(&[("ETCDCTL_API", "7")])
                .check_api(Command::Save)
                .is_err()
        );
    }

    #[test]
    fn unknown_variables_get_one_line() {
        let env = environment(&[
            ("ETCDCTL_FOO_BAR_BAZ", "1"),
            ("ETCDCTL_CA_CERT", "ca.crt"),
            ("ETCDCTL_DISCOVERY_SRV", "example.com"),
            ("ETCDCTL_CERT", "c"),
        ]);
        assert_eq!(
            env.warning(Command::Save).unwrap(),
            "environment variables without effect: ETCDCTL_CA_CERT (did you mean ETCDCTL_CACERT?), \
             ETCDCTL_DISCOVERY_SRV, ETCDCTL_FOO_BAR_BAZ"
        );
        let offline = env.warning(Command::Verify).unwrap();
        assert!(!offline.contains("DISCOVERY"), "{offline}");
    }

    #[test]
    fn debug_hides_passwords() {
        let env = environment(&[
            ("ETCDCTL_USER", "root:secret"),
            ("ETCDCTL_PASSWORD", "secret"),
            ("ETCDCTL_CERT", "c"),
        ]);
        let lines = env.in_effect(Command::Save);
        assert_eq!(
            lines,
            [
                "ETCDCTL_CERT=c",
                "ETCDCTL_USER=root",
                "ETCDCTL_PASSWORD=(hidden)"
            ]
        );
        assert!(env.in_effect(Command::Verify).is_empty());
    }
}
