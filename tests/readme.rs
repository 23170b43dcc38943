//! README.md is true: every command in it runs here, on a machine laid out as it describes, and says what
//! it says there.
//!
//! The convention: a fenced block is `sh` (commands that must succeed) or `console` (a command after
//! `$ `, then its output, standard error included). A command goes on after a backslash at the end of
//! its line. All of them run in order, as one session on one node (`Node`). What a command prints is
//! compared word by word, after [`plain`] has taken out what no two runs share. `GOLDEN_BLESS=1` writes
//! what differs into README.md.

mod node;

use std::path::{Path, PathBuf};

use crate::util::run::rescue;
use node::Node;

/// What .ci/run has as steps of their own, or a step of it runs.
const STEPS_OF_CI: [&str; 3] = ["tests/run.sh", "dist/build.sh", "dist/check-static.sh"];

/// `tests/demo.rs` runs it.
const DEMO: &str = "dist/demo.sh";

#[test]
fn every_command_in_the_readme_does_what_it_says() {
    let mut node = Node::new();
    let before = node.etcd.api().dump();
    let (mut readme, mut differences) = (String::new(), String::new());
    for piece in pieces(&read("README.md")) {
        readme += &piece.text;
        if let Some(command) = piece.command.filter(|command| !runs_elsewhere(command)) {
            let found = node.run(&command);
            // Copies are made by a timer, of a directory that goes on.
            if command.starts_with("rclone copy ") {
                node.run("etcd-rescue check --full /var/lib/etcd-rescue/backups");
                node.run(&command);
            }
            if piece.shows_output && plain(&found) != plain(&piece.output) {
                let at = format!("line {}: $ {command}", piece.line);
                differences += &format!("\n{at}\n{}but it prints\n{found}", piece.output);
                readme += &found;
                continue;
            }
        }
        readme += &piece.output;
    }
    if std::env::var_os("GOLDEN_BLESS").is_some() {
        std::fs::write(path("README.md"), readme).unwrap();
    } else {
        assert!(differences.is_empty(), "README.md, {differences}");
    }
    assert_eq!(node.restarts, 1, "README.md stops etcd and starts it again");
    assert_eq!(node.etcd.api().dump(), before, "keys after the restore");
}

fn runs_elsewhere(command: &str) -> bool {
    let step = STEPS_OF_CI.contains(&command);
    assert!(
        !step || read(".ci/run").contains(command),
        "not in .ci/run: {command}"
    );
    step || command == DEMO
}

/// The measured table is the one that tests/bench/run.sh wrote.
#[test]
fn the_readme_quotes_the_bench_as_it_was() {
    let readme = read("README.md");
    let (_, rest) = readme.split_once("<!-- bench -->\n").expect("the mark");
    let (quoted, _) = rest.split_once("<!-- /bench -->").expect("its end");
    let measured = path("tests/bench/results.md");
    let measured = match measured.exists() {
        true => std::fs::read_to_string(measured).unwrap(),
        false => String::new(),
    };
    assert_eq!(quoted.trim(), measured.trim());
}

#[test]
fn the_readme_has_the_exit_codes_of_the_program() {
    let (readme, help) = (read("README.md"), rescue(["--help"]).ok().stdout_str());
    let (_, codes) = help.split_once("Exit codes:\n").unwrap();
    let told = |line: &&str| line.trim_start().starts_with(|c: char| c.is_ascii_digit());
    let codes: Vec<_> = codes.lines().filter(told).collect();
    assert_eq!(codes.len(), 7, "{help}");
    for line in codes {
        let (code, means) = line.trim().split_once("  ").unwrap();
        let row = format!("| {code} | {means} |\n");
        assert!(readme.contains(&row), "README.md lacks {row}");
    }
}

/// A stretch of README.md: text up to and with a command, and what is said to be printed then.
#[derive(Default)]
struct Piece {
    text: String,
    /// Without its prompt.
    command: Option<String>,
    /// Of the command, counted from 1.
    line: usize,
    /// Whether this is a block that has output.
    shows_output: bool,
    output: String,
}

/// All pieces; one after the other they are the text.
fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces = vec![Piece::default()];
    let (mut block, mut goes_on) = (None, false);
    for (index, line) in text.lines().enumerate() {
        let command = match block {
            Some("console") => line.strip_prefix("$ "),
            Some(_) => Some(line),
            None => None,
        };
        let last = pieces.last_mut().unwrap();
        let fence = line.trim_start().strip_prefix("```");
        match (fence, command) {
            (Some(kind), _) => {
                let known =
                    ["sh", "console", ""].contains(&kind) && block.is_none() != kind.is_empty();
                assert!(known, "README.md:{}: nobody runs {line}", index + 1);
                block = (!kind.is_empty()).then_some(kind);
                pieces.push(Piece {
                    text: format!("{line}\n"),
                    ..Piece::default()
                });
            }
            (None, _) if goes_on => {
                last.text += &format!("{line}\n");
                last.command
                    .as_mut()
                    .unwrap()
                    .push_str(&format!("\n{line}"));
                goes_on = line.ends_with('\\');
            }
            (None, Some(command)) => {
                pieces.push(Piece {
                    text: format!("{line}\n"),
                    command: Some(command.to_owned()),
                    line: index + 1,
                    shows_output: block == Some("console"),
                    output: String::new(),
                });
                goes_on = line.ends_with('\\');
            }
            (None, None) if block.is_some() => last.output += &format!("{line}\n"),
            (None, None) => last.text += &format!("{line}\n"),
        }
    }
    pieces
}

/// Text without what no two runs share: sums and ids, sizes and their ratios, durations, times of
/// day, the git revision; one space between words.
fn plain(text: &str) -> String {
    text.lines().map(plain_line).collect()
}

fn plain_line(line: &str) -> String {
    let mut words: Vec<String> = line.split_whitespace().map(plain_word).collect();
    for i in 1..words.len() {
        let unit = words[i].trim_end_matches([',', ')', ';']);
        if ["B", "kB", "MB", "GB", "byte", "bytes"].contains(&unit) {
            words[i] = words[i].replace(unit, "UNIT");
            words[i - 1] = "SIZE".into();
        }
    }
    // A cell is a word between bars. HASH leads its row and, as etcdutl prints it, has no leading
    // zeros: one in sixteen is shorter than eight digits.
    if line.starts_with('│') {
        if is_hex(&words[1], 1..=8) {
            words[1] = "HASH".into();
        }
        for cell in words.iter_mut().filter(|cell| is_ratio(cell)) {
            *cell = "RATIO".into();
        }
    }
    // `1m 4s` is one time.
    words.dedup_by(|word, before| word == "TIME" && before == "TIME");
    let kept = match words.first().map(String::as_str) {
        Some("etcd-rescue") if line.contains(env!("CARGO_PKG_VERSION")) => 2,
        Some("took") => 1,
        Some(metric) if metric.contains("_timestamp_seconds{") => 1,
        // An election more or less, on a busy machine.
        Some("consistent" | "raft") => 2,
        _ => words.len(),
    };
    words.truncate(kept);
    words.join(" ") + "\n"
}

fn plain_word(word: &str) -> String {
    if word.chars().all(|c| ('\u{2500}'..='\u{257f}').contains(&c)) {
        return "FRAME".into();
    }
    let inner = word.trim_matches(['(', ')', ',', ';']);
    if is_time(inner) {
        return word.replace(inner, "TIME");
    }
    // The name of a backup, which has its time.
    if let Some((before, name)) = inner.rsplit_once("etcd-")
        && let Some((time, rest)) = name.split_once("-rev")
        && time.ends_with('Z')
    {
        return format!("{before}etcd-TIME-rev{rest}");
    }
    if let Some((name @ ("age" | "bytes"), _)) = inner.split_once('=') {
        return format!("{name}=NUMBER");
    }
    if is_hex(inner, 64..=64) {
        return word.replace(inner, "SHA-256");
    }
    // Ids have no leading zeros.
    if is_hex(inner, 12..=16) {
        return word.replace(inner, "ID");
    }
    if let Some(ratio) = inner.strip_prefix("1/").filter(|ratio| is_ratio(ratio)) {
        return word.replace(ratio, "RATIO");
    }
    if let Some(token) = inner
        .strip_prefix("etcd-rescue-")
        .filter(|t| is_hex(t, 16..=16))
    {
        return word.replace(token, "TOKEN");
    }
    if let Some((before, time)) = word.split_once("member.before-") {
        let stamp: String = time
            .chars()
            .take_while(char::is_ascii_alphanumeric)
            .collect();
        return format!("{before}member.before-{}", time.replace(&stamp, "TIME"));
    }
    // The byte at which a file of no fixed size ends.
    match inner.strip_suffix(':') {
        Some(number) if number.chars().all(|c| c.is_ascii_digit()) => {
            word.replace(number, "OFFSET")
        }
        _ => word.to_owned(),
    }
}

fn is_hex(text: &str, lengths: std::ops::RangeInclusive<usize>) -> bool {
    lengths.contains(&text.len()) && text.chars().all(|c| c.is_ascii_hexdigit())
}

/// `1.4`
fn is_ratio(text: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit());
    text.split_once('.')
        .is_some_and(|(whole, tenths)| digits(whole) && digits(tenths))
}

/// `2026-11-23T06:13:14Z`, or how long ago.
fn is_time(word: &str) -> bool {
    let digits = word.chars().filter(char::is_ascii_digit).count();
    let ago = word
        .strip_suffix(['s', 'm', 'h'])
        .is_some_and(|n| n.parse::<u32>().is_ok());
    ago || word.len() == 20 && digits == 14 && word.ends_with('Z')
}

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap()
}

#[test]
fn pieces_are_the_whole_text() {
    let text = "a\n```sh\nb \\\n  c\n```\n\n```console\n$ d\ne\n$ f\n```\ng\n";
    let found = pieces(text);
    let whole: String = found.iter().map(|p| p.text.clone() + &p.output).collect();
    assert_eq!(whole, text);
    let commands: Vec<_> = found
        .iter()
        .filter_map(|p| Some((p.command.as_deref()?, p.shows_output, p.output.as_str())))
        .collect();
    assert_eq!(
        commands,
        [
            ("b \\\n  c", false, ""),
            ("d", true, "e\n"),
            ("f", true, "")
        ]
    );
}

#[test]
fn only_what_no_two_runs_share_is_taken_out() {
    let one = "size 5.8 MB (5767200 bytes)\nmember cp1 (8b0a0f18c22a5ffd)\ntook 275ms\n";
    let other = "size  52 kB (52000 bytes)\nmember cp1  (b0a0f18c22a5ffd)\ntook 1.2s\n";
    assert_eq!(plain(one), plain(other));
    let table = |hash, ratio| format!("│ {hash} │ 1001 │ {ratio} │\narchive, 1/{ratio} of it\n");
    assert_eq!(
        plain(&table("cf43dda9", "1.4")),
        plain(&table("  6124f", "1.5"))
    );
    assert_ne!(
        plain("│ 856124f │ 1001 │ 3.7.0 │"),
        plain("│ 856124f │ 1002 │ 3.7.0 │")
    );
    assert_ne!(
        plain("│ 856124f │ 1001 │ 3.7.0 │"),
        plain("│ 856124f │ 1001 │ 3.7.1 │")
    );
    assert_ne!(plain("revision 32"), plain("revision 33"));
    assert_ne!(plain("revision 1000000032"), plain("revision 1000000033"));
    assert_ne!(plain("GOOD x.db"), plain("DAMAGED x.db"));
}
