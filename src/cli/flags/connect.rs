//! Flags about reaching a cluster: etcdctl's global flags.

use super::super::commands::Command;
use super::super::raw::value;
use super::{Flag, PLAIN};

const SAVERS: &[Command] = &[Command::Save, Command::Backup];

pub const FLAGS: &[Flag] = &[
    Flag {
        long: "endpoints",
        value: Some("LIST"),
        env: true,
        default: "127.0.0.1:2379",
        commands: SAVERS,
        short_doc: "where etcd listens for clients",
        long_doc: "Separated by commas; the flag may be repeated. Forms: HOST:PORT, http://HOST:PORT, https://HOST:PORT, unix:PATH, unixs:PATH. \
                   The form decides, for each, whether TLS is spoken: https and unixs always, http never, the others when a \
                   certificate or a CA is given or the first endpoint speaks it. A password is never sent in plaintext to one endpoint when TLS \
                   is spoken to another.",
        update: |raw, value| {
            raw.endpoints.extend(value::list(value)?);
            Ok(())
        },
        ..PLAIN
    },
    Flag {
        long: "cacert",
        value: Some("FILE"),
        env: true,
        commands: SAVERS,
        short_doc: "trust servers that this CA vouches for",
        long_doc: "PEM. Without it, the public CAs built into this program are trusted.",
        update: |raw, value| {
            raw.cacert = Some(value::path(value)?);
            Ok(())
        },
        ..PLAIN
    },
    Flag {
        long: "cert",
        value: Some("FILE"),
        env: true,
        commands: SAVERS,
        short_doc: "show the server this certificate",
        long_doc: "PEM, with intermediate certificates after it if there are any. Needs --key.",
        update: |raw, value| {
            raw.cert = Some(value::path(value)?);
            Ok(())
        },
        ..PLAIN
    },
    Flag {
        long: "key",
        value: Some("FILE"),
        env: true,
        commands: SAVERS,
        short_doc: "the private key of --cert",
        long_doc: "PEM.",
        update: |raw, value| {
            raw.key = Some(value::path(value)?);
            Ok(())
        },
        ..PLAIN
    },
    Flag {
        long: "user",
        value: Some("NAME[:PASSWORD]"),
        env: true,
        commands: SAVERS,
        short_doc: "log in; a snapshot needs the root role",
        long_doc: "Split at the first colon unless --password or --password-file is given. Without a password it is asked for on the terminal.",
        update: |raw, value| {
            raw.user = Some(value::word(value)?);
            Ok(())
        },
        ..PLAIN
    },
    Flag {
        long: "password",
        value: Some("PASSWORD"),
        env: true,
        commands: SAVERS,
        short_doc: "password of --user",
        long_doc: "--user is then taken whole. Whoever can list processes can read this; --password-file cannot be read that way.",
        update: |raw, value| {
            raw.password = Some(value::text(value)?);
            Ok(())
        },
        ..PLAIN
    },
    Flag {
        long: "password-file",
        value: Some("FILE"),
        env: true,
        commands: SAVERS,
        short_doc: "read the password of --user from here",
        long_doc: "One line; --user is then taken whole.",
        update: |raw, value| {
            raw.password_file = Some(value::path(value)?);
            Ok(())
        },
        ..PLAIN
    },
    Flag {
        long: "insecure-transport",
        env: true,
        default: "true",
        commands: SAVERS,
        short_doc: "do not insist on TLS",
        long_doc: "--insecure-transport=false speaks TLS even where nothing else asks for it. True switches nothing off.",
        update: |raw, value| {
            raw.insecure_transport = value::boolean(value)?;
            Ok(())
        },
        ..PLAIN
    },
    Flag {
        long: "insecure-skip-tls-verify",
        env: true,
        commands: SAVERS,
        short_doc: "speak TLS with whoever answers",
        long_doc: "The server's certificate is not checked: anyone on the way can read the snapshot and the password, or give you another snapshot.",
        update: |raw, value| {
            raw.insecure_skip_tls_verify = value::boolean(value)?;
            Ok(())
        },
        ..PLAIN
    },
    Flag {
        long: "dial-timeout",
        value: Some("DURATION"),
        env: true,
        default: "5s",
        commands: SAVERS,
        short_doc: "limit for connecting, TLS included",
        long_doc: "etcdctl's default is 2s, but since 3.5 it does not bound the connecting there: a busy server that etcdctl waits for must not \
                   be given up here.",
        update: |raw, value| {
            raw.dial_timeout = value::duration(value)?;
            Ok(())
        },
        ..PLAIN
    },
    Flag {
        long: "command-timeout",
        value: Some("DURATION"),
        env: true,
        default: "5s",
        commands: SAVERS,
        short_doc: "limit for a single call",
        long_doc: "The snapshot stream may take as long as it makes progress (--idle-timeout), unless this flag or its variable is given: then it \
                   bounds the whole save, as with etcdctl.",
        update: |raw, value| {
            raw.command_timeout = value::duration(value)?;
            Ok(())
        },
        ..PLAIN
    },
    Flag {
        long: "keepalive-time",
        value: Some("DURATION"),
        env: true,
        default: "2s",
        commands: SAVERS,
        rare: true,
        short_doc: "ping the server this often",
        long_doc: "Less than 10s is raised to 10s, as in etcdctl: etcd hangs up on clients that ping more often.",
        update: |raw, value| {
            raw.keepalive_time = value::duration(value)?;
            Ok(())
        },
        ..PLAIN
    },
    Flag {
        long: "keepalive-timeout",
        value: Some("DURATION"),
        env: true,
        default: "6s",
        commands: SAVERS,
        rare: true,
        short_doc: "limit for an unanswered ping",
        long_doc: "",
        update: |raw, value| {
            raw.keepalive_timeout = value::duration(value)?;
            Ok(())
        },
        ..PLAIN
    },
    Flag {
        long: "idle-timeout",
        value: Some("DURATION"),
        default: "30s",
        commands: SAVERS,
        short_doc: "limit for a stream that stands still",
        long_doc: "",
        update: |raw, value| {
            raw.idle_timeout = value::duration(value)?;
            Ok(())
        },
        ..PLAIN
    },
];
