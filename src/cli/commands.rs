//! The commands: their names, what they take, what `help` says of them.

/// What the program can be asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// `save OUT`
    Save,
    /// `verify INPUT...`
    Verify,
    /// `status INPUT`
    Status,
    /// `restore INPUT --data-dir DIR`
    Restore,
    /// `pack INPUT OUT`
    Pack,
    /// `unpack INPUT OUT`
    Unpack,
    /// `backup DIR`
    Backup,
    /// `list DIR`
    List,
    /// `prune DIR`
    Prune,
    /// `check DIR`
    Check,
    /// `pin FILE`
    Pin,
    /// `unpin FILE`
    Unpin,
    /// `help [COMMAND]`
    Help,
    /// `version`
    Version,
}

/// One command as `help` shows it.
pub struct Doc {
    /// The command.
    pub command: Command,
    /// Its name.
    pub name: &'static str,
    /// Operands and flags that must be there, as the usage line has them.
    pub operands: &'static str,
    /// One line.
    pub short: &'static str,
    /// Paragraphs.
    pub long: &'static [&'static str],
    /// What to do, and the command that does it. Every one of them parses (there is a test).
    pub examples: &'static [(&'static str, &'static str)],
}

/// All commands, in the order in which a person needs them.
pub static COMMANDS: &[Doc] = &[
    Doc {
        command: Command::Save,
        name: "save",
        operands: "OUT",
        short: "take a snapshot from a live member and prove it",
        long: &[
            "Asks one healthy, up-to-date member for a snapshot and writes it to OUT. The SHA-256, the bbolt structure and the meaning of the \
             data are checked before the file gets its name; until then nothing is there under that name. An existing OUT is refused unless \
             --force is given. OUT is readable by its owner only.",
            "With several endpoints all are asked at once; members that are down, lag, are learners or have a CORRUPT alarm are left out, and a \
             follower is preferred. If the stream breaks, the next one is asked, from the beginning.",
            "An OUT that ends in .zst becomes an archive: packed while it comes in, never plain on the disk, with a manifest that says what is \
             inside. OUT - sends the plain snapshot to standard output; everything else then goes to standard error, and exit code 0 is the proof \
             that the stream was whole.",
        ],
        examples: &[
            (
                "On a kubeadm control-plane node:",
                "etcd-rescue save --cacert /etc/kubernetes/pki/etcd/ca.crt --cert /etc/kubernetes/pki/etcd/server.crt --key /etc/kubernetes/pki/etcd/server.key /opt/snapshot-pre-boot.db",
            ),
            (
                "From whichever of three members serves best:",
                "etcd-rescue save --endpoints https://10.0.0.1:2379,https://10.0.0.2:2379,https://10.0.0.3:2379 --cacert ca.crt --cert client.crt --key client.key /backup/etcd.db",
            ),
            (
                "Packed; every command reads it as it is:",
                "etcd-rescue save --cacert ca.crt --cert client.crt --key client.key /backup/etcd.db.zst",
            ),
            (
                "With a user; the snapshot call needs the root role:",
                "etcd-rescue save --user root --password-file /etc/etcd/root.password /backup/etcd.db",
            ),
            (
                "The line that runbooks have works as it stands:",
                "ETCDCTL_API=3 etcd-rescue snapshot save --cacert ca.crt --cert client.crt --key client.key /opt/snapshot-pre-boot.db",
            ),
        ],
    },
    Doc {
        command: Command::Verify,
        name: "verify",
        operands: "INPUT...",
        short: "tell whether a snapshot is good",
        long: &[
            "Reads every byte and gives three verdicts. Transport: the SHA-256 at the end of a snapshot is there and right. Structure: it is a \
             sound bbolt file, every page in its place. Meaning: what it holds is an etcd store that makes sense.",
            "Their sum is GOOD (exit code 0), DAMAGED (3), or UNPROVEN (3): structure and meaning are good, but there is no SHA-256 to show that \
             nothing changed on the way, as in a raw copy of member/snap/db; --raw accepts that. With several inputs there is a line for each, and \
             the exit code is the worst of them: 3, then 1, then 4, then 0.",
            "Of an archive the container comes first: every frame, and what the manifest says against what is inside. A frame that is lost is \
             named with its place, the pages it costs, and how many live keys cannot be reached any more. A broken manifest or seek table is a \
             warning, as everything can be read without them, and so are bytes or frames that are not of the archive, with what zstd -t says of \
             them; the container is flawed then, and not good.",
        ],
        examples: &[
            ("One file:", "etcd-rescue verify /backup/etcd.db"),
            (
                "The newest backup of a directory:",
                "etcd-rescue verify /var/backups/etcd --latest",
            ),
            (
                "Everything that was found, for a program:",
                "etcd-rescue verify -w json /backup/etcd.db /backup/etcd-old.db",
            ),
            (
                "The data dir of a member that is stopped:",
                "etcd-rescue verify --raw /var/lib/etcd",
            ),
        ],
    },
    Doc {
        command: Command::Status,
        name: "status",
        operands: "INPUT",
        short: "print what etcdutl prints, and more",
        long: &[
            "Prints HASH, REVISION, TOTAL KEYS, TOTAL SIZE and VERSION as etcdutl 3.6 and later print them: the same bytes with -w simple and \
             -w fields, the same keys and more with -w json, the same table and a second block with -w table.",
            "The structure is checked, as etcdutl does, and what the data means; the SHA-256 is not: that is what verify is for. Of an archive \
             what its manifest says is printed, and none of its data is read; --full looks inside.",
        ],
        examples: &[
            (
                "For a person:",
                "etcd-rescue status -w table /backup/etcd.db",
            ),
            (
                "For a script that was written for etcdutl:",
                "etcd-rescue snapshot status -w json /backup/etcd.db",
            ),
        ],
    },
    Doc {
        command: Command::Restore,
        name: "restore",
        operands: "INPUT --data-dir DIR",
        short: "make a data dir that etcd boots from",
        long: &[
            "Proves INPUT as verify does, builds DIR/member complete under another name, reads it back, and only then gives it its name. Anything \
             short of that leaves DIR as it was. etcd 3.4, 3.5, 3.6, 3.7 and 3.8 start on the result, whichever of them made the snapshot.",
            "An archive is unpacked on the way, without a temporary file.",
            "Every member of the new cluster must be restored from the same file, on its own machine, with its own --name and the same \
             --initial-cluster. The exact command for each is printed at the end.",
            "A Kubernetes snapshot (keys under /registry/) gets its revision moved by 1000000000, so that controllers notice that the past was \
             replaced; --no-bump turns that off. Alarms in the snapshot are dropped, and said so.",
        ],
        examples: &[
            (
                "See what would be done:",
                "etcd-rescue restore /backup/etcd.db --data-dir /var/lib/etcd --dry-run",
            ),
            (
                "A cluster of one; what was there is moved aside:",
                "etcd-rescue restore /backup/etcd.db --data-dir /var/lib/etcd --move-aside",
            ),
            (
                "From the newest verified backup of a directory:",
                "etcd-rescue restore /var/backups/etcd --latest --data-dir /var/lib/etcd --move-aside",
            ),
            (
                "The first of three members:",
                "etcd-rescue restore /backup/etcd.db --data-dir /var/lib/etcd --name m1 --initial-cluster m1=https://10.0.0.1:2380,m2=https://10.0.0.2:2380,m3=https://10.0.0.3:2380 --initial-advertise-peer-urls https://10.0.0.1:2380",
            ),
            (
                "The line that runbooks have works as it stands:",
                "ETCDCTL_API=3 etcd-rescue snapshot restore --data-dir /var/lib/etcd-from-backup /opt/snapshot-pre-boot.db",
            ),
        ],
    },
    Doc {
        command: Command::Pack,
        name: "pack",
        operands: "INPUT OUT",
        short: "put a snapshot into an archive",
        long: &[
            "Proves INPUT as verify does and compresses it on the way; the archive is read back before it gets its name. An archive is an \
             ordinary zstd file: zstd -d gives back the snapshot, byte for byte. Its frames are independent, each with its checksum, so that \
             damage costs what it touches; a manifest says what is inside and where it came from. An INPUT that is not good is not packed.",
            "Every command takes an archive wherever it takes a snapshot, and files of zstd and gzip too; an archive that is packed again keeps \
             its time and origin. OUT - is standard output.",
        ],
        examples: &[
            (
                "One file:",
                "etcd-rescue pack /backup/etcd.db /backup/etcd.db.zst",
            ),
            (
                "In a pipe:",
                "etcd-rescue pack - - < /backup/etcd.db > /backup/etcd.db.zst",
            ),
        ],
    },
    Doc {
        command: Command::Unpack,
        name: "unpack",
        operands: "INPUT OUT",
        short: "take the snapshot out of an archive",
        long: &[
            "Gives back what was packed, byte for byte, and proves it on the way: every frame, the manifest, then what verify checks. Files \
             that zstd or gzip made are unpacked too. OUT - is standard output. Nothing is written of an INPUT that is not good; zstd -d gives \
             back what can be read of it.",
        ],
        examples: &[(
            "For a tool that reads no archives:",
            "etcd-rescue unpack /backup/etcd.db.zst /tmp/etcd.db",
        )],
    },
    Doc {
        command: Command::Backup,
        name: "backup",
        operands: "DIR",
        short: "the verb for cron: save, verify, prune, report",
        long: &[
            "Takes a snapshot as save does, packs it while it comes in, reads the archive back from the disk and verifies all of it; only then \
             does it get its name, NAME-TIME-revREVISION.db.zst, and count as a backup. Then the keep rules are applied. A run that fails leaves \
             DIR as it was. On success it says nothing unless it speaks to a terminal.",
            "A new backup that is odd beside the one before it (the revision went back, the cluster id changed, more than half of the keys are \
             gone) is kept, but said so with exit code 3, and nothing is pruned; unpin FILE accepts it.",
            "One run at a time works on DIR; a second one ends with exit code 4 and says who holds it.",
        ],
        examples: &[
            (
                "On a kubeadm control-plane node, every hour by cron:",
                "etcd-rescue backup /var/backups/etcd --cacert /etc/kubernetes/pki/etcd/ca.crt --cert /etc/kubernetes/pki/etcd/server.crt --key /etc/kubernetes/pki/etcd/server.key --keep-hourly 24 --keep-daily 7 --keep-weekly 5",
            ),
            (
                "With a report, and metrics for node_exporter:",
                "etcd-rescue backup /var/backups/etcd --keep-last 24 --report /var/lib/etcd-rescue/report.json --metrics /var/lib/prometheus/node-exporter/etcd-rescue.prom",
            ),
        ],
    },
    Doc {
        command: Command::List,
        name: "list",
        operands: "DIR",
        short: "show the backups in a directory",
        long: &[
            "Time, age, size, ratio, revision, keys, etcd's version, when and how it was verified, and tags. All of it comes from the archives \
             themselves and from the catalogue beside them, not from names. Files that look like backups and are none are named, and never \
             counted.",
        ],
        examples: &[("What is there:", "etcd-rescue list /var/backups/etcd")],
    },
    Doc {
        command: Command::Prune,
        name: "prune",
        operands: "DIR",
        short: "remove backups that no rule keeps",
        long: &[
            "The rules are restic's, by name and meaning. Never removed: the newest verified backup, pinned and suspicious ones, what was not \
             made by backup, what is not verified or damaged, and anything at all when no rule is given.",
        ],
        examples: &[(
            "What would go, and why the rest stays:",
            "etcd-rescue prune /var/backups/etcd --keep-hourly 24 --keep-daily 7 --dry-run",
        )],
    },
    Doc {
        command: Command::Check,
        name: "check",
        operands: "DIR",
        short: "is there a verified backup that is young?",
        long: &[
            "Exit code 0 if the newest verified backup is younger than --max-age, 6 if not. --full and --sample verify archives from the disk \
             first and record what they find, as list shows; a damaged archive is exit code 3 if the answer is yes otherwise.",
        ],
        examples: &[
            (
                "For a monitoring system:",
                "etcd-rescue check /var/backups/etcd --max-age 26h --nagios",
            ),
            (
                "By cron every night, each archive in turn:",
                "etcd-rescue check /var/backups/etcd --sample 3",
            ),
        ],
    },
    Doc {
        command: Command::Pin,
        name: "pin",
        operands: "FILE",
        short: "keep a backup whatever the rules say",
        long: &["Recorded in the catalogue of its directory; renaming the file changes nothing."],
        examples: &[(
            "Before an upgrade:",
            "etcd-rescue pin /var/backups/etcd/etcd-20261123T050000Z-rev1275.db.zst",
        )],
    },
    Doc {
        command: Command::Unpin,
        name: "unpin",
        operands: "FILE",
        short: "let the rules decide about a backup again",
        long: &["It also accepts a backup that was kept because it is suspicious."],
        examples: &[(
            "After the upgrade:",
            "etcd-rescue unpin /var/backups/etcd/etcd-20261123T050000Z-rev1275.db.zst",
        )],
    },
    Doc {
        command: Command::Help,
        name: "help",
        operands: "[COMMAND]",
        short: "explain a command and all its flags",
        long: &["The same as COMMAND --help."],
        examples: &[("All about restore:", "etcd-rescue help restore")],
    },
    Doc {
        command: Command::Version,
        name: "version",
        operands: "",
        short: "print the version",
        long: &["The same as --version."],
        examples: &[],
    },
];

/// The word in front of the names that runbooks use: `snapshot save`, `snapshot status`, `snapshot restore`.
pub const RUNBOOK: &str = "snapshot";

/// What may follow [`RUNBOOK`].
pub const RUNBOOK_COMMANDS: &[Command] = &[Command::Save, Command::Status, Command::Restore];

/// Commands that the design has and this version does not; naming one of them is not a typing mistake.
pub const PLANNED: &[&str] = &[
    "get", "ls", "history", "diff", "top", "export", "hashkv", "buckets", "salvage", "inspect",
    "locate", "plan", "etcdctl", "etcdutl",
];

impl Command {
    /// The command with that name.
    pub fn named(name: &str) -> Option<Command> {
        COMMANDS
            .iter()
            .find(|doc| doc.name == name)
            .map(|doc| doc.command)
    }

    /// What `help` says of it.
    pub fn doc(self) -> &'static Doc {
        COMMANDS
            .iter()
            .find(|doc| doc.command == self)
            .expect("every command is in the table")
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        self.doc().name
    }

    /// `etcd-rescue save [FLAGS] OUT`
    pub fn usage(self) -> String {
        let doc = self.doc();
        let flags = match self {
            Command::Help | Command::Version => "",
            _ => " [FLAGS]",
        };
        let usage = format!("etcd-rescue {}{flags} {}", doc.name, doc.operands);
        usage.trim_end().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_there_once_and_every_command_is_explained() {
        let mut names: Vec<_> = COMMANDS.iter().map(|doc| doc.name).collect();
        names.extend(PLANNED);
        names.push(RUNBOOK);
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "a name is there twice");
        for doc in COMMANDS {
            assert_eq!(Command::named(doc.name), Some(doc.command));
            assert!(!doc.long.is_empty() && !doc.short.ends_with('.'));
            assert!(
                doc.short.len() <= 48,
                "{}: one line, please: {}",
                doc.name,
                doc.short
            );
        }
    }
}
