//! The program itself on servers that fail: exit code, one error, in time, and nothing left behind.

use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;

use super::{save, to};
use crate::util::certs::Ca;
use crate::util::etcd::Etcd;
use crate::util::fake::{self, Fake, Manners, Script, Step, message};
use crate::util::mount::Namespace;
use crate::util::process::Output;
use crate::util::proxy::Proxy;
use crate::util::run::Rescue;
use crate::util::{fill, temp_dir};

/// The image of a real database.
fn real_image() -> Vec<u8> {
    let server = Etcd::new("3.7").start();
    fill::bulk(&mut server.api(), "key/", 50, 2000);
    save(to(&[&server.url()])).image
}

fn run(dir: &Path, endpoints: &[&str]) -> Rescue {
    Rescue::new([
        "save",
        "--dial-timeout=1s",
        "--idle-timeout=1s",
        "--command-timeout=20s",
    ])
    .arg(format!("--endpoints={}", endpoints.join(",")))
    .arg("out.db")
    .cwd(dir)
}

/// What is in the directory, hidden files included.
fn listing(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    entries
        .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
        .collect()
}

#[track_caller]
fn fails(dir: &Path, endpoints: &[&str], code: i32, wanted: &str) -> Output {
    let output = run(dir, endpoints)
        .run()
        .code(code)
        .stdout_is("")
        .stderr_has(wanted)
        .within(Duration::from_secs(5));
    assert_eq!(listing(dir), Vec::<String>::new(), "{output}");
    let errors = output.stderr.lines().filter(|l| l.starts_with("error:"));
    assert_eq!(errors.count(), 1, "{output}");
    output
}

#[test]
fn every_failure_is_exit_5_and_leaves_nothing() {
    let dir = temp_dir();
    let ca = Ca::new("the test CA");
    let image = real_image();
    let good = fake::good(&image);
    let trailer = good.len() - 1;
    let wrong_hash = [&good[..trailer], &[message(&[1; 32], 0)]].concat();
    let half = |step: Step| [&good[..good.len() / 2], &[step]].concat();
    for (script, wanted) in [
        (
            Fake::with(Manners::SilentTcp),
            "HTTP/2 got no answer within 1s",
        ),
        (Fake::with(Manners::HangsUp), "hung up without an answer"),
        (
            Fake::start(Script {
                tls: Some(ca.server()),
                ..Script::default()
            }),
            "no --cacert was given",
        ),
        (Fake::sending(wrong_hash), "the SHA-256 of what came is"),
        (
            Fake::sending(half(Step::Stall)),
            "the stream stalled: nothing came for 1s",
        ),
        (
            Fake::sending(half(Step::Cut)),
            "the server closed the connection",
        ),
        (
            Fake::sending(half(Step::Forever(Vec::new(), 512))),
            "an empty message came",
        ),
        (
            Fake::sending(half(Step::Status(14, "etcdserver: stopped"))),
            "etcdserver: stopped",
        ),
        (
            Fake::sending(good[..trailer].to_vec()),
            "but not the SHA-256",
        ),
    ] {
        fails(dir.path(), &[&script.endpoint()], 5, wanted);
    }
    // Sound on the way, but no database.
    let noise = Fake::start(Script::default());
    fails(dir.path(), &[&noise.endpoint()], 3, "damaged");
    // A disk that no snapshot of this size fits on.
    let huge = Fake::sending(vec![message(&[0; 512], 1 << 60), Step::Stall]);
    fails(dir.path(), &[&huge.endpoint()], 4, "not enough space")
        .stderr_has("hint: free some space, or save to another place");
    Rescue::new(["save", "-", "--endpoints", &huge.endpoint()])
        .run()
        .code(4)
        .stdout_is("")
        .stderr_has("not enough space")
        .stderr_has("hint: point TMPDIR at a directory with more room");
}

#[test]
fn what_goes_to_a_pipe_is_kept_where_there_is_room() {
    let server = Etcd::new("3.7").start();
    fill::bulk(&mut server.api(), "key/", 50, 50_000);
    let small = temp_dir();
    let namespace = Namespace::tmpfs(small.path(), "1m");
    let save = Rescue::new(["save", "-", "--endpoints", &server.url()]);
    let output = namespace.run(&save.env("TMPDIR", small.path())).code(0);
    assert!(output.stdout.len() > 2 << 20, "{}", output.stdout.len());
    assert_eq!(
        std::fs::read_dir(namespace.outside(small.path()))
            .unwrap()
            .count(),
        0
    );
}

#[test]
fn progress_tells_what_is_being_done() {
    let image = real_image();
    let bytes = image.len() as u64;
    let server = Fake::sending(fake::good(&image));
    let dir = temp_dir();
    for (out, after) in [
        ("out.db", None),
        ("out.db.zst", None),
        ("-", Some("writing")),
    ] {
        let output = Rescue::new(["save", "--progress=json", out])
            .arg(format!("--endpoints={}", server.endpoint()))
            .cwd(dir.path())
            .run()
            .code(0);
        let lines = output.stderr.lines().filter(|line| line.starts_with('{'));
        let finished: Vec<serde_json::Value> = lines
            .map(|line| serde_json::from_str(line).unwrap())
            .filter(|line: &serde_json::Value| line["finished"] == true)
            .collect();
        let stages: Vec<_> = finished.iter().map(|line| &line["stage"]).collect();
        let mut wanted = vec!["streaming", "checking", "syncing"];
        wanted.extend(after);
        assert_eq!(stages, wanted, "{output}");
        for stage in &finished[..2] {
            assert_eq!(stage["total"], bytes, "{output}");
            let done = stage["bytes"].as_u64().unwrap();
            assert!(done <= bytes && done >= bytes / 2, "{output}");
        }
        assert_eq!(finished[0]["bytes"], bytes, "{output}");
    }
}

#[test]
fn what_may_cost_data_is_a_warning() {
    let dir = temp_dir();
    let corrupt = Fake::start(Script {
        errors: vec!["memberID:11 alarm:CORRUPT"],
        leader: 0,
        ..Script::default()
    });
    let label = format!("{} (fake-b)", corrupt.endpoint());
    fails(dir.path(), &[&corrupt.endpoint()], 3, "damaged")
        .stderr_has(&format!(
            "warning: {label} has a CORRUPT alarm: its data differs"
        ))
        .stderr_has(&format!("warning: {label} sees no leader"))
        .stderr_lacks("WARNING");
}

#[test]
fn the_next_member_is_asked_when_one_fails_half_way() {
    let image = real_image();
    let good = fake::good(&image);
    let whole = Fake::start(Script {
        member_id: 12,
        applied: 900,
        snapshot: good.clone(),
        ..Script::default()
    });
    for step in [
        Step::Cut,
        Step::Stall,
        Step::Reset,
        Step::Forever(Vec::new(), 512),
    ] {
        let dir = temp_dir();
        // Ahead of the other, so it is asked first.
        let broken = Fake::sending([&good[..2], &[step]].concat());
        run(dir.path(), &[&whole.endpoint(), &broken.endpoint()])
            .run()
            .code(0)
            .stderr_has(&format!("{}: ", broken.endpoint()))
            .stderr_has(&format!("trying {} next", whole.endpoint()))
            .stdout_has(&whole.endpoint());
        let file = std::fs::read(dir.path().join("out.db")).unwrap();
        assert_eq!(file.len(), image.len() + 32);
        assert!(file.starts_with(&image));
        assert_eq!(listing(dir.path()), ["out.db"]);
    }
}

#[test]
fn a_connection_cut_anywhere_leaves_nothing() {
    let server = Etcd::new("3.7").start();
    fill::bulk(&mut server.api(), "cut/", 100, 10_000);
    let proxy = Proxy::before(server.port());
    let url = format!("http://127.0.0.1:{}", proxy.port());
    let dir = temp_dir();
    const ENOUGH: u64 = 1 << 40;
    proxy.cut_after(ENOUGH);
    run(dir.path(), &[&url]).run().code(0);
    std::fs::remove_file(dir.path().join("out.db")).unwrap();
    let all = proxy.passed(ENOUGH);
    for limit in [0, 20, 400].into_iter().chain((1..8).map(|i| all * i / 8)) {
        proxy.cut_after(limit);
        fails(dir.path(), &[&url], 5, &url);
    }
}

#[test]
fn a_signal_in_mid_stream_leaves_nothing() {
    let image = real_image();
    let half = [&fake::good(&image)[..2], &[Step::Stall]].concat();
    let server = Fake::sending(half);
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let dir = temp_dir();
        let running = run(dir.path(), &[&server.endpoint()])
            .args(["--idle-timeout=60s", "--command-timeout=60s"])
            .spawn();
        std::thread::sleep(Duration::from_millis(500));
        running.send(signal);
        running
            .wait(Duration::from_secs(5))
            .signal(signal.as_raw())
            .within(Duration::from_secs(2));
        assert_eq!(listing(dir.path()), Vec::<String>::new());
    }
}
