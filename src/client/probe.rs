//! Asks every endpoint at once what it is.

use etcd_client::proto::PbStatusResponse;

use super::Password;
use super::connect::Target;
use super::explain;
use super::session::Session;
use super::survey::{Alarm, Member};
use crate::error::Result;

/// What an endpoint said, and whether `--user` was needless there.
pub struct Answer {
    /// The member behind it, or why there is none.
    pub member: Result<Member>,
    /// The server has no authentication.
    pub needless_user: bool,
}

/// One endpoint: status, and the names of the members.
///
/// Alarms come from the status, where every version since 3.4 lists them
/// (`etcd-io/etcd server/etcdserver/api/v3rpc/maintenance.go` Status): the Alarm call itself goes through raft, so
/// it would write an entry on every survey and fail when the quorum is lost, which is when snapshots are needed most.
pub async fn ask(target: &Target, index: usize, user: Option<&(String, Password)>) -> Answer {
    let session = match Session::open(target, user).await {
        Ok(session) => session,
        Err(error) => {
            return Answer {
                member: Err(error),
                needless_user: false,
            };
        }
    };
    let needless_user = session.needless_user;
    let member = match session.status().await {
        Ok(status) => {
            let mut member = member(target, index, status);
            // Names are a kindness; a member that cannot list them can still be saved from.
            if let Ok(all) = session.members().await {
                let own = all.into_iter().find(|(id, _)| *id == member.member_id);
                member.name = own.map(|(_, name)| name);
            }
            Ok(member)
        }
        Err(error) => Err(error),
    };
    Answer {
        member,
        needless_user,
    }
}

fn member(target: &Target, index: usize, status: PbStatusResponse) -> Member {
    let header = status.header.unwrap_or_default();
    let (alarms, complaints) = complaints(&status.errors);
    Member {
        endpoint: target.endpoint.to_string(),
        index,
        member_id: header.member_id,
        name: None,
        cluster_id: header.cluster_id,
        version: explain::shorten(&status.version),
        leader: status.leader,
        is_learner: status.is_learner,
        revision: header.revision,
        raft_term: status.raft_term,
        raft_index: status.raft_index,
        raft_applied_index: status.raft_applied_index,
        db_size: u64::try_from(status.db_size).unwrap_or(0),
        db_size_in_use: u64::try_from(status.db_size_in_use).unwrap_or(0),
        db_size_quota: u64::try_from(status.db_size_quota)
            .ok()
            .filter(|quota| *quota > 0),
        alarms,
        complaints,
    }
}

/// Tells alarms from other complaints. An alarm is the text form of an AlarmMember, `memberID:1234 alarm:NOSPACE`; fields
/// that are zero are absent, and the spaces between vary on purpose in what Go prints since 3.7.
fn complaints(errors: &[String]) -> (Vec<Alarm>, Vec<String>) {
    /// A cluster has few alarms; a hostile server may have many.
    const MOST: usize = 32;
    let (mut alarms, mut others) = (Vec::new(), Vec::new());
    for error in errors.iter().take(MOST) {
        match alarm(error) {
            Some(alarm) => alarms.push(alarm),
            None => others.push(explain::shorten(error)),
        }
    }
    // The lack of a leader shows in the status as such, and is reported from there.
    others.retain(|other| !other.contains("no leader"));
    (alarms, others)
}

fn alarm(text: &str) -> Option<Alarm> {
    let (mut member_id, mut name) = (0, None);
    for field in text.split_whitespace() {
        if let Some(id) = field.strip_prefix("memberID:") {
            member_id = id.parse().ok()?;
        } else {
            let known = field.strip_prefix("alarm:")?;
            name = Some(explain::shorten(known));
        }
    }
    name.map(|name| Alarm { member_id, name })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alarms_are_told_from_other_complaints() {
        let errors = [
            "memberID:10501334649042878790 alarm:NOSPACE ".to_owned(),
            "memberID:12   alarm:CORRUPT".to_owned(),
            "alarm:CORRUPT".to_owned(),
            "etcdserver: no leader".to_owned(),
            "etcdserver: \u{1b}[31mon fire".to_owned(),
            "memberID:x alarm:NOSPACE".to_owned(),
        ];
        let (alarms, others) = complaints(&errors);
        let alarms: Vec<_> = alarms
            .iter()
            .map(|a| (a.member_id, a.name.as_str()))
            .collect();
        assert_eq!(
            alarms,
            [
                (10501334649042878790, "NOSPACE"),
                (12, "CORRUPT"),
                (0, "CORRUPT")
            ]
        );
        assert_eq!(
            others,
            ["etcdserver:  [31mon fire", "memberID:x alarm:NOSPACE"]
        );
    }
}
