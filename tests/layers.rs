//! Who may use whom, read from the sources: a module that reaches up or sideways fails here, with file
//! and line. A new module has to find its place in the table first.

mod source;

use std::path::Path;

use source::Source;

/// What modules may use, and what they may not know of.
struct Layer {
    name: &'static str,
    modules: &'static [&'static str],
    /// Modules of this crate that they may use, besides themselves.
    uses: &'static [&'static [&'static str]],
    /// Things of other crates that they may not name.
    unaware: &'static [&'static [&'static str]],
}

const BASE: &[&str] = &["bytes", "error", "limits", "observe", "report", "shell"];
const IO: &[&str] = &["io"];
const PROTO: &[&str] = &["proto"];
const BOLT: &[&str] = &["bolt"];
const ARCHIVE: &[&str] = &["archive"];
const FORMATS: &[&str] = &["archive", "bolt", "snap", "wal"];
const ETCD: &[&str] = &["etcd"];
const PLACES: &[&str] = &["datadir", "transport"];
const FOUND: &[&str] = &["source"];
const PROVED: &[&str] = &["datadir", "packed", "snapshot", "source", "transport"];
const CATALOGUE: &[&str] = &["catalogue"];
const CLIENT: &[&str] = &["client"];
const OPERATIONS: &[&str] = &[
    "ops::backup",
    "ops::check",
    "ops::list",
    "ops::pack",
    "ops::pin",
    "ops::prune",
    "ops::restore",
    "ops::save",
    "ops::status",
    "ops::unpack",
    "ops::verify",
];

const FILES: &[&str] = &["std::fs", "std::path", "std::os::unix::fs", "rustix::fs"];
const CLOCK: &[&str] = &["std::time", "jiff"];
/// What reads a clock, where times as such are known.
const NOW: &[&str] = &[
    "std::time::Instant",
    "std::time::SystemTime",
    "std::thread::sleep",
    "jiff::Timestamp::now",
    "jiff::Zoned::now",
];
const NETWORK: &[&str] = &[
    "std::net",
    "std::os::unix::net",
    "rustix::net",
    "tokio",
    "tonic",
    "hyper_util",
    "rustls",
    "etcd_client",
];
const TERMINAL: &[&str] = &[
    "std::io::stdout",
    "std::io::stderr",
    "std::io::IsTerminal",
    "rustix::termios",
];
const PROCESS: &[&str] = &[
    "std::env",
    "std::process::exit",
    "std::process::abort",
    "std::process::Command",
    "std::process::ExitCode",
    "lexopt",
    "signal_hook",
    "rustix::process::kill_process",
];
const PRINTING: &[&str] = &["print!", "println!", "eprint!", "eprintln!", "dbg!"];

/// From the bottom up. Modules of one row never use each other, except in row 0.
const LAYERS: &[Layer] = &[
    Layer {
        name: "0, the base",
        modules: BASE,
        uses: &[BASE],
        unaware: &[
            &["std::fs", "rustix::fs"],
            NETWORK,
            TERMINAL,
            PROCESS,
            PRINTING,
        ],
    },
    Layer {
        name: "1, files and messages",
        modules: &["io", "proto"],
        uses: &[BASE],
        unaware: &[NETWORK, TERMINAL, PROCESS, PRINTING],
    },
    Layer {
        name: "2, formats",
        modules: FORMATS,
        uses: &[BASE, IO, PROTO],
        unaware: &[FILES, CLOCK, NETWORK, TERMINAL, PROCESS, PRINTING],
    },
    Layer {
        name: "3, what the buckets mean",
        modules: ETCD,
        uses: &[BASE, PROTO, BOLT],
        unaware: &[FILES, CLOCK, TERMINAL, PROCESS, PRINTING],
    },
    Layer {
        name: "4, places and trailers",
        modules: PLACES,
        uses: &[BASE, IO, PROTO, FORMATS, ETCD],
        unaware: &[NETWORK, TERMINAL, PROCESS, PRINTING],
    },
    Layer {
        name: "4, archives read all over",
        modules: &["scattered"],
        uses: &[BASE, IO, &["archive"]],
        unaware: &[NETWORK, TERMINAL, PROCESS, PRINTING],
    },
    Layer {
        name: "4, what was found",
        modules: FOUND,
        uses: &[
            BASE,
            IO,
            &["archive", "bolt"],
            CATALOGUE,
            PLACES,
            &["scattered"],
        ],
        unaware: &[NETWORK, TERMINAL, PROCESS, PRINTING],
    },
    Layer {
        name: "4, what was proved",
        modules: &["snapshot"],
        uses: &[BASE, IO, PROTO, FORMATS, ETCD, PLACES, FOUND],
        unaware: &[NETWORK, TERMINAL, PROCESS, PRINTING],
    },
    Layer {
        name: "4, what is packed",
        modules: &["packed"],
        uses: &[BASE, IO, FORMATS, ETCD, PLACES, FOUND, &["snapshot"]],
        unaware: &[NETWORK, TERMINAL, PROCESS, PRINTING],
    },
    Layer {
        name: "4, a directory of backups",
        modules: CATALOGUE,
        uses: &[BASE, IO, ARCHIVE],
        unaware: &[NOW, NETWORK, TERMINAL, PROCESS, PRINTING],
    },
    Layer {
        name: "5, servers",
        modules: CLIENT,
        uses: &[BASE, IO, PROTO],
        unaware: &[TERMINAL, PROCESS, PRINTING],
    },
    Layer {
        name: "5, from a server into a file",
        modules: &["intake"],
        uses: &[
            BASE,
            IO,
            PROTO,
            FORMATS,
            ETCD,
            PROVED,
            CLIENT,
            &["scattered"],
        ],
        unaware: &[TERMINAL, PROCESS, PRINTING],
    },
    Layer {
        name: "6, operations",
        modules: OPERATIONS,
        uses: &[
            BASE,
            IO,
            PROTO,
            FORMATS,
            ETCD,
            PROVED,
            CATALOGUE,
            CLIENT,
            &["intake"],
        ],
        unaware: &[TERMINAL, PROCESS, PRINTING],
    },
    Layer {
        name: "6, the door to the operations",
        modules: &["ops"],
        uses: &[],
        unaware: &[FILES, NETWORK, TERMINAL, PROCESS, PRINTING],
    },
    Layer {
        name: "7, the command line",
        modules: &["cli"],
        uses: &[
            BASE,
            IO,
            PROTO,
            FORMATS,
            ETCD,
            PROVED,
            CATALOGUE,
            CLIENT,
            &["ops"],
            OPERATIONS,
        ],
        unaware: &[],
    },
    Layer {
        name: "beside them, the bodies of fuzz targets",
        modules: &["fuzzing"],
        uses: &[
            BASE,
            IO,
            PROTO,
            FORMATS,
            ETCD,
            PROVED,
            CATALOGUE,
            &["client"],
        ],
        unaware: &[NETWORK, TERMINAL, PROCESS, PRINTING],
    },
    Layer {
        name: "8, main",
        modules: &["main"],
        uses: &[&["cli"]],
        unaware: &[PRINTING],
    },
    Layer {
        name: "8, the list of modules",
        modules: &["lib"],
        uses: &[],
        unaware: &[FILES, NETWORK, TERMINAL, PROCESS, PRINTING],
    },
];

#[test]
fn uses_point_down() {
    let sources = Source::all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    assert!(sources.len() > 60, "only {} files in src/", sources.len());
    let breaches: Vec<String> = sources.iter().flat_map(breaches).collect();
    assert!(
        breaches.is_empty(),
        "{} breaches of the layers:\n{}",
        breaches.len(),
        breaches.join("\n")
    );
}

#[test]
fn every_module_in_the_table_exists() {
    let sources = Source::all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    for module in LAYERS.iter().flat_map(|layer| layer.modules) {
        let found = sources
            .iter()
            .any(|source| owner(&source.module) == *module);
        assert!(
            found,
            "the table names {module}, and src/ has no such module"
        );
    }
}

/// Everything in one file that its layer does not allow.
fn breaches(source: &Source) -> Vec<String> {
    let me = owner(&source.module);
    let Some(layer) = LAYERS
        .iter()
        .find(|layer| layer.modules.contains(&me.as_str()))
    else {
        return vec![format!(
            "{}:1: module {me} has no layer in tests/layers.rs",
            source.file
        )];
    };
    let at = |line| format!("{}:{line}", source.file);
    let mut found = Vec::new();
    for used in source.uses() {
        let other = owner(&used.path);
        let allowed = layer.uses.iter().any(|list| list.contains(&other.as_str()));
        // Not a module: a macro, or the crate as a whole.
        let ours = !other.is_empty() && other != me;
        if ours && !allowed {
            found.push(format!(
                "{}: {me} uses {}; layer {} may use {}",
                at(used.line),
                used.path.join("::"),
                layer.name,
                list(layer.uses)
            ));
        }
    }
    for foreign in source.foreign() {
        let named = |thing: &&&str| {
            **thing == foreign.path || foreign.path.starts_with(&format!("{thing}::"))
        };
        if let Some(thing) = layer.unaware.iter().copied().flatten().find(named) {
            found.push(format!(
                "{}: {me} names {}; layer {} does not know of {thing}",
                at(foreign.line),
                foreign.path,
                layer.name
            ));
        }
    }
    found.extend(
        source
            .words("unsafe")
            .map(|line| format!("{}: unsafe occurs nowhere in this crate", at(line))),
    );
    found
}

/// The module that a path is in, as the table has it: operations one by one, all else by its first name.
fn owner(path: &[String]) -> String {
    match path {
        [first, second, ..] if first == "ops" && second.starts_with(char::is_lowercase) => {
            format!("ops::{second}")
        }
        [first, ..] => first.clone(),
        [] => String::new(),
    }
}

fn list(names: &[&[&str]]) -> String {
    match names.concat() {
        none if none.is_empty() => "nothing of this crate".to_owned(),
        some => some.join(", "),
    }
}

#[test]
fn a_breach_is_named_with_its_line() {
    let cases = [
        (
            "bolt/page.rs",
            "\nuse crate::wal;",
            "src/bolt/page.rs:2: bolt uses wal",
        ),
        (
            "bolt/page.rs",
            "use crate::{bytes, etcd::ids};",
            "bolt uses etcd::ids",
        ),
        ("bolt.rs", "use super::wal::Log;", "bolt uses wal::Log"),
        (
            "bolt/page.rs",
            "mod deep { use super::super::super::snap; }",
            "bolt uses snap",
        ),
        (
            "ops/save.rs",
            "use super::restore::Plan;",
            "ops::save uses ops::restore::Plan",
        ),
        (
            "ops/save.rs",
            "fn f() { crate::ops::verify::run() }",
            "ops::save uses ops::verify",
        ),
        (
            "ops/restore/plan.rs",
            "use crate::cli::ui;",
            "ops::restore uses cli::ui",
        ),
        (
            "client/tls.rs",
            "use crate::bolt::Db;",
            "client uses bolt::Db",
        ),
        (
            "datadir/mod.rs",
            "use crate::source;",
            "datadir uses source",
        ),
        (
            "proto/kv.rs",
            "use crate::io::Image;",
            "proto uses io::Image",
        ),
        (
            "source.rs",
            "fn f() { println!(\"x\") }",
            "does not know of println!",
        ),
        (
            "source.rs",
            "let x = std::env::var(\"X\");",
            "does not know of std::env",
        ),
        (
            "wal/log.rs",
            "use std::{fmt, path::Path};",
            "does not know of std::path",
        ),
        (
            "etcd/ids.rs",
            "use std::fs::{File};",
            "does not know of std::fs",
        ),
        (
            "snap/mod.rs",
            "use std::time::SystemTime;",
            "does not know of std::time",
        ),
        (
            "catalogue/keep.rs",
            "use jiff::Timestamp; fn f() { Timestamp::now(); }",
            "does not know of jiff::Timestamp::now",
        ),
        (
            "catalogue/scan.rs",
            "use crate::source::Candidate;",
            "catalogue uses source::Candidate",
        ),
        (
            "ops/save.rs",
            "std::process::exit(1)",
            "does not know of std::process::exit",
        ),
        (
            "ops/save.rs",
            "use std::io::{self, stdout};",
            "does not know of std::io::stdout",
        ),
        (
            "ops/save.rs",
            "use std::io;\nfn f() { io::stdout(); }",
            ":2: ops::save names std::io::stdout",
        ),
        (
            "cli/ui.rs",
            "fn f() { unsafe { g() } }",
            "unsafe occurs nowhere",
        ),
        ("novel.rs", "", "module novel has no layer"),
    ];
    for (file, text, expected) in cases {
        let found = breaches(&Source::new(file, text));
        assert!(
            found.len() == 1 && found[0].contains(expected),
            "{file}: {text}\nexpected {expected:?}, found {found:?}"
        );
    }
}

#[test]
fn what_is_allowed_is_no_breach() {
    let cases = [
        (
            "bolt/page.rs",
            "use crate::{bytes, report::{Place, Report}};\nuse super::meta;",
        ),
        (
            "bolt/page.rs",
            "// use crate::wal;\n/* unsafe /* crate::wal */ */ const X: &str = \"crate::wal\";",
        ),
        (
            "bolt/page.rs",
            "const X: &str = r#\"\" crate::wal \"#; const Y: char = '\"'; const Z: char = '\\'';",
        ),
        (
            "bolt/page.rs",
            "fn f<'a>(x: &'a str) {}\nmod tests { use super::*; use super::super::db; }",
        ),
        (
            "bolt/page.rs",
            "const F: &str = env!(\"X\"); fn f() { x.print(); }",
        ),
        (
            "ops/restore/plan.rs",
            "use super::place::Target; use super::super::restore::Plan;",
        ),
        ("ops/mod.rs", "pub mod save;"),
        (
            "cli/mod.rs",
            "fn f() { println!(\"\"); std::env::args(); crate::ops::save::run(); }",
        ),
        (
            "main.rs",
            "use etcd_rescue::cli; fn main() -> std::process::ExitCode { cli::main() }",
        ),
    ];
    for (file, text) in cases {
        assert_eq!(
            breaches(&Source::new(file, text)),
            Vec::<String>::new(),
            "{text}"
        );
    }
}
