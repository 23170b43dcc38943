//! Which of several members is asked, and what is said about them.

use std::time::{Duration, Instant};

use etcd_client::{AlarmAction, AlarmOptions, AlarmType};
use etcd_rescue::error::Kind;

use super::{CALL, CONNECT, failure, save, to};
use crate::util::cluster::Cluster;
use crate::util::etcd::Etcd;
use crate::util::fake::{Fake, Manners, Script};
use crate::util::fill;

per_version! {
    a_db_near_its_quota_is_told
    alarms_are_told
    a_follower_is_preferred_and_survivors_will_do
}

fn raise(server: &Etcd, alarm: AlarmType) {
    server.api().call(async |c| {
        let member = c.status().await?.header().expect("a header").member_id();
        let mut options = AlarmOptions::new();
        options.with_member(member);
        c.alarm(AlarmAction::Activate, alarm, Some(options)).await
    });
}

/// Since 3.6 a server says what its quota is.
fn a_db_near_its_quota_is_told(minor: &str) {
    const QUOTA: i64 = 20 << 20;
    /// After which a batch is committed, and counts.
    const BATCH: Duration = Duration::from_millis(100);
    let server = Etcd::new(minor).quota(QUOTA as u64).start();
    let mut api = server.api();
    let told = || save(to(&[&server.url()])).notices;
    assert_eq!(told(), "");
    for n in 0.. {
        if api.status().db_size() * 100 >= QUOTA * 80 {
            break;
        }
        api.put(format!("key-{n}"), fill::noise(n, 1_000_000));
        std::thread::sleep(BATCH + BATCH / 2);
    }
    let tells = !["3.4", "3.5"].contains(&minor);
    let notices = told();
    let found = notices.contains(&format!(" % of its quota of {QUOTA}: "));
    assert_eq!(found, tells, "{notices}");
}

fn alarms_are_told(minor: &str) {
    let server = Etcd::new(minor).name("full").start();
    fill::alarm(&mut server.api());
    let url = server.url();
    let saved = save(to(&[&url]));
    assert_eq!(
        saved.notices,
        format!(
            "{url} (full) has a NOSPACE alarm: its database has reached its quota, and the cluster refuses writes"
        )
    );
    assert_eq!(saved.survey.candidates[0].member.alarms[0].name, "NOSPACE");

    raise(&server, AlarmType::Corrupt);
    let saved = save(to(&[&url]));
    assert!(saved.notices.contains("NOSPACE"), "{}", saved.notices);
    for part in ["CORRUPT", "the only endpoint given"] {
        assert!(saved.warnings.contains(part), "{}", saved.warnings);
    }
    failure(to(&[&url, &url.replace("127.0.0.1", "localhost")]))
        .kind(Kind::Refused)
        .says("no member should be saved from")
        .says("it has a CORRUPT alarm")
        .hints("alone");
}

fn a_follower_is_preferred_and_survivors_will_do(minor: &str) {
    let mut cluster = Cluster::start(minor, 3);
    cluster.members[0].api().put("key", "value");
    let urls: Vec<String> = cluster.members.iter().map(Etcd::url).collect();
    let all: Vec<&str> = urls.iter().map(String::as_str).collect();
    let leader = cluster.leader();

    let saved = save(to(&all));
    let order: Vec<usize> = saved
        .survey
        .candidates
        .iter()
        .map(|c| c.member.index)
        .collect();
    assert_eq!((order.len(), order[2]), (3, leader), "{:?}", saved.survey);
    let chosen = &saved.survey.candidates[0];
    assert!(
        chosen.because.starts_with("follower, revision ")
            && chosen.because.ends_with(", 3 endpoints probed"),
        "{}",
        chosen.because
    );
    assert_eq!(chosen.member.name, Some(format!("m{}", order[0])));
    assert_eq!(saved.notices, "");

    // One down: the others are asked.
    cluster.members[leader].kill();
    let saved = save(to(&all));
    assert_eq!(saved.survey.candidates.len(), 2);
    assert_eq!(saved.survey.left_out[0].endpoint, urls[leader]);
    let told = format!("{} is left out: connection refused", urls[leader]);
    assert!(saved.notices.contains(&told), "{}", saved.notices);

    // The quorum is lost: what is left can still be saved, and soon.
    let last = (leader + 1) % 3;
    cluster.members[(leader + 2) % 3].kill();
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let start = Instant::now();
        let saved = save(to(&[&urls[last]]));
        assert!(start.elapsed() < CALL, "{:?}", start.elapsed());
        if saved.warnings.contains("sees no leader") {
            let because = &saved.survey.candidates[0].because;
            assert!(because.starts_with("sees no leader, revision"), "{because}");
            break;
        }
        assert!(Instant::now() < deadline, "{}", saved.warnings);
        std::thread::sleep(Duration::from_millis(200));
    }
    // Whoever names all of them is told the same.
    let saved = save(to(&all));
    let told = format!(
        "{} (m{last}) sees no leader: the cluster has lost",
        urls[last]
    );
    assert!(saved.warnings.starts_with(&told), "{}", saved.warnings);
}

#[test]
fn a_learner_is_left_out_unless_it_is_alone() {
    let server = Etcd::new("3.7").name("voter").start();
    let peer = crate::util::ports::free_url();
    server.api().call(async |c| {
        let options = etcd_client::MemberAddOptions::new().with_is_learner();
        c.member_add([peer.as_str()], Some(options)).await
    });
    let members = format!("voter={},learner={peer}", server.peer_url());
    let learner = Etcd::new("3.7")
        .name("learner")
        .peer_url(&peer)
        .initial_cluster(&members)
        .existing()
        .spawn();
    let deadline = Instant::now() + Duration::from_secs(20);
    let saved = loop {
        match super::try_save(to(&[&learner.url()])) {
            Ok(saved) => break saved,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    assert!(
        saved.warnings.contains("is a learner"),
        "{}",
        saved.warnings
    );
    let saved = save(to(&[&learner.url(), &server.url()]));
    assert_eq!(saved.survey.candidates.len(), 1);
    assert_eq!(saved.survey.candidates[0].member.index, 1);
    assert!(
        saved.notices.contains("left out: it is a learner"),
        "{}",
        saved.notices
    );
}

#[test]
fn the_silent_do_not_hold_up_the_others() {
    let good = Fake::start(Script::default());
    let cases = [
        (Manners::SilentTcp, CONNECT, "HTTP/2 got no answer"),
        (Manners::SilentCalls, CALL, "no answer within 4s"),
        (Manners::HangsUp, Duration::ZERO, "hung up"),
    ];
    for (manners, wait, why) in cases {
        let bad = Fake::with(manners);
        let start = Instant::now();
        let saved = save(to(&[&bad.endpoint(), &good.endpoint(), &bad.endpoint()]));
        // All are asked at once: two silent ones cost no more than one.
        let limit = wait + Duration::from_millis(1500);
        assert!(
            start.elapsed() < limit,
            "{manners:?}: {:?}",
            start.elapsed()
        );
        assert_eq!(saved.survey.candidates[0].member.index, 1);
        let left: Vec<_> = saved.survey.left_out.iter().map(|l| &l.because).collect();
        assert_eq!(left.len(), 2);
        assert!(left.iter().all(|l| l.contains(why)), "{left:?}");
    }
}

#[test]
fn what_members_say_decides() {
    let script = |member_id| Script {
        member_id,
        ..Script::default()
    };
    let leader = Fake::start(script(10));
    let lagging = Fake::start(Script {
        applied: 0,
        ..script(11)
    });
    let ahead = Fake::start(Script {
        applied: 5001,
        members: Vec::new(),
        ..script(12)
    });
    let saved = save(to(&[
        &leader.endpoint(),
        &lagging.endpoint(),
        &ahead.endpoint(),
    ]));
    let chosen = &saved.survey.candidates[0].member;
    assert_eq!((chosen.index, &chosen.name), (2, &None));
    assert!(
        saved
            .notices
            .contains("it lags: raft index 0 applied, 5001 behind"),
        "{}",
        saved.notices
    );

    let slow = Fake::start(Script {
        committed: 2000,
        ..script(11)
    });
    let saved = save(to(&[&slow.endpoint()]));
    assert!(
        saved
            .warnings
            .contains("(fake-b) is behind: it has applied raft entry 1000, and 2000 is committed"),
        "{}",
        saved.warnings
    );

    let stranger = Fake::start(Script {
        cluster_id: 0xbad,
        ..script(13)
    });
    failure(to(&[&leader.endpoint(), &stranger.endpoint()]))
        .kind(Kind::Refused)
        .says("different clusters")
        .says(&format!("{} to c1", leader.endpoint()))
        .says(&format!("{} to bad", stranger.endpoint()));
}
