//! Which member to ask for a snapshot, and why: a decision over what the members said, without any I/O.
//!
//! With several endpoints, a member is left out when it
//!
//! 1. could not be reached or did not answer,
//! 2. is a learner (it may be far behind, and nobody waits for it),
//! 3. has a CORRUPT alarm (or the alarm names no member: then all are suspect),
//! 4. sees no leader while another one does (it is cut off),
//! 5. lags: its applied raft index is more than [`LAG`] behind the best one.
//!
//! Of the rest a follower is preferred, because streaming a snapshot costs the leader time that writes need, unless it is
//! more than [`SLACK`] behind; among equals the one that has applied most, then the order in which they were typed.
//!
//! With exactly one endpoint there is nothing to choose: the operator has. Whatever speaks against the one that is taken
//! is reported, however it came to be the one: that is all there is, or nobody was better.

use super::endpoint::Endpoint;
use super::survey::{Alarm, Candidate, LeftOut, Member, Survey};
use crate::error::{Error, Result};

/// How far behind, in raft entries, a member may be. Statuses are taken at the same moment but not at the same instant;
/// etcd itself stops accepting writes when the applied index is 5000 behind the committed one
/// (`etcd-io/etcd server/etcdserver/v3_server.go` maxGapBetweenApplyAndCommitIndex, v3.7.1).
pub const LAG: u64 = 5000;

/// How far behind, in raft entries, a member may seem without a word: about what a busy cluster writes between the first
/// status and the last.
const SLACK: u64 = 500;

/// Decides. `answers` has one entry for each endpoint.
///
/// [`crate::error::Kind::Unreachable`] when nobody answered, [`crate::error::Kind::Refused`] when the endpoints belong to
/// different clusters or when those that answered had better not be saved from.
pub fn rank(endpoints: &[Endpoint], answers: Vec<Result<Member>>) -> Result<Survey> {
    let probed = answers.len();
    let (members, left_out, errors) = sort_out(endpoints, answers);
    if members.is_empty() {
        return Err(nobody(errors));
    }
    same_cluster(&members)?;
    let mut notices = notices(&members);
    let corrupt = corrupt(&members);
    let committed = members.iter().map(Member::committed).max().unwrap_or(0);
    let (chosen, left_out, why) = match probed {
        1 => (members, left_out, "the only endpoint given".to_owned()),
        _ => {
            let (good, left_out) = choose(members, left_out, &corrupt)?;
            (good, left_out, format!("{probed} endpoints probed"))
        }
    };
    let left_out: Vec<LeftOut> = left_out.into_iter().map(|(_, left)| left).collect();
    notices.extend(
        left_out
            .iter()
            .map(|left| format!("{} is left out: {}", left.endpoint, left.because)),
    );
    let first = chosen.first();
    Ok(Survey {
        warnings: first.map_or(Vec::new(), |first| doubts(first, &corrupt, committed)),
        candidates: chosen
            .into_iter()
            .map(|member| candidate(member, committed, &why))
            .collect(),
        left_out,
        notices,
    })
}

/// Of several: those that can be saved from, best first, and all others, in the order in which they were typed.
fn choose(
    members: Vec<Member>,
    mut left_out: Left,
    corrupt: &[u64],
) -> Result<(Vec<Member>, Left)> {
    let someone_sees_a_leader = members.iter().any(|m| m.leader != 0);
    // Of equals the one typed first: max_by_key takes the last.
    let best = members.iter().rev();
    let best = best.max_by_key(|m| m.raft_applied_index).cloned();
    let most_applied = best.as_ref().map_or(0, |best| best.raft_applied_index);
    let mut good = Vec::new();
    for member in members {
        match objection(&member, corrupt, someone_sees_a_leader, best.as_ref()) {
            Some(because) => left_out.push((
                member.index,
                LeftOut {
                    endpoint: member.endpoint,
                    because,
                },
            )),
            None => good.push(member),
        }
    }
    left_out.sort_by_key(|(index, _)| *index);
    if good.is_empty() {
        return Err(none_good(&left_out));
    }
    good.sort_by_key(|m| {
        (
            m.behind(most_applied) > SLACK,
            m.is_leader(),
            std::cmp::Reverse(m.raft_applied_index),
            m.index,
        )
    });
    Ok((good, left_out))
}

/// Each with its place among the endpoints.
type Left = Vec<(usize, LeftOut)>;

type SortedOut = (Vec<Member>, Left, Vec<Error>);

fn sort_out(endpoints: &[Endpoint], answers: Vec<Result<Member>>) -> SortedOut {
    let (mut members, mut left_out, mut errors) = (Vec::new(), Vec::new(), Vec::new());
    for (index, (endpoint, answer)) in endpoints.iter().zip(answers).enumerate() {
        match answer {
            Ok(member) => members.push(member),
            Err(error) => {
                let left = LeftOut {
                    endpoint: endpoint.to_string(),
                    because: because(endpoint, &error),
                };
                left_out.push((index, left));
                errors.push(error);
            }
        }
    }
    (members, left_out, errors)
}

/// Why an endpoint did not answer, without its name.
pub(super) fn because(endpoint: &Endpoint, error: &Error) -> String {
    let text = error.to_string();
    let rest = text.strip_prefix(&format!("{endpoint}: "));
    rest.unwrap_or(&text).to_owned()
}

fn candidate(member: Member, committed: u64, why: &str) -> Candidate {
    let behind = match member.behind(committed) {
        0..=SLACK => String::new(),
        behind => format!("{behind} raft entries behind, "),
    };
    let because = format!(
        "{}, revision {}, {behind}{why}",
        member.role(),
        member.revision
    );
    Candidate { member, because }
}

/// Nobody answered: one error says it itself; several are told one after the other.
fn nobody(mut errors: Vec<Error>) -> Error {
    if errors.len() == 1
        && let Some(error) = errors.pop()
    {
        return error;
    }
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    let hint = errors.iter().find_map(|error| error.hint_text());
    let error = Error::unreachable(format!(
        "none of the {} endpoints can be asked: {}",
        texts.len(),
        texts.join("; ")
    ));
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// Somebody answered, but everybody had something against them.
fn none_good(left_out: &[(usize, LeftOut)]) -> Error {
    let texts: Vec<String> = left_out
        .iter()
        .map(|(_, left)| format!("{}: {}", left.endpoint, left.because))
        .collect();
    Error::refused(format!(
        "no member should be saved from: {}",
        texts.join("; ")
    ))
    .hint("to take it from one of them all the same, give that endpoint alone")
}

/// Two clusters in one `--endpoints`: whichever we took, it would be the wrong one for somebody.
fn same_cluster(members: &[Member]) -> Result<()> {
    let Some(first) = members.first() else {
        return Ok(());
    };
    match members.iter().find(|m| m.cluster_id != first.cluster_id) {
        None => Ok(()),
        Some(other) => Err(Error::refused(format!(
            "the endpoints belong to different clusters: {} to {:x}, {} to {:x}",
            first.endpoint, first.cluster_id, other.endpoint, other.cluster_id
        ))
        .hint("give the endpoints of one cluster")),
    }
}

/// Ids with a CORRUPT alarm, whoever reported it.
fn corrupt(members: &[Member]) -> Vec<u64> {
    let alarms = members.iter().flat_map(|m| &m.alarms);
    alarms
        .filter(|alarm| alarm.name == "CORRUPT")
        .map(|alarm| alarm.member_id)
        .collect()
}

fn is_corrupt(member: &Member, corrupt: &[u64]) -> bool {
    corrupt.iter().any(|id| *id == 0 || *id == member.member_id)
}

/// What speaks against a member when there are others.
fn objection(
    member: &Member,
    corrupt: &[u64],
    someone_sees_a_leader: bool,
    best: Option<&Member>,
) -> Option<String> {
    if is_corrupt(member, corrupt) {
        return Some("it has a CORRUPT alarm".into());
    }
    if member.is_learner {
        return Some("it is a learner, which may be behind".into());
    }
    if member.leader == 0 && someone_sees_a_leader {
        return Some("it sees no leader, though another member does: it is cut off".into());
    }
    let best = best?;
    let behind = member.behind(best.raft_applied_index);
    (behind > LAG).then(|| {
        format!(
            "it lags: raft index {} applied, {behind} behind {}",
            member.raft_applied_index, best.endpoint
        )
    })
}

/// What speaks against the one that is taken all the same. `committed` is the last raft entry that anybody has heard of.
fn doubts(member: &Member, corrupt: &[u64], committed: u64) -> Vec<String> {
    let mut found = Vec::new();
    let label = member.label();
    if is_corrupt(member, corrupt) {
        found.push(format!(
            "{label} has a CORRUPT alarm: its data differs from the other members'. It is the only endpoint given, so the snapshot is taken from it; compare it with one from another member"
        ));
    }
    if member.is_learner {
        found.push(format!(
            "{label} is a learner: its data may be behind the other members'"
        ));
    }
    if member.leader == 0 {
        found.push(format!(
            "{label} sees no leader: the cluster has lost its quorum, or this member is cut off; what the others have committed since may be missing"
        ));
    }
    if member.behind(committed) > SLACK {
        found.push(format!(
            "{label} is behind: it has applied raft entry {}, and {committed} is committed; what lies between may be missing",
            member.raft_applied_index
        ));
    }
    found
}

/// What every member may have to say, each once.
fn notices(members: &[Member]) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut alarms: Vec<&Alarm> = Vec::new();
    for alarm in members.iter().flat_map(|m| &m.alarms) {
        if !alarms.contains(&alarm) {
            alarms.push(alarm);
        }
    }
    for alarm in alarms {
        let who = match members.iter().find(|m| m.member_id == alarm.member_id) {
            Some(member) => member.label(),
            None if alarm.member_id == 0 => "a member that is not named".into(),
            None => format!("member {:x}", alarm.member_id),
        };
        found.push(match alarm.name.as_str() {
            "NOSPACE" => format!(
                "{who} has a NOSPACE alarm: its database has reached its quota, and the cluster refuses writes"
            ),
            name => format!("{who} has a {name} alarm"),
        });
    }
    for member in members {
        found.extend(nearly_full(member));
        for complaint in &member.complaints {
            found.push(format!("{} reports: {complaint}", member.label()));
        }
    }
    found
}

/// A db that is about to reach its quota: more than four fifths of it, and no alarm yet.
fn nearly_full(member: &Member) -> Option<String> {
    let (size, quota) = (member.db_size, member.db_size_quota?);
    let percent = u128::from(size) * 100 / u128::from(quota.max(1));
    let told = member.alarms.iter().any(|alarm| alarm.name == "NOSPACE");
    (percent >= 80 && !told).then(|| {
        format!(
            "the database of {} has {size} bytes, {percent} % of its quota of {quota}: at its quota, the cluster refuses writes",
            member.label()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    fn member(index: usize, applied: u64) -> Member {
        Member {
            endpoint: format!("h{index}:1"),
            index,
            member_id: 10 + index as u64,
            name: Some(format!("m{index}")),
            cluster_id: 0xc1,
            version: "3.7.1".into(),
            leader: 10,
            is_learner: false,
            revision: 308,
            raft_term: 2,
            raft_index: applied,
            raft_applied_index: applied,
            db_size: 0,
            db_size_in_use: 0,
            db_size_quota: None,
            alarms: Vec::new(),
            complaints: Vec::new(),
        }
    }

    fn survey(answers: Vec<Result<Member>>) -> Result<Survey> {
        let endpoints: Vec<Endpoint> = (0..answers.len())
            .map(|i| Endpoint::parse(&format!("h{i}:1"), false).unwrap())
            .collect();
        rank(&endpoints, answers)
    }

    fn order(survey: &Survey) -> Vec<usize> {
        survey.candidates.iter().map(|c| c.member.index).collect()
    }

    fn alarm(name: &str, member_id: u64) -> Alarm {
        Alarm {
            member_id,
            name: name.into(),
        }
    }

    #[test]
    fn a_follower_before_the_leader_and_the_most_applied_first() {
        let found = survey(vec![
            Ok(member(0, 100)),
            Ok(member(1, 98)),
            Ok(member(2, 99)),
        ])
        .unwrap();
        assert_eq!(order(&found), [2, 1, 0]);
        assert_eq!(
            found.candidates[0].because,
            "follower, revision 308, 3 endpoints probed"
        );
        assert!(found.candidates[2].because.starts_with("leader"));
        assert_eq!(found.notices, Vec::<String>::new());
    }

    #[test]
    fn who_is_left_out_and_why() {
        let mut learner = member(1, 9000);
        learner.is_learner = true;
        let mut cut_off = member(2, 8999);
        cut_off.leader = 0;
        let lagging = member(3, 3999);
        let mut reporter = member(4, 4000);
        reporter.alarms = vec![alarm("CORRUPT", 15), alarm("NOSPACE", 10)];
        let corrupt = member(5, 9000);
        let found = survey(vec![
            Ok(member(0, 9000)),
            Ok(learner),
            Ok(cut_off),
            Ok(lagging),
            Ok(reporter),
            Ok(corrupt),
            Err(Error::unreachable("h6:1: connection refused")),
        ])
        .unwrap();
        assert_eq!(order(&found), [0, 4]);
        let told: Vec<_> = found
            .left_out
            .iter()
            .map(|l| format!("{} {}", l.endpoint, l.because))
            .collect();
        assert_eq!(
            told,
            [
                "h1:1 it is a learner, which may be behind",
                "h2:1 it sees no leader, though another member does: it is cut off",
                "h3:1 it lags: raft index 3999 applied, 5001 behind h0:1",
                "h5:1 it has a CORRUPT alarm",
                "h6:1 connection refused",
            ]
        );
        let all = found.notices.join("\n");
        assert!(all.contains("h0:1 (m0) has a NOSPACE alarm"), "{all}");
        assert!(all.contains("h5:1 (m5) has a CORRUPT alarm"), "{all}");
        assert!(
            all.contains("h6:1 is left out: connection refused"),
            "{all}"
        );
    }

    #[test]
    fn the_only_endpoint_is_taken_with_a_word() {
        let mut doubtful = member(0, 5);
        doubtful.is_learner = true;
        doubtful.leader = 0;
        doubtful.alarms = vec![alarm("CORRUPT", 0)];
        let found = survey(vec![Ok(doubtful)]).unwrap();
        assert_eq!(order(&found), [0]);
        let all = found.warnings.join("\n");
        for word in ["(m0) has a CORRUPT alarm", "learner", "sees no leader"] {
            assert!(all.contains(word), "{word}: {all}");
        }
    }

    #[test]
    fn without_a_quorum_the_most_applied_is_taken_with_a_warning() {
        let down = || Err(Error::unreachable("h2:1: refused"));
        let leaderless = |index, applied| Member {
            leader: 0,
            ..member(index, applied)
        };
        for (answers, taken) in [
            (
                vec![Ok(leaderless(0, 5)), Ok(leaderless(1, 7))],
                "h1:1 (m1)",
            ),
            (vec![down(), Ok(leaderless(1, 5)), down()], "h1:1 (m1)"),
            (vec![Ok(leaderless(0, 5))], "h0:1 (m0)"),
        ] {
            let found = survey(answers).unwrap();
            let all = found.warnings.join("\n");
            assert!(
                all.starts_with(&format!(
                    "{taken} sees no leader: the cluster has lost its quorum"
                )),
                "{all}"
            );
            assert_eq!(found.warnings.len(), 1, "{all}");
        }
        let found = survey(vec![Ok(member(0, 5)), Ok(leaderless(1, 7))]).unwrap();
        assert_eq!(found.warnings, Vec::<String>::new());
    }

    #[test]
    fn an_up_to_date_leader_before_a_follower_that_is_behind() {
        let found = survey(vec![Ok(member(0, 5000)), Ok(member(1, 4400))]).unwrap();
        assert_eq!(order(&found), [0, 1]);
        assert_eq!(found.warnings, Vec::<String>::new());
        assert_eq!(
            found.candidates[1].because,
            "follower, revision 308, 600 raft entries behind, 2 endpoints probed"
        );
        // Little is nothing: the statuses are not of one instant.
        let found = survey(vec![Ok(member(0, 5000)), Ok(member(1, 4900))]).unwrap();
        assert_eq!(order(&found), [1, 0]);
    }

    #[test]
    fn what_a_member_has_yet_to_apply_is_told() {
        let slow = |index| Member {
            raft_index: 1600,
            ..member(index, 1000)
        };
        for answers in [vec![Ok(slow(1))], vec![Ok(slow(1)), Ok(slow(2))]] {
            let found = survey(answers).unwrap();
            let [told] = found.warnings.as_slice() else {
                panic!("{found:?}");
            };
            assert!(
                told.contains("has applied raft entry 1000, and 1600 is committed"),
                "{told}"
            );
        }
    }

    #[test]
    fn a_db_near_its_quota_is_told_before_the_alarm_is() {
        let told = |size, quota, alarms: &[&str]| {
            let member = Member {
                db_size: size,
                db_size_quota: quota,
                alarms: alarms.iter().map(|name| alarm(name, 10)).collect(),
                ..member(0, 5)
            };
            let notices = survey(vec![Ok(member)]).unwrap().notices;
            notices.iter().any(|notice| notice.contains("quota of"))
        };
        assert!(!told(1000, None, &[]));
        assert!(!told(799, Some(1000), &[]));
        assert!(told(800, Some(1000), &[]));
        assert!(!told(1000, Some(1000), &["NOSPACE"]));
    }

    #[test]
    fn two_clusters_are_refused_by_name() {
        let mut other = member(1, 5);
        other.cluster_id = 0xbad;
        let error = survey(vec![Ok(member(0, 5)), Ok(other)]).unwrap_err();
        assert_eq!(error.kind(), Kind::Refused);
        let text = error.to_string();
        assert!(
            text.contains("h0:1 to c1") && text.contains("h1:1 to bad"),
            "{text}"
        );
    }

    #[test]
    fn when_nobody_is_good() {
        let down = |i| Err(Error::unreachable(format!("h{i}:1: refused")).hint("start it"));
        let error = survey(vec![down(0), down(1)]).unwrap_err();
        assert_eq!(error.kind(), Kind::Unreachable);
        assert!(error.to_string().contains("h0:1: refused; h1:1: refused"));
        assert_eq!(error.hint_text(), Some("start it"));

        let mut corrupt = member(1, 5);
        corrupt.alarms = vec![alarm("CORRUPT", 11)];
        let error = survey(vec![down(0), Ok(corrupt)]).unwrap_err();
        assert_eq!(error.kind(), Kind::Refused);
        assert!(error.to_string().contains("h1:1: it has a CORRUPT alarm"));
        assert!(error.hint_text().unwrap().contains("alone"));
    }
}
