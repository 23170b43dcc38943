//! What a snapshot says about itself, for a person and as JSON.

use serde::Serialize;

use super::super::humanize::{count, size_exact};
use super::sheet::Sheet;
use crate::etcd::facts::{Alarm, BucketFacts, Facts, Member};

/// An id as etcd's logs and `member list` have it.
pub fn id(id: u64) -> String {
    format!("{id:x}")
}

/// What the keys, members and pages are: the second block of `status`, and the details of `verify`.
pub fn rows(sheet: &mut Sheet, facts: &Facts) {
    let live = count(facts.live_keys, "live key");
    let records = count(facts.records, "record");
    let tombstones = count(facts.tombstones, "tombstone");
    let mut keys = format!("{live}; {records}, {tombstones} among them");
    if facts.bump_markers > 0 {
        // etcdutl takes each of them for a key.
        keys += &format!(
            ", and {}",
            count(facts.bump_markers, "mark of --bump-revision")
        );
    }
    sheet.row_with("keys", keys, facts.live_keys);
    if facts.current_revision != facts.revision {
        let text = format!(
            "{}; a server would start from {}",
            facts.revision, facts.current_revision
        );
        sheet.row_with("revision", text, facts.revision);
    } else {
        sheet.row("revision", facts.revision);
    }
    let pending = match facts.compaction_pending {
        true => ", not finished; a server goes on with it when it starts",
        false => "",
    };
    match facts.compact_revision {
        Some(revision) => {
            sheet.row_with(
                "compacted revision",
                format!("{revision}{pending}"),
                revision,
            );
        }
        None => sheet.row_with("compacted revision", "never compacted", -1),
    }
    sheet.row("leases", facts.leases);
    if facts.members.is_empty() {
        sheet.row("member", "none");
    }
    for member in &facts.members {
        sheet.row("member", member_text(member));
    }
    if facts.removed_members > 0 {
        sheet.row("removed members", facts.removed_members);
    }
    if facts.alarms.is_empty() {
        sheet.row("alarm", "none");
    }
    for alarm in &facts.alarms {
        sheet.row("alarm", alarm_text(alarm));
    }
    let accounts = format!(
        "{}, {}",
        count(facts.users, "user"),
        count(facts.roles, "role")
    );
    match facts.auth_enabled {
        true => sheet.row_with("auth", format!("on: {accounts}"), true),
        false if facts.users + facts.roles > 0 => {
            sheet.row_with("auth", format!("off, but there are {accounts}"), false);
        }
        false => sheet.row_with("auth", "off", false),
    }
    sheet.row_with("in use", size_exact(facts.in_use), facts.in_use);
    sheet.row_with("free", size_exact(facts.free), facts.free);
    sheet.row("page size", facts.page_size);
    let version = |version: &Option<String>| version.clone().unwrap_or_else(|| "none".into());
    sheet.row("cluster version", version(&facts.cluster_version));
    sheet.row("storage version", version(&facts.storage_version));
    let number = |number: Option<u64>| number.map_or("none".into(), |number| number.to_string());
    sheet.row("consistent index", number(facts.consistent_index));
    sheet.row("raft term", number(facts.term));
}

/// `m1 (8e9e05c52164694d)  peers http://10.0.0.1:2380  clients http://10.0.0.1:2379`
pub fn member_text(member: &Member) -> String {
    let name = match member.name.as_str() {
        "" => "(never started)",
        name => name,
    };
    let mut text = format!(
        "{name} ({})  peers {}",
        id(member.id),
        member.peer_urls.join(",")
    );
    if !member.client_urls.is_empty() {
        text += &format!("  clients {}", member.client_urls.join(","));
    }
    if member.is_learner {
        text += "  learner";
    }
    text
}

/// `NOSPACE, raised by member 8e9e05c52164694d`
pub fn alarm_text(alarm: &Alarm) -> String {
    format!("{}, raised by member {}", alarm.alarm, id(alarm.member_id))
}

/// [`Facts`] as JSON has them.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FactsView<'a> {
    page_size: u32,
    size: u64,
    in_use: u64,
    free: u64,
    hash: u32,
    revision: i64,
    current_revision: i64,
    compact_revision: Option<i64>,
    compaction_pending: bool,
    records: u64,
    tombstones: u64,
    live_keys: u64,
    total_keys: u64,
    bump_markers: u64,
    total_entries: u64,
    kubernetes: bool,
    leases: u64,
    members: Vec<MemberView<'a>>,
    removed_members: u64,
    alarms: Vec<AlarmView<'a>>,
    auth_enabled: bool,
    users: u64,
    roles: u64,
    storage_version: Option<&'a str>,
    cluster_version: Option<&'a str>,
    consistent_index: Option<u64>,
    term: Option<u64>,
    buckets: &'a [BucketFacts],
}

/// [`Member`] as JSON has it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberView<'a> {
    id: String,
    name: &'a str,
    peer_urls: &'a [String],
    client_urls: &'a [String],
    is_learner: bool,
}

/// [`Alarm`] as JSON has it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AlarmView<'a> {
    member_id: String,
    alarm: &'a str,
}

impl<'a> FactsView<'a> {
    /// The view of these facts.
    pub fn of(facts: &'a Facts) -> FactsView<'a> {
        FactsView {
            page_size: facts.page_size,
            size: facts.size,
            in_use: facts.in_use,
            free: facts.free,
            hash: facts.hash,
            revision: facts.revision,
            current_revision: facts.current_revision,
            compact_revision: facts.compact_revision,
            compaction_pending: facts.compaction_pending,
            records: facts.records,
            tombstones: facts.tombstones,
            live_keys: facts.live_keys,
            total_keys: facts.total_keys,
            bump_markers: facts.bump_markers,
            total_entries: facts.total_entries,
            kubernetes: facts.kubernetes,
            leases: facts.leases,
            members: members(&facts.members),
            removed_members: facts.removed_members,
            alarms: alarms(&facts.alarms),
            auth_enabled: facts.auth_enabled,
            users: facts.users,
            roles: facts.roles,
            storage_version: facts.storage_version.as_deref(),
            cluster_version: facts.cluster_version.as_deref(),
            consistent_index: facts.consistent_index,
            term: facts.term,
            buckets: &facts.buckets,
        }
    }
}

/// The view of these members.
pub fn members(members: &[Member]) -> Vec<MemberView<'_>> {
    members
        .iter()
        .map(|member| MemberView {
            id: id(member.id),
            name: &member.name,
            peer_urls: &member.peer_urls,
            client_urls: &member.client_urls,
            is_learner: member.is_learner,
        })
        .collect()
}

/// The view of these alarms.
pub fn alarms(alarms: &[Alarm]) -> Vec<AlarmView<'_>> {
    alarms
        .iter()
        .map(|alarm| AlarmView {
            member_id: id(alarm.member_id),
            alarm: &alarm.alarm,
        })
        .collect()
}
