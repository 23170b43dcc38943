//! Is there a verified backup that is young enough, and do the disks still have it?

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::site::{Site, text};
use crate::util::process::Output;
use crate::util::run::Rescue;
use crate::util::strace;

/// A site with one backup of now.
#[track_caller]
fn with_one() -> (Site, String) {
    let (site, _server, file) = super::site::with_one();
    (site, file)
}

fn hours_ago(hours: i64) -> Timestamp {
    Timestamp::now() - SignedDuration::from_hours(hours)
}

/// Flips a bit of an archive.
#[track_caller]
fn flip(site: &Site, file: &str, at: usize) {
    let mut bytes = std::fs::read(site.at(file)).unwrap();
    bytes[at] ^= 1;
    std::fs::write(site.at(file), bytes).unwrap();
}

/// Exit code 6 with this reason, in words, in JSON and for Nagios.
#[track_caller]
fn late(site: &Site, args: &[&str], reason: &str) {
    let run = site.verb("check").args(args);
    run.clone()
        .run()
        .code(6)
        .stderr_has(&format!("error: {}: {reason}", site.dir().display()));
    let document = run.clone().arg("-w=json").run().code(6).json();
    assert_eq!(document["ok"], false);
    assert!(text(&document["reason"]).starts_with(reason), "{document}");
    nagios(&run.run_nagios(), 2, "CRITICAL");
}

trait Nagios {
    fn run_nagios(self) -> Output;
}

impl Nagios for Rescue {
    fn run_nagios(self) -> Output {
        self.arg("--nagios").run()
    }
}

/// One line: `ETCD-RESCUE WORD - text | label=value[unit];warn;crit ...`. Gives the performance data.
#[track_caller]
fn nagios(output: &Output, code: i32, word: &str) -> Vec<(String, String)> {
    assert_eq!(output.code, Some(code), "{output}");
    let line = output.stdout_str();
    assert_eq!(line.matches('\n').count(), 1, "{output}");
    let start = format!("ETCD-RESCUE {word} - ");
    let rest = line
        .strip_prefix(&start)
        .unwrap_or_else(|| panic!("{start}: {output}"));
    let (said, data) = rest.trim_end().split_once('|').unwrap_or((rest, ""));
    assert!(!said.trim().is_empty() && !data.contains('|'), "{output}");
    let pair = |datum: &str| {
        let (label, value) = datum.split_once('=').expect("label=value");
        let number = value.split(';').next().unwrap();
        let number = number.trim_end_matches(['s', 'B']);
        assert!(number == "U" || number.parse::<f64>().is_ok(), "{datum}");
        for limit in value.split(';').skip(1) {
            assert!(limit.is_empty() || limit.parse::<f64>().is_ok(), "{datum}");
        }
        (label.to_owned(), value.to_owned())
    };
    data.split_whitespace().map(pair).collect()
}

#[test]
fn young_enough_or_not() {
    let (site, file) = with_one();
    let empty = Site::new();
    late(&empty, &[], "there is no backup");
    let data = nagios(&site.verb("check").run_nagios(), 0, "OK");
    let labels: Vec<&str> = data.iter().map(|(label, _)| label.as_str()).collect();
    let expected = [
        "age",
        "verified",
        "unverified",
        "damaged",
        "suspicious",
        "bytes",
    ];
    assert_eq!(labels, expected);
    assert!(data[0].1.ends_with("s;;93600"), "{data:?}");
    assert_eq!(data[1].1, "1");
    let document = site.verb("check").arg("-w=json").run().ok().json();
    assert_eq!(document["ok"], true);
    assert_eq!(
        (&document["newest"], &document["reason"]),
        (&json!(file), &Value::Null)
    );
    assert_eq!(document["totals"]["verified"], 1);

    site.redated(&file, "old.db.zst", hours_ago(30));
    std::fs::remove_file(site.at(&file)).unwrap();
    late(&site, &[], "none of 1 archives is a verified backup");
    site.verb("check")
        .args(["--full", "--max-age=31h"])
        .run()
        .ok()
        .stdout_has("30h");
    late(
        &site,
        &[],
        "the newest verified backup is 30h old, more than 26h",
    );
    site.verb("check").arg("--max-age=31h").run().ok();
    site.verb("check").arg("--max-age=29h").run().code(6);
    site.verb("check").arg("--max-age=2d").run().ok();
    late(
        &site,
        &["--max-age=1ns"],
        "the newest verified backup is 30h old, more than 1ns",
    );

    let missing = Rescue::new(["check", "nowhere"]).cwd(site.dir());
    missing.clone().run().code(1).stderr_has("nowhere");
    nagios(&missing.run_nagios(), 3, "UNKNOWN");
}

/// A plug-in is configured once and read by a machine: what is wrong with its line is neither OK nor critical.
#[test]
fn a_plug_in_that_is_called_wrongly_knows_nothing() {
    let site = Site::new();
    for words in [
        &["--max-age=foo"][..],
        &["--max-age=26"],
        &["--no-such-flag"],
        &["--sample=0"],
        &["--full", "--sample=1"],
        &["too-much"],
    ] {
        let output = site.verb("check").args(words).run_nagios();
        nagios(&output, 3, "UNKNOWN");
        // A person is told as ever.
        site.verb("check").args(words).run().code(2).stdout_is("");
    }
    nagios(&Rescue::new(["check"]).run_nagios(), 3, "UNKNOWN");
}

#[test]
fn what_is_of_the_future_proves_nothing() {
    let (site, file) = with_one();
    site.redated(&file, "tomorrow.db.zst", hours_ago(-24));
    std::fs::remove_file(site.at(&file)).unwrap();
    site.verb("check").arg("--full").run().code(6);
    late(
        &site,
        &["--max-age=24000h"],
        "every verified backup is dated in the future",
    );
    // One that is old is told to be old, with one of the future beside it.
    site.redated("tomorrow.db.zst", "old.db.zst", hours_ago(30));
    site.verb("check").arg("--full").run().code(6);
    late(&site, &[], "the newest verified backup is 30h old");
    site.verb("check").arg("--max-age=40h").run().ok();
}

#[test]
fn a_flipped_bit_in_an_old_one() {
    let (site, file) = with_one();
    for (name, hours) in [("one.db.zst", 10), ("two.db.zst", 20)] {
        site.redated(&file, name, hours_ago(hours));
    }
    let output = site.verb("check").arg("--full").run().ok();
    output.stdout_has("3 good, 0 damaged");
    flip(&site, "two.db.zst", 300);
    // What was recorded counts, until somebody reads the disk.
    site.verb("check").run().ok();
    site.verb("check")
        .arg("--full")
        .run()
        .code(3)
        .stdout_has("two.db.zst: ");
    let listed = site.listed("two.db.zst");
    assert!(listed["tags"].to_string().contains("damaged"), "{listed}");
    let at: Timestamp = text(&listed["damagedAt"]).parse().unwrap();
    assert!(Timestamp::now().duration_since(at) < SignedDuration::from_secs(60));
    let table = site.verb("list").arg("-w=table").run().ok();
    table.stdout_has(&format!("DAMAGED {}", at.strftime("%Y-%m-%dT")));
    let data = nagios(&site.verb("check").run_nagios(), 1, "WARNING");
    assert!(data.contains(&("damaged".into(), "1".into())), "{data:?}");
    site.verb("check").run().code(3);

    // The newest is gone, too: the one before it counts.
    flip(&site, &file, 300);
    let document = site
        .verb("check")
        .args(["--full", "-w=json"])
        .run()
        .code(3)
        .json();
    let bad: Vec<bool> = document["readings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|reading| reading["damage"].is_string())
        .collect();
    assert_eq!(bad.iter().filter(|bad| **bad).count(), 2, "{document}");
    assert_eq!(document["newest"], "one.db.zst");
    late(
        &site,
        &["--max-age=9h"],
        "the newest verified backup is 10h old",
    );
    let latest = site.verb("verify").arg("--latest").run().ok();
    latest.stderr_has("one.db.zst");

    // Every disk has a mood: what is whole again counts again.
    flip(&site, &file, 300);
    site.verb("check").arg("--full").run().code(3);
    assert_eq!(site.listed(&file)["damagedAt"], Value::Null);
    site.verb("check").arg("--max-age=9h").run().code(3);
}

#[test]
fn an_archive_that_lost_its_end_counts_no_more() {
    let (site, file) = with_one();
    site.redated(&file, "old.db.zst", hours_ago(30));
    site.verb("check").arg("--full").run().ok();
    let bytes = std::fs::read(site.at(&file)).unwrap();
    // In the middle of the data, with the end where it was in the file: seen without reading all of it.
    let hole = [&bytes[..200], &bytes[400..]].concat();
    for cut in [
        &bytes[..bytes.len() / 2],
        &bytes[..bytes.len() - 1],
        &hole,
        b"",
    ] {
        std::fs::write(site.at(&file), cut).unwrap();
        late(&site, &[], "the newest verified backup is 30h old");
    }
    // Whole as what is in it may be: whoever reads it again hears of it.
    std::fs::write(site.at(&file), &bytes[..bytes.len() - 1]).unwrap();
    let full = site.verb("check").arg("--full").run().code(6);
    full.stdout_has(&format!("DAMAGED             {file}"))
        .stdout_has("2, 1 good, 1 damaged");
}

/// From the disk and not from memory; and what the disk cannot give back is damage, what the machine cannot do is not.
#[test]
fn a_disk_that_cannot_read_an_archive_any_more() {
    let (site, file) = with_one();
    let full = site.verb("check").arg("--full");
    let (output, calls) = strace::trace(&full, "fadvise64,pread64", &[]);
    output.ok();
    let archive = site.at(&file);
    let mut ours = calls.iter().filter(|call| call.mentions(&archive));
    let dropped = ours.find(|call| call.is("fadvise64") && call.args.contains("DONTNEED"));
    assert!(dropped.is_some_and(|call| call.worked()), "{calls:?}");
    let read = ours.find(|call| call.is("pread64")).unwrap();
    // The directory is looked at on threads, which count their reads for themselves: they fail, too.
    strace::inject(&full, &[read.inject_from("error=ENOMEM")])
        .code(6)
        .stdout_has(&format!("NOT READ            {file}"))
        .stdout_has("0 good, 0 damaged, 1 not read")
        .stdout_has("Cannot allocate memory")
        .stderr_lacks("not there any more");
    // Nothing of it stays.
    site.verb("check").run().ok().stderr_is("");
    let disk = strace::inject(&full, &[read.inject_from("error=EIO")]).code(6);
    disk.stdout_has(&format!("DAMAGED             {file}"));
    site.verb("check")
        .run()
        .code(6)
        .stderr_has("none of 1 archives");
}

#[test]
fn a_sample_comes_to_all_of_them_in_turn() {
    let (site, file) = with_one();
    for name in ["one.db.zst", "two.db.zst"] {
        site.redated(
            &file,
            name,
            hours_ago(if name == "one.db.zst" { 1 } else { 2 }),
        );
    }
    let sample = |number: &str| -> Vec<String> {
        let run = site.verb("check").args(["--sample", number, "-w=json"]);
        let document = run.run().json();
        let readings = document["readings"].as_array().unwrap().iter();
        readings.map(|reading| text(&reading["file"])).collect()
    };
    // Those that nobody has proved first, then the one that was proved longest ago.
    let first = [sample("1"), sample("1")].concat();
    assert!(!first.contains(&file) && first[0] != first[1], "{first:?}");
    assert_eq!(sample("1"), [file.as_str()]);
    assert_eq!(sample("1"), [first[0].as_str()]);
    assert_eq!(sample("2"), [first[1].as_str(), &file]);
    assert_eq!(sample("9").len(), 3);
    let listed = site.listed(&first[0]);
    assert_eq!(listed["verifiedHow"], "check");
    // A damaged one has its turn like the others.
    let path = site.at(&first[0]);
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 4;
    bytes[middle] ^= 0x10;
    std::fs::write(&path, bytes).unwrap();
    site.verb("check").arg("--full").run().code(3);
    let turns = [sample("1"), sample("1"), sample("1")].concat();
    assert_eq!(turns.iter().filter(|it| **it == first[0]).count(), 1);
    site.verb("check")
        .args(["--sample=1", "--full"])
        .run()
        .code(2);
}
