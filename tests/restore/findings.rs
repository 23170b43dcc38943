//! What a good input has in it that a person should know is said to them, whatever is made of it.

use super::Place;
use crate::util::fake::{self, Fake};
use crate::util::process::Output;
use crate::util::run::{Rescue, rescue};

/// With a NOSPACE alarm, auth on, and a learner.
const RICH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/rich-3.7.db");

const FINDINGS: [&str; 3] = [
    "warning: NAME: bucket alarm: alarm NOSPACE of member f96b36ef9c15ecec is set; restore drops it\n",
    "note: NAME: bucket auth: auth is on: users (2) and roles (1) come with the snapshot, passwords included\n",
    "note: NAME: bucket members: member 89a0d49ecda754c2 is a learner\n",
];

/// They are on standard error, unless the document on standard output has them.
#[track_caller]
fn told(output: Output, format: &str, name: &str) {
    let output = output.ok();
    let expected = match format {
        "json" => String::new(),
        _ => FINDINGS.concat().replace("NAME", name),
    };
    assert_eq!(output.stderr, expected, "{output}");
    if format == "json" {
        output.stdout_has("alarm NOSPACE of member");
    }
}

#[test]
fn what_was_found_in_a_good_input_is_told() {
    for format in ["simple", "table", "fields", "json"] {
        let place = Place::new();
        let at = |name: &str| place.root().join(name).display().to_string();
        for flags in [&["-w", format, "--dry-run"][..], &["-w", format]] {
            // The peer URL of the old member, or there would be more to say.
            let url = "m1=http://127.0.0.1:32380";
            let run = place.restore_of(RICH, flags).args(["--name", "m1"]);
            told(run.args(["--initial-cluster", url]).run(), format, RICH);
        }
        let archive = at("rich.db.zst");
        told(rescue(["pack", "-w", format, RICH, &archive]), format, RICH);
        let unpacked = rescue(["unpack", "-w", format, &archive, &at("rich.db")]);
        told(unpacked, format, &archive);

        let bytes = std::fs::read(RICH).unwrap();
        let server = Fake::sending(fake::good(&bytes[..bytes.len() - 32]));
        let endpoint = server.endpoint();
        let saved = at("saved.db");
        let save = ["save", "--endpoints", &endpoint, "-w", format, &saved];
        told(rescue(save), format, &saved);
    }
}

/// A db that is read in part says nothing of the log beside it: not that all of that is lost.
#[test]
fn a_damaged_db_is_not_compared_with_its_wal() {
    let place = Place::new();
    place.restore_of(RICH, &[]).run().ok();
    let db = place.member().join("snap/db");
    let mut bytes = std::fs::read(&db).unwrap();
    let root = 2 * 4096;
    bytes[root..].fill(0);
    std::fs::write(&db, bytes).unwrap();
    let data = place.data().display().to_string();
    rescue(["verify", "--raw", &data])
        .code(3)
        .stderr_has("cannot be told: no consistent_index was read")
        .stderr_lacks("entries that may change data");
}

/// Nobody hears of it: then at least that it was done.
#[test]
fn an_answer_that_cannot_be_written_does_not_undo_the_work() {
    let place = Place::new();
    let full = || {
        std::fs::File::options()
            .write(true)
            .open("/dev/full")
            .unwrap()
    };
    let told = |run: Rescue, whole: &std::path::Path, does: bool| {
        let output = run.command().stdout(full()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(
            said.contains("error: cannot write to standard output"),
            "{said}"
        );
        let whole = format!("done all the same: {} is whole", whole.display());
        assert_eq!(said.contains(&whole), does, "{said}");
    };
    told(place.restore(&["--dry-run"]), &place.member(), false);
    told(place.restore(&[]), &place.member(), true);
    assert!(place.member().join("snap/db").exists());

    let bytes = std::fs::read(RICH).unwrap();
    let server = Fake::sending(fake::good(&bytes[..bytes.len() - 32]));
    let saved = place.root().join("saved.db");
    let save = Rescue::new(["save", "--endpoints", &server.endpoint()]);
    told(save.arg(&saved), &saved, true);
    assert_eq!(std::fs::read(&saved).unwrap(), bytes);

    let (archive, back) = (place.root().join("x.zst"), place.root().join("x.db"));
    let two = |verb: &str, from: &std::path::Path, to: &std::path::Path| {
        Rescue::new([verb]).arg(from).arg(to)
    };
    told(two("pack", &saved, &archive), &archive, true);
    told(two("unpack", &archive, &back), &back, true);
    assert_eq!(std::fs::read(&back).unwrap(), bytes);
}
