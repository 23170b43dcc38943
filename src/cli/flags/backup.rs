//! Flags about directories of backups.

use super::super::commands::Command;
use super::super::raw::value;
use super::{Flag, PLAIN};

const BACKUP: &[Command] = &[Command::Backup];
const PRUNERS: &[Command] = &[Command::Backup, Command::Prune];
const CHECK: &[Command] = &[Command::Check];
const LOCKERS: &[Command] = &[
    Command::Backup,
    Command::Prune,
    Command::Check,
    Command::Pin,
    Command::Unpin,
];

/// A rule of restic's: `--keep-daily N`.
macro_rules! keep {
    ($long:literal, $field:ident, $short_doc:literal) => {
        Flag {
            long: $long,
            value: Some("N"),
            commands: PRUNERS,
            short_doc: $short_doc,
            long_doc: "A number, or unlimited.",
            update: |raw, value| {
                raw.policy.$field = value::parsed(value)?;
                Ok(())
            },
            ..PLAIN
        }
    };
}

pub const FLAGS: &[Flag] = &[
    keep!("keep-last", last, "keep the newest N"),
    keep!("keep-hourly", hourly, "keep the newest of the last N hours"),
    keep!("keep-daily", daily, "keep the newest of the last N days"),
    keep!("keep-weekly", weekly, "keep the newest of the last N weeks"),
    keep!(
        "keep-monthly",
        monthly,
        "keep the newest of the last N months"
    ),
    keep!("keep-yearly", yearly, "keep the newest of the last N years"),
    Flag {
        long: "keep-within",
        value: Some("SPAN"),
        commands: PRUNERS,
        short_doc: "keep all of the last SPAN, like 7d or 1y5m7d2h",
        long_doc: "Counted back from the newest backup. Hours, days, weeks, months and years of the rules above are those of the calendar in UTC \
                   that have a backup. A backup stays when one rule keeps it; without any rule all stay.",
        update: |raw, value| {
            raw.policy.within = value::parsed(value)?;
            Ok(())
        },
        ..PLAIN
    },
    Flag {
        long: "max-size",
        value: Some("BYTES"),
        commands: PRUNERS,
        short_doc: "remove the oldest until the rest fits, like 20G",
        long_doc: "After the rules above. K, M, G and T are powers of 1024. What counts is what backup made and somebody proved; the newest verified one stays however large it is.",
        update: |raw, value| {
            raw.policy.max_size = Some(value::bytes(value)?);
            Ok(())
        },
        ..PLAIN
    },
    Flag {
        long: "report",
        value: Some("FILE"),
        commands: BACKUP,
        short_doc: "write what happened here, as JSON",
        long_doc: "On success and on failure, in one step; --help report explains its keys. One that cannot be written makes the run end with 1; \
                   the backup is made all the same. A file that is neither empty nor an older report is never replaced.",
        update: |raw, value| {
            raw.report = Some(value::file(value)?);
            Ok(())
        },
        ..PLAIN
    },
    Flag {
        long: "metrics",
        value: Some("FILE"),
        commands: BACKUP,
        short_doc: "write metrics for node_exporter's textfile collector",
        long_doc: "On success and on failure, in one step. The collector reads files whose names end in .prom. A file that is \
                   neither empty nor metrics of this program is never replaced.",
        update: |raw, value| {
            raw.metrics = Some(value::file(value)?);
            Ok(())
        },
        ..PLAIN
    },
    Flag {
        long: "timeout",
        value: Some("DURATION"),
        commands: BACKUP,
        short_doc: "limit for the whole run",
        long_doc: "A run that takes longer ends and leaves the directory as it was. Once the new backup has its name it counts, whatever becomes of \
                   the rest; the next run prunes what this one did not.",
        update: |raw, value| {
            raw.timeout = Some(value::duration(value)?);
            Ok(())
        },
        ..PLAIN
    },
    Flag {
        long: "lock-wait",
        value: Some("DURATION"),
        commands: LOCKERS,
        rare: true,
        short_doc: "wait for another run on the directory to end",
        long_doc: "Without it, a second run ends at once, and says who holds the directory and since when.",
        update: |raw, value| {
            raw.lock_wait = value::duration(value)?;
            Ok(())
        },
        ..PLAIN
    },
    Flag {
        long: "max-age",
        value: Some("DURATION"),
        default: "26h",
        commands: CHECK,
        short_doc: "how old the newest verified backup may be",
        long_doc: "Like 26h, 90m or 2d.",
        update: |raw, value| {
            raw.max_age = value::duration(value)?;
            Ok(())
        },
        ..PLAIN
    },
    Flag {
        long: "sample",
        value: Some("N"),
        commands: CHECK,
        short_doc: "verify N from the disk, checked longest ago first",
        long_doc: "Run every day, it comes to each of them in turn.",
        update: |raw, value| {
            raw.sample = match value::number(value)? {
                0 => return Err("0 archives prove nothing; leave it out, or say 1".into()),
                number => Some(number),
            };
            Ok(())
        },
        ..PLAIN
    },
    Flag {
        long: "nagios",
        commands: CHECK,
        short_doc: "speak as a plug-in of Nagios and Icinga",
        long_doc: "One line with performance data; exit code 0 is OK, 1 a warning (an archive is damaged or suspicious), 2 critical (no verified \
                   backup that is young enough), 3 unknown.",
        update: |raw, value| {
            raw.nagios = value::boolean(value)?;
            Ok(())
        },
        ..PLAIN
    },
];
