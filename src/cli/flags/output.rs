//! Flags about what is read, and how results and progress are told.

use super::super::commands::Command;
use super::super::raw::{Format, ProgressMode, value};
use super::{Flag, PLAIN};

const ALL: &[Command] = &[
    Command::Save,
    Command::Verify,
    Command::Status,
    Command::Restore,
    Command::Pack,
    Command::Unpack,
    Command::Backup,
    Command::List,
    Command::Prune,
    Command::Check,
    Command::Pin,
    Command::Unpin,
];
const READERS: &[Command] = &[
    Command::Verify,
    Command::Status,
    Command::Restore,
    Command::Pack,
    Command::Unpack,
];

pub const FLAGS: &[Flag] = &[
    Flag {
        long: "write-out",
        short: Some('w'),
        value: Some("FORMAT"),
        env: true,
        commands: ALL,
        short_doc: "simple, table, json or fields",
        long_doc: "simple: lines for scripts, as etcdctl and etcdutl print them. table: laid out for a person. json: one document with everything. \
                   fields: a line for each value. Default: table on a terminal, simple elsewhere.",
        update: |raw, value| {
            let choices = [
                ("simple", Format::Simple),
                ("table", Format::Table),
                ("json", Format::Json),
                ("fields", Format::Fields),
            ];
            raw.write_out = Some(value::choice(value, &choices)?);
            Ok(())
        },
        ..PLAIN
    },
    Flag {
        long: "hex",
        env: true,
        commands: ALL,
        rare: true,
        short_doc: "accepted for etcdctl's sake, no effect",
        long_doc: "No keys or values are printed here.",
        update: |_, value| value::boolean(value).map(drop),
        ..PLAIN
    },
    Flag {
        long: "debug",
        env: true,
        commands: ALL,
        rare: true,
        short_doc: "tell more on standard error",
        long_doc: "It says which variables are in effect, and what was understood.",
        update: |raw, value| {
            raw.debug = value::boolean(value)?;
            Ok(())
        },
        ..PLAIN
    },
    Flag {
        long: "force",
        commands: &[Command::Save, Command::Pack, Command::Unpack],
        short_doc: "replace OUT if it exists, in one step",
        long_doc: "The old file stays until the new one is whole and proved.",
        update: |raw, value| {
            raw.force = value::boolean(value)?;
            Ok(())
        },
        ..PLAIN
    },
    Flag {
        long: "raw",
        commands: READERS,
        short_doc: "accept a file without SHA-256, or a db that etcd holds",
        long_doc: "A raw copy of member/snap/db has no SHA-256 at its end, so nothing shows that it arrived whole. Structure and meaning are \
                   checked all the same. A SHA-256 that is there and wrong is never accepted.",
        update: |raw, value| {
            raw.raw = value::boolean(value)?;
            Ok(())
        },
        ..PLAIN
    },
    Flag {
        long: "latest",
        commands: READERS,
        short_doc: "INPUT is a directory: take its newest verified backup",
        long_doc: "",
        update: |raw, value| {
            raw.latest = value::boolean(value)?;
            Ok(())
        },
        ..PLAIN
    },
    Flag {
        long: "log-format",
        value: Some("FORMAT"),
        default: "text",
        commands: ALL,
        rare: true,
        short_doc: "text or json, for what goes to standard error",
        long_doc: "json: each error, warning and note is an object on a line, with time, level and message, for journald and container logs.",
        update: |raw, value| {
            raw.log_json = value::choice(value, &[("text", false), ("json", true)])?;
            Ok(())
        },
        ..PLAIN
    },
    Flag {
        long: "progress",
        value: Some("HOW"),
        default: "auto",
        commands: ALL,
        rare: true,
        short_doc: "auto, json or none",
        long_doc: "auto: one line on a terminal, nothing elsewhere. json: lines on standard error, each an object with stage, bytes, total, elapsed \
                   (seconds) and rate (bytes per second), for a program that shows them; other lines there do not begin with a brace.",
        update: |raw, value| {
            let choices = [
                ("auto", ProgressMode::Auto),
                ("json", ProgressMode::Json),
                ("none", ProgressMode::None),
            ];
            raw.progress = value::choice(value, &choices)?;
            Ok(())
        },
        ..PLAIN
    },
];
