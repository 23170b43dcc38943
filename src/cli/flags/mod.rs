//! The flag table: parser, `-h`, `--help` and the rules about the environment all come from it.
//!
//! One [`Flag`] is everything there is to know about a flag; the table is the sections below in the
//! order in which help shows them. Names, defaults and meaning are etcdctl's and etcdutl's wherever
//! they have the flag (`compat.md` 2.2 and 2.9).

mod archive;
mod backup;
mod connect;
mod output;
mod restore;

use std::ffi::OsStr;

use super::commands::Command;
use super::raw::Raw;

/// Everything about one flag.
pub struct Flag {
    /// Name, without the dashes.
    pub long: &'static str,
    /// One-letter name.
    pub short: Option<char>,
    /// What its value is called; `None` for a switch, which takes `=true` and `=false` as Go's do.
    pub value: Option<&'static str>,
    /// Whether `ETCDCTL_` and its name in capitals is a variable that sets it.
    pub env: bool,
    /// Its value when nobody gives one; empty: it has none, or the help says what happens.
    pub default: &'static str,
    /// The commands that take it.
    pub commands: &'static [Command],
    /// Hardly anybody needs it: `-h` leaves it out.
    pub rare: bool,
    /// One line.
    pub short_doc: &'static str,
    /// The rest, in whole sentences; may be empty.
    pub long_doc: &'static str,
    /// Writes its value down.
    pub update: fn(&mut Raw, &OsStr) -> Result<(), String>,
}

/// What most flags are; a flag in the table says where it differs.
const PLAIN: Flag = Flag {
    long: "",
    short: None,
    value: None,
    env: false,
    default: "",
    commands: &[],
    rare: false,
    short_doc: "",
    long_doc: "",
    update: |_, _| Ok(()),
};

/// A part of the table under its own heading in help.
pub struct Section {
    /// The heading.
    pub title: &'static str,
    /// Its flags.
    pub flags: &'static [Flag],
}

/// Heading of the flags that connect.
pub const REACHING: &str = "Reaching etcd";

/// Heading of the flags of `restore`.
pub const RESTORING: &str = "Restoring";

/// The table.
pub static SECTIONS: &[Section] = &[
    Section {
        title: REACHING,
        flags: connect::FLAGS,
    },
    Section {
        title: RESTORING,
        flags: restore::FLAGS,
    },
    Section {
        title: "Directories of backups",
        flags: backup::FLAGS,
    },
    Section {
        title: "Archives",
        flags: archive::FLAGS,
    },
    Section {
        title: "Input and output",
        flags: output::FLAGS,
    },
];

/// The flags of all sections.
pub fn all() -> impl Iterator<Item = &'static Flag> {
    SECTIONS.iter().flat_map(|section| section.flags)
}

/// The flag with that long name.
pub fn long(name: &str) -> Option<&'static Flag> {
    all().find(|flag| flag.long == name)
}

/// The flag with that one-letter name.
pub fn short(name: char) -> Option<&'static Flag> {
    all().find(|flag| flag.short == Some(name))
}

/// Flags of etcdctl and etcdutl that mean something and are not here yet: ignoring one of them would change what is done.
pub const ELSEWHERE: &[(&str, &str)] = &[
    (
        "auth-jwt-token",
        "log in with --user NAME --password-file FILE, or with a client certificate whose CN is the user",
    ),
    ("cluster", NAME_THEM),
    ("discovery-srv", LOOK_UP),
    ("discovery-srv-name", LOOK_UP),
    ("insecure-discovery", LOOK_UP),
    ("max-recv-bytes", NO_LIMIT),
    ("max-request-bytes", NO_LIMIT),
];
const NAME_THEM: &str = "name the members: --endpoints https://10.0.0.1:2379,https://10.0.0.2:2379";
const LOOK_UP: &str = "look the members up (dig SRV _etcd-client-ssl._tcp.DOMAIN), and name them: --endpoints https://HOST:2379,…";
const NO_LIMIT: &str = "leave it out: a snapshot comes in small pieces, and has no limit";

/// What to do instead, if this is one of [`ELSEWHERE`].
pub fn instead(long: &str) -> Option<&'static str> {
    let found = ELSEWHERE.iter().find(|(name, _)| *name == long);
    found.map(|(_, instead)| *instead)
}

impl Flag {
    /// The variable that sets it.
    pub fn variable(&self) -> Option<String> {
        let name = || format!("ETCDCTL_{}", self.long.to_uppercase().replace('-', "_"));
        self.env.then(name)
    }

    /// As it is typed: `--endpoints LIST`, `-w, --write-out FORMAT`, `--force`.
    pub fn synopsis(&self) -> String {
        let mut text = String::new();
        if let Some(short) = self.short {
            text += &format!("-{short}, ");
        }
        text += &format!("--{}", self.long);
        if let Some(value) = self.value {
            text += &format!(" {value}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_there_once() {
        let mut seen = BTreeSet::from(["help".to_string(), "version".to_string()]);
        let mut seen_short = BTreeSet::from(['h', 'V']);
        for flag in all() {
            assert!(seen.insert(flag.long.into()), "--{} twice", flag.long);
            if let Some(short) = flag.short {
                assert!(seen_short.insert(short), "-{short} twice");
            }
            let lower = |c: char| c.is_ascii_lowercase() || c == '-';
            assert!(flag.long.chars().all(lower), "--{}", flag.long);
            assert!(instead(flag.long).is_none(), "--{}", flag.long);
        }
    }

    #[test]
    fn every_flag_is_explained() {
        for flag in all() {
            let doc = flag.short_doc;
            assert!(!doc.is_empty(), "--{}: no one-line doc", flag.long);
            assert!(
                doc.len() <= 60 && !doc.ends_with('.') && !doc.contains('\n'),
                "--{}: one line without a full stop, please: {doc}",
                flag.long
            );
            let long = flag.long_doc;
            assert!(
                (long.is_empty() || long.ends_with('.')) && !long.contains("  "),
                "--{}: whole sentences, please: {long}",
                flag.long
            );
            assert!(!flag.commands.is_empty(), "--{}: no command", flag.long);
        }
    }

    #[test]
    fn values_have_names_in_capitals_and_switches_have_no_default() {
        for flag in all() {
            match flag.value {
                Some(name) => assert!(
                    !name.is_empty() && !name.contains(|c: char| c.is_ascii_lowercase()),
                    "--{}: {name}",
                    flag.long
                ),
                // --insecure-transport is true by default, as etcdctl's.
                None => assert!(matches!(flag.default, "" | "true"), "--{}", flag.long),
            }
        }
    }

    #[test]
    fn defaults_are_values_that_the_flag_takes() {
        for flag in all().filter(|flag| !flag.default.is_empty()) {
            let result = (flag.update)(&mut Raw::default(), OsStr::new(flag.default));
            assert_eq!(result, Ok(()), "--{}", flag.long);
        }
    }

    #[test]
    fn flags_of_etcd_are_in_the_order_of_etcd() {
        let here: Vec<_> = all().map(|flag| flag.long).collect();
        let places = ETCD
            .iter()
            .map(|(long, ..)| here.iter().position(|name| name == long));
        assert!(places.is_sorted(), "{here:?}");
    }

    /// Flags that etcdctl or etcdutl have: name, default, whether a variable sets it (`compat.md` 2.2, 2.9).
    const ETCD: &[(&str, &str, bool)] = &[
        ("endpoints", "127.0.0.1:2379", true),
        ("cacert", "", true),
        ("cert", "", true),
        ("key", "", true),
        ("user", "", true),
        ("password", "", true),
        ("insecure-transport", "true", true),
        ("insecure-skip-tls-verify", "", true),
        // etcdctl's 2s bound less than connecting (`compat.md` 2.2).
        ("dial-timeout", "5s", true),
        ("command-timeout", "5s", true),
        ("keepalive-time", "2s", true),
        ("keepalive-timeout", "6s", true),
        ("data-dir", "", false),
        ("wal-dir", "", false),
        ("name", "default", false),
        // Default made from --name and --initial-advertise-peer-urls, so that giving one is enough.
        ("initial-cluster", "", false),
        // Default derived from the snapshot (`product.md` section 6).
        ("initial-cluster-token", "", false),
        ("initial-advertise-peer-urls", "", false),
        ("skip-hash-check", "", false),
        ("initial-memory-map-size", "", false),
        ("bump-revision", "", false),
        ("mark-compacted", "", false),
        // etcdctl's default is simple; ours is a table on a terminal and simple elsewhere.
        ("write-out", "", true),
        ("hex", "", true),
        ("debug", "", true),
    ];

    #[test]
    fn what_etcd_has_is_here_under_the_same_name() {
        for (name, default, env) in ETCD {
            let flag = long(name).unwrap_or_else(|| panic!("no --{name}"));
            assert_eq!(flag.default, *default, "--{name}");
            assert_eq!(flag.env, *env, "--{name}");
        }
        assert_eq!(short('w').map(|flag| flag.long), Some("write-out"));
        let variable = long("insecure-skip-tls-verify").and_then(Flag::variable);
        assert_eq!(
            variable.as_deref(),
            Some("ETCDCTL_INSECURE_SKIP_TLS_VERIFY")
        );
        // The only variable that etcdctl does not have.
        let own: Vec<_> = all()
            .filter(|flag| flag.env && !ETCD.iter().any(|(long, ..)| *long == flag.long))
            .map(|flag| flag.long)
            .collect();
        assert_eq!(own, ["password-file"]);
    }
}
