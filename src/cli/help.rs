//! `-h` (a screenful), `--help` (everything) and the version, rendered from the tables of commands,
//! flags and exit codes.

use super::commands::{COMMANDS, Command};
use super::exit::CODES;
use super::flags::{self, Flag, SECTIONS};
use super::parse::Length;

/// Lines are no longer than this, examples excepted: they are to be pasted.
const WIDTH: usize = 80;

/// `etcd-rescue 0.1.0 (73da1dd001)`
pub fn version() -> String {
    concat!(
        "etcd-rescue ",
        env!("CARGO_PKG_VERSION"),
        env!("ETCD_RESCUE_GIT"),
        "\n"
    )
    .to_string()
}

/// Help about the program or about one command.
pub fn text(about: Option<Command>, length: Length) -> String {
    match (about, length) {
        (None, Length::Short) => overview(),
        (None, Length::Long) => overview() + &more(),
        (Some(command), Length::Short) => short(command),
        (Some(command), Length::Long) => long(command),
    }
}

fn overview() -> String {
    let commands = COMMANDS.iter().map(|doc| {
        let name = format!("{} {}", doc.name, doc.operands);
        (name.trim_end().to_string(), doc.short.to_string())
    });
    format!(
        "{}\
         Saves, proves, archives and restores etcd snapshots.\n\
         \n\
         Usage: etcd-rescue COMMAND [FLAGS] [OPERANDS]\n\
         \n\
         Commands:\n{}\
         \n\
         etcd-rescue COMMAND -h lists the flags of a command, COMMAND --help explains\n\
         them all, with examples. snapshot save, snapshot status and snapshot restore\n\
         are the same commands under the names that runbooks use.\n",
        version(),
        columns(commands)
    )
}

fn more() -> String {
    let mut text = String::from("\nINPUT:\n");
    text += &paragraph(
        "A snapshot; an archive of one; either of them as zstd or gzip compressed it; a raw copy of member/snap/db; the data dir of a member that \
         is stopped; - for standard input; or DIR --latest for the newest verified backup in a directory. What it is is found out from \
         its content. It is only ever read.",
        2,
    );
    text += "\nEnvironment:\n";
    text += &paragraph(
        "The variables of etcdctl are defaults of their flags; a flag beats its variable. ETCDCTL_API=3 is fine. An empty variable is \
         an unset one, and one that makes no sense is an error. NO_COLOR turns colours off.",
        2,
    );
    let variables = flags::all().filter_map(Flag::variable);
    text += &paragraph(&variables.collect::<Vec<_>>().join(" "), 4);
    text += "\nStandard output has the answer, standard error everything else.\n";
    text += "\nExamples:\n";
    for doc in COMMANDS {
        let lines = doc.examples.iter().take(1);
        lines.for_each(|(_, line)| text += &format!("  {line}\n"));
    }
    text + "\n" + &exit_codes()
}

fn short(command: Command) -> String {
    let mut text = format!(
        "{}: {}\n\nUsage: {}\n",
        command.name(),
        command.doc().short,
        command.usage()
    );
    let mut rare = 0;
    for (title, flags) in sections(command) {
        rare += flags.iter().filter(|flag| flag.rare).count();
        let common: Vec<_> = flags.iter().filter(|flag| !flag.rare).collect();
        if common.is_empty() {
            continue;
        }
        if told_elsewhere(command, title) {
            text += &format!("\n{title}:\n  as with save, see etcd-rescue save -h\n");
            continue;
        }
        let rows = common.iter().map(|flag| {
            let default = match flag.default {
                "" => String::new(),
                default => format!(" [{default}]"),
            };
            (flag.synopsis(), format!("{}{default}", flag.short_doc))
        });
        text += &format!("\n{title}:\n{}", columns(rows));
    }
    if rare > 0 {
        text += &format!("\n--help has {rare} more, and says more of these.\n");
    }
    text
}

/// What `backup` has in common with `save` would fill a screen by itself.
fn told_elsewhere(command: Command, title: &str) -> bool {
    command == Command::Backup && title == flags::REACHING
}

fn long(command: Command) -> String {
    let doc = command.doc();
    let mut text = format!(
        "{}: {}\n\nUsage: {}\n",
        doc.name,
        doc.short,
        command.usage()
    );
    for part in doc.long {
        text += "\n";
        text += &paragraph(part, 0);
    }
    if !doc.examples.is_empty() {
        text += "\nExamples:\n";
        text += &examples(doc.examples);
    }
    for (title, flags) in sections(command) {
        text += &format!("\n{title}:\n");
        for flag in flags {
            text += &format!("  {}\n", flag.synopsis());
            text += &paragraph(&explanation(flag), 6);
        }
    }
    text + "\n" + &exit_codes()
}

/// One-line doc as a sentence, the rest, default and variable.
fn explanation(flag: &Flag) -> String {
    let mut first = flag.short_doc.to_string();
    // A list of choices begins with a choice, not with a sentence.
    let names_itself = flag.short_doc.starts_with("simple,") || flag.short_doc.starts_with("auto,");
    if let (Some(letter), false) = (first.get(..1), names_itself) {
        first = letter.to_uppercase() + first.get(1..).unwrap_or_default();
    }
    let mut text = format!("{first}. {}", flag.long_doc);
    if !flag.default.is_empty() {
        text += &format!(" Default: {}.", flag.default);
    }
    if let Some(variable) = flag.variable() {
        text += &format!(" Variable: {variable}.");
    }
    text
}

fn exit_codes() -> String {
    let rows = CODES
        .iter()
        .map(|(code, meaning)| (code.to_string(), meaning.to_string()));
    let last = paragraph(
        "After SIGINT, SIGTERM or SIGHUP what is unfinished is removed, and the process ends by that signal.",
        2,
    );
    format!("Exit codes:\n{}{last}", columns(rows))
}

/// The sections that have flags of this command, with these.
fn sections(command: Command) -> Vec<(&'static str, Vec<&'static Flag>)> {
    let mut sections: Vec<(&'static str, Vec<&'static Flag>)> = Vec::new();
    let mut homeless = Vec::new();
    for section in SECTIONS {
        let mine = section.flags.iter();
        let mut mine: Vec<_> = mine
            .filter(|flag| flag.commands.contains(&command))
            .collect();
        // What others share with restore is not about restoring.
        if section.title == flags::RESTORING && command != Command::Restore {
            homeless.append(&mut mine);
            continue;
        }
        if !mine.is_empty() {
            homeless.append(&mut mine);
            sections.push((section.title, std::mem::take(&mut homeless)));
        }
    }
    sections
}

fn examples(examples: &[(&str, &str)]) -> String {
    examples
        .iter()
        .map(|(what, line)| format!("  {what}\n    {line}\n"))
        .collect()
}

/// Two columns; what does not fit beside the second one is wrapped under it.
fn columns(rows: impl Iterator<Item = (String, String)>) -> String {
    let rows: Vec<_> = rows.collect();
    let first = rows.iter().map(|(left, _)| left.len()).max().unwrap_or(0);
    let indent = 2 + first + 2;
    let mut text = String::new();
    for (left, right) in rows {
        let wrapped = paragraph(&right, indent);
        text += &format!("  {left:first$}  {}\n", wrapped.trim());
    }
    text
}

/// Words in lines of at most [`WIDTH`], each line indented.
fn paragraph(text: &str, indent: usize) -> String {
    let blanks = " ".repeat(indent);
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        let wide = indent + line.chars().count() + 1 + word.chars().count();
        if !line.is_empty() && wide > WIDTH {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line += word;
    }
    lines.push(line);
    lines
        .iter()
        .map(|line| format!("{blanks}{line}\n"))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::super::args::{Machine, resolve};
    use super::super::env::Environment;
    use super::super::parse::{Parsed, parse};
    use super::*;

    fn everything() -> Vec<String> {
        let mut texts = vec![text(None, Length::Short), text(None, Length::Long)];
        for doc in COMMANDS {
            texts.push(text(Some(doc.command), Length::Short));
            texts.push(text(Some(doc.command), Length::Long));
        }
        texts
    }

    #[test]
    fn lines_fit_a_terminal() {
        for text in everything() {
            for line in text.lines().filter(|line| !line.contains(" etcd-rescue ")) {
                let example = line.starts_with("    ") && line.contains("etcd-rescue");
                assert!(line.chars().count() <= WIDTH || example, "{line}");
                assert_eq!(line, line.trim_end());
            }
        }
    }

    #[test]
    fn short_help_fits_a_screen() {
        for doc in COMMANDS {
            let lines = text(Some(doc.command), Length::Short).lines().count();
            assert!(lines <= 26, "{}: {lines} lines", doc.name);
        }
    }

    #[test]
    fn every_flag_is_in_the_help_of_its_commands_and_in_no_other() {
        for doc in COMMANDS {
            for length in [Length::Short, Length::Long] {
                let text = text(Some(doc.command), length);
                for flag in flags::all() {
                    let there = text.lines().any(|line| {
                        line.starts_with("  ")
                            && line.trim_start().starts_with(&flag.synopsis())
                            && line
                                .trim_start()
                                .strip_prefix(&flag.synopsis())
                                .is_some_and(|rest| rest.is_empty() || rest.starts_with("  "))
                    });
                    let reaching = SECTIONS.iter().find(|it| it.title == flags::REACHING);
                    let told_elsewhere = told_elsewhere(doc.command, flags::REACHING)
                        && reaching
                            .unwrap()
                            .flags
                            .iter()
                            .any(|it| it.long == flag.long);
                    let common = !flag.rare && !told_elsewhere;
                    let shown = length == Length::Long || common;
                    let expected = flag.commands.contains(&doc.command) && shown;
                    assert_eq!(there, expected, "{} --{}", doc.name, flag.long);
                }
            }
        }
    }

    #[test]
    fn examples_work_when_pasted() {
        let dir = tempfile::tempdir().unwrap();
        let password = dir.path().join("password");
        std::fs::write(&password, "x\n").unwrap();
        for (_, line) in COMMANDS.iter().flat_map(|doc| doc.examples) {
            let line = line.replace("/etc/etcd/root.password", &password.to_string_lossy());
            // What the shell takes away.
            let piped = line.contains(" < ") || line.contains(" > ");
            let line = line.split(" < ").next().unwrap_or_default();
            let mut words = line.split(' ').peekable();
            let mut env = Vec::new();
            while let Some((name, value)) = words.peek().and_then(|word| word.split_once('=')) {
                env.push((OsString::from(name), OsString::from(value)));
                words.next();
            }
            assert_eq!(words.next(), Some("etcd-rescue"), "{line}");
            let machine = Machine {
                env: Environment::of(env),
                stdin_is_terminal: !piped,
                stdout_is_terminal: !piped,
                stdout_is_closed: false,
                spool_dirs: Vec::new(),
                ask_password: &|_| panic!("{line} asks"),
            };
            match parse(words.map(OsString::from)).unwrap() {
                Parsed::Run(typed) => {
                    let invocation = resolve(typed, &machine).unwrap();
                    assert!(invocation.warnings.is_empty(), "{line}");
                }
                Parsed::Help(about, _) => assert!(about.is_some(), "{line}"),
                Parsed::Version | Parsed::Topic(_) => panic!("{line}"),
            }
        }
    }

    #[test]
    fn long_help_has_codes_and_variables() {
        let text = text(None, Length::Long);
        for (code, meaning) in CODES {
            let first = meaning.split(' ').next().unwrap();
            assert!(text.contains(&format!("  {code}  {first}")), "{text}");
        }
        assert!(text.contains("ETCDCTL_INSECURE_SKIP_TLS_VERIFY"));
        assert!(version().starts_with("etcd-rescue 0."));
    }
}
