//! Servers that stop, stall, lie or vanish: each is one clear error, exit code 5 to be, and in time.

use std::net::TcpListener;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use etcd_rescue::client::{Client, ConnectOptions, Password, Sink};
use etcd_rescue::error::{Error, Kind, Result};

use super::{CALL, CONNECT, IDLE, Memory, Watcher, failure, save, to, try_save};
use crate::util::certs::Ca;
use crate::util::etcd::Etcd;
use crate::util::fake::{self, Fake, Manners, Script, Step, message};
use crate::util::fill;
use crate::util::proxy::{Proxy, unix_to_tcp};
use crate::util::tls::Tls;

/// What two busy cores may add to a deadline.
const SLACK: Duration = Duration::from_millis(1500);
const SOON: Duration = Duration::from_millis(1500);

fn trusting(fake: &Fake, ca: &Ca) -> ConnectOptions {
    ConnectOptions {
        cacert: Some(ca.cert().into()),
        ..to(&[&fake.endpoint()])
    }
}

#[test]
fn the_fake_is_good_when_it_is_told_to_be() {
    let ca = Ca::new("the test CA");
    for tls in [None, Some(ca.server())] {
        let fake = Fake::start(Script {
            tls,
            ..Script::default()
        });
        let saved = save(trusting(&fake, &ca));
        assert_eq!(saved.image, fake::image());
        assert_eq!(saved.received.storage_version.as_deref(), Some("3.7.0"));
        let candidate = &saved.survey.candidates[0];
        assert_eq!(candidate.member.name.as_deref(), Some("fake-b"));
        assert_eq!(
            candidate.because,
            "follower, revision 308, the only endpoint given"
        );
    }
}

#[test]
fn nobody_there() {
    let port = {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        listener.local_addr().unwrap().port()
    };
    failure(to(&[&format!("http://127.0.0.1:{port}")]))
        .kind(Kind::Unreachable)
        .says("connection refused")
        .hints("is etcd running there")
        .within(SOON);
    failure(to(&["unix:/nowhere/at-all:1"]))
        .kind(Kind::Unreachable)
        .says("there is no such socket")
        .within(SOON);
    failure(to(&["https://no-such-host.invalid:2379"]))
        .kind(Kind::Unreachable)
        .says("no-such-host.invalid")
        .hints("address")
        .within(CONNECT + SLACK);
    // An address that answers nothing at all, or is refused by this machine's own routing.
    failure(to(&["http://192.0.2.1:2379"]))
        .kind(Kind::Unreachable)
        .within(CONNECT + SLACK);
}

#[test]
fn silence_at_every_stage() {
    let ca = Ca::new("the test CA");
    let silent = Fake::with(Manners::SilentTcp);
    failure(to(&[&silent.endpoint()]))
        .kind(Kind::Unreachable)
        .says("HTTP/2 got no answer within 2s")
        .hints("--dial-timeout")
        .within(CONNECT + SLACK);
    failure(to(&[&silent.endpoint().replace("http:", "https:")]))
        .kind(Kind::Unreachable)
        .says("the TLS handshake got no answer within 2s")
        .hints("--dial-timeout")
        .within(CONNECT + SLACK);
    let silent = Fake::start(Script {
        manners: Manners::SilentTls,
        tls: Some(ca.server()),
        ..Script::default()
    });
    failure(to(&[&silent.endpoint().replace("https:", "http:")]))
        .kind(Kind::Unreachable)
        .says("plaintext was tried, but this port speaks TLS")
        .within(SOON);
    failure(trusting(&silent, &ca))
        .kind(Kind::Unreachable)
        .says("HTTP/2 got no answer within 2s")
        .within(CONNECT + SLACK);
    let silent = Fake::with(Manners::SilentCalls);
    failure(to(&[&silent.endpoint()]))
        .kind(Kind::Unreachable)
        .says("could not ask for the status: no answer within 4s")
        .within(CALL + SLACK);
    failure(ConnectOptions {
        user: Some(("root".into(), Password("x".into()))),
        ..to(&[&silent.endpoint()])
    })
    .kind(Kind::Unreachable)
    .says("could not log in: no answer within 4s")
    .within(CALL + SLACK);
}

#[test]
fn a_frozen_server_is_a_silent_one() {
    let ca = Ca::new("the test CA");
    let server = Etcd::new("3.7")
        .tls(Tls::server_only(&ca.server(), ca.cert()))
        .start();
    server.freeze(true);
    failure(to(&[&server.url(), &server.url()]))
        .kind(Kind::Unreachable)
        .says("none of the 2 endpoints can be asked")
        .within(CONNECT + SLACK);
    failure(to(&[&server.endpoint()]))
        .kind(Kind::Unreachable)
        .says("TLS handshake got no answer")
        .within(CONNECT + SLACK);
    server.freeze(false);
    save(to(&[&server.url()]));
}

#[test]
fn what_is_no_etcd() {
    let fake = Fake::with(Manners::Http1);
    failure(to(&[&fake.endpoint()]))
        .kind(Kind::Unreachable)
        .says("this port answers in HTTP/1.1: HTTP/1.1 418 I")
        .hints("client port")
        .within(SOON);
    let fake = Fake::with(Manners::Babbles);
    failure(to(&[&fake.endpoint()]))
        .kind(Kind::Unreachable)
        .says("this is no HTTP/2 server; it said 220 mail.example")
        .within(SOON);
    failure(to(&[&fake.endpoint().replace("http:", "https:")]))
        .kind(Kind::Unreachable)
        .says("TLS was tried, but what came back is no TLS")
        .within(SOON);
    let fake = Fake::with(Manners::HangsUp);
    failure(to(&[&fake.endpoint()]))
        .kind(Kind::Unreachable)
        .says("hung up without an answer")
        .hints("https://")
        .within(SOON);
    failure(to(&[&fake.endpoint().replace("http:", "https:")]))
        .kind(Kind::Unreachable)
        .says("hung up during the TLS handshake")
        .hints("http://")
        .within(SOON);
    let fake = Fake::with(Manners::Proxy(503));
    failure(to(&[&fake.endpoint()]))
        .kind(Kind::Unreachable)
        .says("the answer is HTTP status 503 and not gRPC")
        .hints("proxy")
        .within(SOON);
    let fake = Fake::with(Manners::Proxy(404));
    failure(to(&[&fake.endpoint()]))
        .kind(Kind::Unreachable)
        .says("this is not etcd's v3 client API")
        .within(SOON);
    let fake = Fake::start(Script {
        status_fails: Some((12, "unknown service etcdserverpb.Maintenance")),
        ..Script::default()
    });
    failure(to(&[&fake.endpoint()]))
        .kind(Kind::Unreachable)
        .says("this is not etcd's v3 client API")
        .hints("2379")
        .within(SOON);
}

#[test]
fn streams_that_break_a_rule() {
    let image = fake::image();
    let good = fake::good(&image);
    let (messages, last) = (good.len(), image.len() as u64);
    let change = |at: usize, step: Step| {
        let mut steps = good.clone();
        steps[at] = step;
        steps
    };
    let without = |at: usize| {
        let mut steps = good.clone();
        steps.remove(at);
        steps
    };
    let plus = |step: Step| [good.clone(), vec![step]].concat();
    let trailer = messages - 1;
    let piece = &image[..32 << 10];
    let left = last - (32 << 10);
    for (steps, wanted) in [
        (vec![], "ended before its first message"),
        (vec![message(&[], last)], "an empty message came at byte 0"),
        (
            vec![good[0].clone(), Step::Forever(Vec::new(), left)],
            "an empty message came at byte 32768, with 167424 bytes remaining",
        ),
        (
            change(trailer, message(&[0; 32], 0)),
            "the SHA-256 of what came is",
        ),
        (
            change(1, message(piece, 134_656)),
            "the SHA-256 of what came is",
        ),
        (
            change(1, message(piece, 134_655)),
            "134655 bytes remain, but 134656 do",
        ),
        (
            change(0, message(piece, left - 1)),
            "a bbolt file is made of pages",
        ),
        (
            change(0, message(piece, left - 512)),
            "says that 134656 bytes remain, but 134144 do",
        ),
        (change(0, message(piece, u64::MAX)), "no disk could hold"),
        (
            change(trailer - 1, message(piece, 0)),
            "32768 bytes came where 3584 were left of 200192",
        ),
        (without(1), "at byte 65536"),
        (
            good[..3].to_vec(),
            "ended early: 98304 of 200192 bytes came",
        ),
        (
            without(trailer),
            "all 200192 bytes came, but not the SHA-256",
        ),
        (
            change(trailer, message(&[7; 31], 0)),
            "31 bytes where its SHA-256",
        ),
        (
            plus(good[trailer].clone()),
            "after the trailer came another message",
        ),
        (
            plus(message(&[], 0)),
            "after the trailer came another message",
        ),
    ] {
        let fake = Fake::sending(steps);
        failure(to(&[&fake.endpoint()]))
            .kind(Kind::Unreachable)
            .says(wanted)
            .says(&fake.endpoint())
            .within(SOON);
    }
}

#[test]
fn streams_that_break_off() {
    let good = fake::good(&fake::image());
    let then = |step: Step| [&good[..2], &[step]].concat();
    let so_far = "could not go on after 65536 of 200192 bytes";
    for (steps, wanted) in [
        (
            then(Step::Status(14, "etcdserver: server stopped")),
            "etcdserver: server stopped",
        ),
        (then(Step::Reset), "stream"),
        (then(Step::GoAway), ""),
        (then(Step::Cut), "the server closed the connection"),
        (
            vec![
                good[0].clone(),
                Step::PartOf(fake::snapshot(&[1; 32 << 10], 1, ""), 9000),
                Step::Cut,
            ],
            "after 32768 of 200192 bytes: the server closed the connection",
        ),
    ] {
        let shown = format!("{:?}", steps.last());
        let fake = Fake::sending(steps);
        let found = failure(to(&[&fake.endpoint()]))
            .kind(Kind::Unreachable)
            .says(wanted)
            .says("could not go on after")
            .within(SOON);
        println!("{}: {found}", &shown[..shown.len().min(40)]);
        assert!(
            found.text.contains(so_far) || wanted.contains("32768"),
            "{found}"
        );
    }
    let fake = Fake::sending(vec![Step::Status(7, "etcdserver: permission denied")]);
    failure(to(&[&fake.endpoint()]))
        .kind(Kind::Unreachable)
        .says("no permission to take a snapshot")
        .hints("root role");
}

#[test]
fn streams_that_stall() {
    let good = fake::good(&fake::image());
    let part = Step::PartOf(fake::snapshot(&[1; 32 << 10], 1, ""), 9000);
    let trickle = Step::Trickle {
        every: IDLE / 2,
        remaining: 512 - 1 + 1,
    };
    for (steps, after) in [
        (vec![Step::Stall], "0 bytes"),
        (vec![good[0].clone(), Step::Stall], "32768 of 200192 bytes"),
        (
            vec![good[0].clone(), part, Step::Stall],
            "32768 of 200192 bytes",
        ),
        (
            good[..good.len() - 1]
                .iter()
                .cloned()
                .chain([Step::Stall])
                .collect(),
            "200192 of 200192",
        ),
        (
            good.iter().cloned().chain([Step::Stall]).collect(),
            "200192 of 200192",
        ),
        (vec![trickle], "of 512 bytes"),
    ] {
        let fake = Fake::sending(steps);
        failure(to(&[&fake.endpoint()]))
            .kind(Kind::Unreachable)
            .says("the stream stalled: nothing came for 3s after")
            .says(after)
            .within(IDLE + SLACK);
    }
}

#[test]
fn a_connection_cut_anywhere() {
    let ca = Ca::new("the test CA");
    let tls = Tls::server_only(&ca.server(), ca.cert());
    let server = Etcd::new("3.7").tls(tls).start();
    fill::bulk(&mut server.api(), "cut/", 200, 10_000);
    let proxy = Proxy::before(server.port());
    let options = || ConnectOptions {
        cacert: Some(ca.cert().into()),
        ..to(&[&format!("https://127.0.0.1:{}", proxy.port())])
    };
    const ENOUGH: u64 = 1 << 40;
    proxy.cut_after(ENOUGH);
    let whole = save(options());
    let all = proxy.passed(ENOUGH);
    assert!(all > whole.received.image_bytes, "{all}");

    let image = whole.received.image_bytes;
    let early = [0, 1, 5, 700, 2000, 4000];
    let spread = (1..12).map(|i| all * i / 12 + i);
    // The last bytes are the trailer, the status and TLS's farewell: before the status it is an error.
    for limit in early.into_iter().chain(spread).chain([all - image / 100]) {
        proxy.cut_after(limit);
        let found = failure(options())
            .kind(Kind::Unreachable)
            .within(CONNECT + SLACK);
        let closed = [
            "hung up",
            "closed the connection",
            "connection broke",
            "ended early",
        ];
        assert!(
            closed.iter().any(|c| found.text.contains(c)),
            "cut after {limit}: {found}"
        );
    }
}

#[test]
fn a_unix_socket_with_tls_behind_it() {
    let ca = Ca::new("the test CA");
    let fake = Fake::start(Script {
        tls: Some(ca.server()),
        ..Script::default()
    });
    for name in ["127.0.0.1:2379", "etcd.sock"] {
        let socket = ca.dir().join(name);
        unix_to_tcp(&socket, fake.port());
        for scheme in ["unixs://", "unixs:", "unix:"] {
            save(ConnectOptions {
                cacert: Some(ca.cert().into()),
                ..to(&[&format!("{scheme}{}", socket.display())])
            });
        }
        failure(to(&[&format!("unix:{}", socket.display())]))
            .kind(Kind::Unreachable)
            .says("plaintext was tried, but this port speaks TLS")
            .hints(&format!("unixs:{}", socket.display()))
            .within(SOON);
    }
}

#[test]
fn a_signal_ends_any_wait() {
    let good = fake::good(&fake::image());
    for (script, stage) in [
        (
            Script {
                manners: Manners::SilentTcp,
                ..Script::default()
            },
            "connecting",
        ),
        (
            Script {
                manners: Manners::SilentCalls,
                ..Script::default()
            },
            "a call",
        ),
        (
            Script {
                snapshot: vec![good[0].clone(), Step::Stall],
                ..Script::default()
            },
            "the stream",
        ),
    ] {
        let fake = Fake::start(script);
        let client = Client::new(to(&[&fake.endpoint()])).unwrap();
        let watcher = Watcher::default();
        let mut stopped = Instant::now();
        let error = std::thread::scope(|scope| {
            let signal = scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(500));
                watcher.stop.store(true, Ordering::Relaxed);
                Instant::now()
            });
            let error = client
                .survey(&watcher)
                .and_then(|s| client.snapshot(&s.candidates[0], &mut Memory::default(), &watcher))
                .unwrap_err();
            stopped = signal.join().unwrap();
            error
        });
        assert_eq!(error.kind(), Kind::Interrupted, "{stage}: {error}");
        let took = stopped.elapsed();
        assert!(took < Duration::from_millis(400), "{stage}: {took:?}");
        let start = Instant::now();
        drop(client);
        assert!(start.elapsed() < Duration::from_millis(200), "{stage}");
    }
}

#[test]
fn the_sinks_own_errors_pass_through() {
    struct Full(u64);
    impl Sink for Full {
        fn begin(&mut self, total: u64) -> Result<()> {
            match total > self.0 {
                true => Err(Error::refused("too big").hint("make room")),
                false => Ok(()),
            }
        }
        fn chunk(&mut self, _bytes: &[u8]) -> Result<()> {
            Err(Error::failed("disk on fire"))
        }
    }
    let fake = Fake::start(Script::default());
    let client = Client::new(to(&[&fake.endpoint()])).unwrap();
    let watcher = Watcher::default();
    let survey = client.survey(&watcher).unwrap();
    for (room, kind, text) in [
        (1, Kind::Refused, "too big"),
        (u64::MAX, Kind::Failed, "disk on fire"),
    ] {
        let error = client
            .snapshot(&survey.candidates[0], &mut Full(room), &watcher)
            .unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (kind, text));
    }
}

#[test]
fn what_a_server_says_cannot_harm_a_terminal() {
    let fake = Fake::start(Script {
        version: "3.7\u{1b}[31m",
        members: vec![(11, "evil\u{1b}]0;name\u{7}")],
        errors: vec!["etcdserver: \u{1b}[2J"],
        ..Script::default()
    });
    let saved = save(to(&[&fake.endpoint()]));
    let told = format!("{:?} {}", saved.survey, saved.notices);
    assert!(told.contains("evil"), "{told}");
    assert!(
        !told.contains('\u{1b}') && !told.contains("\\u{1b}"),
        "{told}"
    );
    let fake = Fake::sending(vec![Step::Status(13, "%1B[31mred%0Aerror: forged")]);
    let Err(error) = try_save(to(&[&fake.endpoint()])) else {
        panic!("this worked");
    };
    let text = error.to_string();
    assert!(
        text.contains("red") && !text.contains(['\u{1b}', '\n']),
        "{text:?}"
    );
}

/// Blocks the one thread that there is, at the beginning.
struct Slow<'a>(&'a dyn Fn());

impl Sink for Slow<'_> {
    fn begin(&mut self, _total: u64) -> Result<()> {
        (self.0)();
        Ok(())
    }
    fn chunk(&mut self, _bytes: &[u8]) -> Result<()> {
        Ok(())
    }
}

/// Pings find out that a peer is dead before the stream's patience ends, and forgive one that was only away, or a disk
/// that was only slow.
#[test]
fn pings_while_streaming() {
    let server = Etcd::new("3.7").start();
    fill::bulk(&mut server.api(), "big/", 640, 100_000);
    let mut options = to(&[&server.url()]);
    options.keepalive_time = Duration::from_secs(2);
    options.keepalive_timeout = Duration::from_secs(3);
    options.deadlines.idle = Duration::from_secs(60);
    let client = Client::new(options).unwrap();
    let watcher = Watcher::default();
    let survey = client.survey(&watcher).unwrap();
    let save = |work: &dyn Fn()| client.snapshot(&survey.candidates[0], &mut Slow(work), &watcher);

    save(&|| std::thread::sleep(Duration::from_secs(14))).unwrap();

    std::thread::scope(|scope| {
        let away = |time| {
            server.freeze(true);
            let server = &server;
            scope.spawn(move || {
                std::thread::sleep(time);
                server.freeze(false);
            });
        };
        save(&|| away(Duration::from_millis(11_500))).unwrap();

        let start = Instant::now();
        let error = save(&|| away(Duration::from_secs(25))).unwrap_err();
        assert_eq!(error.kind(), Kind::Unreachable);
        assert!(
            error.to_string().contains("no answer to a ping"),
            "{:?} {error:?}",
            start.elapsed()
        );
        let took = start.elapsed();
        assert!((13..16).contains(&took.as_secs()), "{took:?}");
    });
}
