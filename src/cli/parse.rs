//! The command line, word by word: which command, which operands, which flags with which values.
//! Nothing is opened, decided or read from the environment here.

use std::ffi::OsString;

use lexopt::Arg;

use super::commands::{COMMANDS, Command, PLANNED, RUNBOOK, RUNBOOK_COMMANDS};
use super::flags::{self, Flag};
use super::suggest::nearest;
use crate::error::{Error, Result};

/// What the command line asks for.
pub enum Parsed {
    /// `-h` or `--help`, about the program or one command. Cannot fail any more.
    Help(Option<Command>, Length),
    /// `--help report`: a text of its own.
    Topic(&'static str),
    /// `-V` or `--version`. Cannot fail any more.
    Version,
    /// A command to run.
    Run(Typed),
}

/// How much help is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// `-h`: a screenful.
    Short,
    /// `--help`: everything.
    Long,
}

/// A command line.
pub struct Typed {
    /// The command.
    pub command: Command,
    /// Whether it was called by its runbook name, `snapshot …`.
    pub runbook: bool,
    /// What is neither a flag nor the command.
    pub operands: Vec<OsString>,
    /// The flags in the order in which they were typed, each with its value.
    pub flags: Vec<(&'static Flag, OsString)>,
}

/// What the arguments are, one by one.
#[derive(Default)]
struct Pieces {
    words: Vec<OsString>,
    given: Vec<(&'static Flag, OsString)>,
    help: Option<Length>,
    version: bool,
}

/// Takes the arguments apart, the program's own name left out.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Parsed> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let Pieces {
        words,
        given,
        help,
        version,
    } = pieces(&arguments, &mut Err)?;
    if version {
        return Ok(Parsed::Version);
    }
    let asked = help.is_some() || words.first().is_some_and(|word| word == "help");
    if asked && words.last().is_some_and(|word| word == "report") {
        return Ok(Parsed::Topic(crate::catalogue::run::HELP));
    }
    let mut words = words.into_iter();
    let Some((command, runbook)) = command(&mut words, help.is_some())? else {
        return match help {
            Some(length) => Ok(Parsed::Help(None, length)),
            None => Err(Error::usage("no command was given").hint(all_commands())),
        };
    };
    if let Some(length) = help {
        return Ok(Parsed::Help(Some(command), length));
    }
    let operands: Vec<OsString> = words.collect();
    if let Command::Help = command {
        let mut words = operands.into_iter();
        let about = self::command(&mut words, true)?.map(|(command, _)| command);
        return Ok(Parsed::Help(about, Length::Long));
    }
    Ok(Parsed::Run(Typed {
        command,
        runbook,
        operands,
        flags: given,
    }))
}

/// What can be understood of a command line that makes no sense: whoever waits for its result is to hear of that, too.
pub fn gist(arguments: &[OsString]) -> Option<Typed> {
    let pieces = pieces(arguments, &mut |_| Ok(())).ok()?;
    let mut words = pieces.words.into_iter();
    let (command, runbook) = command(&mut words, false).ok()??;
    Some(Typed {
        command,
        runbook,
        operands: words.collect(),
        flags: pieces.given,
    })
}

/// Takes arguments apart; `wrong` is told of what cannot be understood, and says whether to go on.
fn pieces(arguments: &[OsString], wrong: &mut dyn FnMut(Error) -> Result<()>) -> Result<Pieces> {
    let mut pieces = Pieces::default();
    let mut parser = lexopt::Parser::from_args(arguments.iter().cloned());
    loop {
        let flag = match parser.next() {
            Ok(None) => return Ok(pieces),
            Ok(Some(Arg::Value(word))) => {
                pieces.words.push(word);
                continue;
            }
            Ok(Some(Arg::Short('h'))) => {
                pieces.help = Some(Length::Short);
                continue;
            }
            Ok(Some(Arg::Long("help"))) => {
                pieces.help = Some(Length::Long);
                continue;
            }
            Ok(Some(Arg::Short('V') | Arg::Long("version"))) => {
                pieces.version = true;
                continue;
            }
            Ok(Some(Arg::Short(name))) => {
                flags::short(name).ok_or_else(|| unknown_short(name, arguments))
            }
            Ok(Some(Arg::Long(name))) => flags::long(name).ok_or_else(|| unknown_long(name)),
            Err(error) => Err(odd(error)),
        };
        let given = flag.and_then(|flag| match flag.value {
            None => {
                let value = parser.optional_value();
                Ok((flag, value.unwrap_or_else(|| "true".into())))
            }
            Some(_) => match parser.value() {
                Ok(value) => Ok((flag, value)),
                Err(_) => Err(missing_value(flag)),
            },
        });
        match given {
            Ok(given) => pieces.given.push(given),
            Err(error) => {
                wrong(error)?;
                // A value that is glued to what nobody knows.
                let _ = parser.optional_value();
            }
        }
    }
}

/// Whether the log is to be JSON, as far as that can be seen before the rest makes sense.
pub fn asks_for_json_log(words: &[OsString]) -> bool {
    let pair =
        |pair: &[OsString]| matches!(pair, [flag, how] if flag == "--log-format" && how == "json");
    words.iter().any(|word| word == "--log-format=json") || words.windows(2).any(pair)
}

/// The command that the first words name, and whether it goes by its runbook name. Somebody who
/// asks for help may leave it out.
fn command(
    words: &mut impl Iterator<Item = OsString>,
    may_be_missing: bool,
) -> Result<Option<(Command, bool)>> {
    let Some(word) = words.next() else {
        return Ok(None);
    };
    let word = word.to_string_lossy();
    if word == RUNBOOK {
        return match words.next() {
            Some(word) => runbook_command(&word.to_string_lossy()).map(|it| Some((it, true))),
            None if may_be_missing => Ok(None),
            None => Err(Error::usage(format!("{RUNBOOK}: what about it?"))
                .hint("etcd-rescue snapshot save, snapshot status or snapshot restore")),
        };
    }
    match Command::named(&word) {
        Some(command) => Ok(Some((command, false))),
        None => Err(unknown_command(&word)),
    }
}

fn runbook_command(word: &str) -> Result<Command> {
    let found = Command::named(word).filter(|command| RUNBOOK_COMMANDS.contains(command));
    found.ok_or_else(|| {
        let names = RUNBOOK_COMMANDS.iter().map(|command| command.name());
        Error::usage(format!("there is no command {RUNBOOK} {word:?}")).hint(
            match nearest(word, names) {
                Some(near) => format!("did you mean: etcd-rescue {RUNBOOK} {near}"),
                None => "etcd-rescue snapshot save, snapshot status or snapshot restore".into(),
            },
        )
    })
}

fn unknown_command(word: &str) -> Error {
    if PLANNED.contains(&word) {
        return Error::usage(format!(
            "{word} is not in this version of etcd-rescue ({})",
            env!("CARGO_PKG_VERSION")
        ))
        .hint(all_commands());
    }
    let names = COMMANDS.iter().map(|doc| doc.name).chain([RUNBOOK]);
    Error::usage(format!("there is no command {word:?}")).hint(match nearest(word, names) {
        Some(near) => format!("did you mean: etcd-rescue {near}"),
        None => all_commands(),
    })
}

/// `the commands are save, verify, …; etcd-rescue -h explains them`
fn all_commands() -> String {
    let names: Vec<_> = COMMANDS.iter().map(|doc| doc.name).collect();
    format!(
        "the commands are {}; etcd-rescue -h explains them",
        names.join(", ")
    )
}

fn unknown_long(name: &str) -> Error {
    let error = Error::usage(format!("there is no flag --{name}"));
    if let Some(instead) = flags::instead(name) {
        return Error::usage(format!(
            "--{name} is a flag of etcdctl or etcdutl that this version of etcd-rescue does not have"
        ))
        .hint(instead);
    }
    let names = flags::all().map(|flag| flag.long);
    match nearest(name, names.chain(["help", "version"])) {
        Some(near) => error.hint(format!("did you mean --{near}?")),
        None => error.hint("etcd-rescue COMMAND -h lists the flags"),
    }
}

/// Somebody who types `-endpoints` meant the long flag.
fn unknown_short(name: char, arguments: &[OsString]) -> Error {
    let error = Error::usage(format!("there is no flag -{name}"));
    let meant = arguments.iter().find_map(|argument| {
        let word = argument.to_str()?.strip_prefix('-')?;
        let word = word.split('=').next()?;
        (word.starts_with(name) && flags::long(word).is_some()).then_some(word)
    });
    match meant {
        Some(word) => error.hint(format!("long flags have two dashes: --{word}")),
        None => error.hint("etcd-rescue COMMAND -h lists the flags"),
    }
}

fn missing_value(flag: &Flag) -> Error {
    Error::usage(format!("--{} needs a value", flag.long)).hint(format!(
        "{}: {}",
        flag.synopsis(),
        flag.short_doc
    ))
}

/// What lexopt itself refuses: a value where none is taken (`--help=x`, `-h=x`).
fn odd(error: lexopt::Error) -> Error {
    Error::usage(error.to_string()).hint("etcd-rescue -h shows what can be typed")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(line: &str) -> Typed {
        match parse(line.split(' ').map(OsString::from)) {
            Ok(Parsed::Run(typed)) => typed,
            Ok(_) => panic!("{line}: not a command to run"),
            Err(error) => panic!("{line}: {error}"),
        }
    }

    fn wrong(line: &str) -> (String, String) {
        let words = line.split(' ').filter(|word| !word.is_empty());
        match parse(words.map(OsString::from)) {
            Ok(_) => panic!("{line}: taken"),
            Err(error) => {
                assert_eq!(error.kind(), crate::error::Kind::Usage);
                let hint = error.hint_text().unwrap_or_default().to_string();
                (error.to_string(), hint)
            }
        }
    }

    #[test]
    fn flags_and_operands_come_in_any_order() {
        for line in [
            "save --endpoints a,b --force out.db",
            "--endpoints a,b save out.db --force",
            "out.db --endpoints=a,b --force"
                .replace("out.db", "save out.db")
                .as_str(),
            "snapshot --endpoints=a,b save --force=true out.db",
        ] {
            let typed = run(line);
            assert_eq!(typed.command, Command::Save);
            assert_eq!(typed.operands, ["out.db"]);
            let flags: Vec<_> = typed
                .flags
                .iter()
                .map(|(flag, value)| (flag.long, value))
                .collect();
            assert_eq!(
                flags,
                [
                    ("endpoints", &OsString::from("a,b")),
                    ("force", &OsString::from("true"))
                ]
            );
            assert_eq!(typed.runbook, line.starts_with("snapshot"));
        }
    }

    #[test]
    fn short_flags_take_values_in_three_ways() {
        for line in ["status -w json x", "status -wjson x", "status -w=json x"] {
            let typed = run(line);
            assert_eq!(
                typed.flags.first().map(|(_, value)| value),
                Some(&"json".into())
            );
            assert_eq!(typed.operands, ["x"]);
        }
    }

    #[test]
    fn the_gist_of_nonsense_is_what_makes_sense_of_it() {
        let gist = |line: &str| {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            super::gist(&words)
        };
        for line in [
            "backup DIR --bogus --report R",
            "backup --bogus=x DIR -Z --report=R --help=x",
            "--report R backup DIR --metrics",
            "backup DIR --force=x --report R --keep-last many",
        ] {
            assert!(parse(line.split(' ').map(OsString::from)).is_err() || line.contains("many"));
            let typed = gist(line).unwrap();
            assert_eq!(typed.command, Command::Backup);
            assert_eq!(typed.operands, ["DIR"], "{line}");
            let report = typed.flags.iter().find(|(flag, _)| flag.long == "report");
            assert_eq!(report.map(|(_, value)| value), Some(&"R".into()), "{line}");
        }
        assert!(gist("bakcup DIR --report R").is_none() && gist("--report R").is_none());
    }

    #[test]
    fn a_dash_is_an_operand_and_two_end_the_flags() {
        assert_eq!(run("verify -").operands, ["-"]);
        assert_eq!(run("verify -- --raw").operands, ["--raw"]);
    }

    #[test]
    fn help_and_version_win() {
        let parsed = |line: &str| parse(line.split(' ').map(OsString::from));
        for (line, command, length) in [
            ("-h", None, Length::Short),
            ("--help", None, Length::Long),
            ("help", None, Length::Long),
            ("help save", Some(Command::Save), Length::Long),
            (
                "help snapshot restore",
                Some(Command::Restore),
                Length::Long,
            ),
            ("help snapshot", None, Length::Long),
            ("save -h", Some(Command::Save), Length::Short),
            (
                "save --dial-timeout nonsense --help",
                Some(Command::Save),
                Length::Long,
            ),
            ("help help", Some(Command::Help), Length::Long),
        ] {
            match parsed(line) {
                Ok(Parsed::Help(about, long)) => assert_eq!((about, long), (command, length)),
                _ => panic!("{line}"),
            }
        }
        assert!(matches!(parsed("-V"), Ok(Parsed::Version)));
        assert!(matches!(parsed("save --version"), Ok(Parsed::Version)));
    }

    #[test]
    fn mistakes_are_answered_with_what_was_meant() {
        let (what, hint) = wrong("svae out.db");
        assert_eq!(what, "there is no command \"svae\"");
        assert_eq!(hint, "did you mean: etcd-rescue save");
        assert_eq!(
            wrong("save --endpoint x out").1,
            "did you mean --endpoints?"
        );
        assert_eq!(
            wrong("save -endpoints=x out").1,
            "long flags have two dashes: --endpoints"
        );
        assert_eq!(
            wrong("save out --cacert").1,
            "--cacert FILE: trust servers that this CA vouches for"
        );
        assert!(wrong("").1.starts_with("the commands are save, verify,"));
        assert!(wrong("salvage x").0.contains("not in this version"));
        assert!(wrong("save --auth-jwt-token x y").0.contains("of etcdctl"));
        assert_eq!(
            wrong("snapshot stauts x").1,
            "did you mean: etcd-rescue snapshot status"
        );
        assert!(wrong("snapshot verify x").0.contains("no command snapshot"));
        assert!(wrong("snapshot").1.contains("snapshot save"));
        assert!(wrong("frobnicate").1.starts_with("the commands are"));
        assert!(wrong("--help=x").0.contains("--help"));
    }
}
