//! Flags about archives.

use super::super::commands::Command;
use super::super::raw::value;
use super::{Flag, PLAIN};

const PACKERS: &[Command] = &[Command::Save, Command::Pack, Command::Backup];

pub const FLAGS: &[Flag] = &[
    Flag {
        long: "level",
        value: Some("N"),
        default: "1",
        commands: PACKERS,
        rare: true,
        short_doc: "zstd's level, 1 to 19",
        long_doc: "1 is the best choice for nearly every snapshot; a higher level takes several times as long, and more memory for each thread, for \
                   a few percent.",
        update: |raw, value| {
            raw.level = match value::number(value)? {
                level @ 1..=19 => level as i32,
                level => return Err(format!("{level} is not a level from 1 to 19")),
            };
            Ok(())
        },
        ..PLAIN
    },
    Flag {
        long: "threads",
        short: Some('T'),
        value: Some("N"),
        commands: PACKERS,
        rare: true,
        short_doc: "threads that compress",
        long_doc: "Default: what suits the machine; save takes half of it, because the server may be on it too. Beside 30 MiB for everything else, each \
                   needs 2 MiB at level 1, 5 at level 6 and 11 at level 19.",
        update: |raw, value| {
            raw.threads = match value::number(value)? {
                threads @ 1..=64 => Some(threads as usize),
                threads => return Err(format!("{threads} is not a number from 1 to 64")),
            };
            Ok(())
        },
        ..PLAIN
    },
    Flag {
        long: "full",
        commands: &[Command::Status, Command::Check],
        short_doc: "read all of the data",
        long_doc: "status then looks inside an archive, instead of printing what its manifest says; check verifies every archive from the disk, \
                   which shows whether it rots.",
        update: |raw, value| {
            raw.full = value::boolean(value)?;
            Ok(())
        },
        ..PLAIN
    },
];
