//! `restore`: the plan or what was done, how to undo it, and what to do next.

mod next;
mod quota;

use std::path::PathBuf;

use serde::Serialize;

pub use self::next::{Remark, remarks};
use super::super::humanize::{size, size_exact, tame};
use super::super::raw::Format;
use super::facts::{self, AlarmView, MemberView, id};
use super::sheet::Sheet;
use super::verify::{VerdictView, summary};
use super::{input_name, input_word, json};
use crate::etcd::facts::Member;
use crate::ops::restore::{Bump, Outcome, Plan, Request};
use crate::snapshot::Verdict;

/// What goes to standard output after the work, or instead of it with `--dry-run`.
pub fn text(request: &Request, outcome: &Outcome, format: Format) -> String {
    match format {
        Format::Json => document(request, Some(outcome), &outcome.verdict),
        Format::Fields => {
            let mut sheet = sheet(request, outcome);
            next::rows(&mut sheet, request, outcome);
            sheet.fields()
        }
        Format::Simple | Format::Table => {
            let input = tame(&input_name(&request.source.input));
            let target = tame(&outcome.plan.member_dir.display().to_string());
            let first = match outcome.dry_run {
                true => format!("Plan: restore {input} to {target}; nothing was written\n"),
                false => format!("Restored {input} to {target}\n"),
            };
            first + &sheet(request, outcome).table() + &next::text(request, outcome)
        }
    }
}

/// The document for an input that was not restored because it did not prove good.
pub fn bad_input(request: &Request, verdict: &Verdict) -> String {
    document(request, None, verdict)
}

fn sheet(request: &Request, outcome: &Outcome) -> Sheet {
    let plan = &outcome.plan;
    let mut sheet = Sheet::default();
    sheet.row("input", summary(&outcome.verdict));
    sheet.row("member directory", plan.member_dir.display());
    if request.wal_dir.is_some() {
        sheet.row("WAL", plan.wal_dir.display());
    }
    sheet.row("cluster ID", id(plan.cluster_id));
    sheet.row_with("token", token_text(plan), &plan.token);
    for member in by_name(&plan.members) {
        let this = if member.id == plan.member_id {
            "  (this one)"
        } else {
            ""
        };
        sheet.row("member", facts::member_text(member) + this);
    }
    sheet.row("revision before", plan.revision_before);
    sheet.row("revision after", plan.revision_after);
    if plan.bump > 0 {
        sheet.row_with("bump", bump_text(plan, request.bump), plan.bump);
    }
    for member in by_name(&plan.old_members) {
        sheet.row("old member, replaced", facts::member_text(member));
    }
    for alarm in &plan.alarms_dropped {
        sheet.row("alarm, dropped", facts::alarm_text(alarm));
    }
    if let Some(version) = &plan.storage_version {
        sheet.row("storage version, dropped", version);
    }
    if let Some(owner) = &plan.owner {
        let from = plan
            .owner_from
            .as_ref()
            .map(|from| format!(" (from {from})"));
        sheet.row_with(
            "owner",
            format!("{owner}{}", from.unwrap_or_default()),
            owner,
        );
    } else if plan.owner_by_default {
        let text = "whoever runs this command: there was nothing to take it from";
        sheet.row_with("owner", text, "");
    }
    for aside in [&plan.moved_aside, &plan.wal_moved_aside]
        .into_iter()
        .flatten()
    {
        sheet.row("old data, moved to", aside.display());
    }
    if outcome.dry_run {
        let (needed, free) = (plan.bytes_needed, plan.bytes_free);
        sheet.row_with(
            "space",
            format!("{} needed, {} free", size(needed), size(free)),
            needed,
        );
    } else {
        sheet.row_with("db", size_exact(outcome.db_bytes), outcome.db_bytes);
    }
    sheet
}

/// The order in which people number them; the plan has them by id.
fn by_name(members: &[Member]) -> Vec<&Member> {
    let mut members: Vec<_> = members.iter().collect();
    members.sort_by(|a, b| a.name.cmp(&b.name));
    members
}

fn token_text(plan: &Plan) -> String {
    match plan.token_derived {
        true => format!("{} (derived from the snapshot's SHA-256)", plan.token),
        false => plan.token.clone(),
    }
}

fn bump_text(plan: &Plan, asked: Bump) -> String {
    let why = match asked {
        Bump::Auto => "; this is Kubernetes data, see --no-bump",
        Bump::By(_) | Bump::Off => "",
    };
    format!("{}, so that watchers start anew{why}", plan.bump)
}

fn document(request: &Request, outcome: Option<&Outcome>, verdict: &Verdict) -> String {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Document<'a> {
        restored: bool,
        dry_run: bool,
        path: String,
        plan: Option<PlanView<'a>>,
        db_bytes: Option<u64>,
        undo: Option<String>,
        start: Option<String>,
        other_members: Vec<OtherView>,
        remarks: Vec<Remark>,
        verdict: VerdictView<'a>,
    }
    #[derive(Serialize)]
    struct OtherView {
        name: String,
        command: String,
    }
    let done = outcome.filter(|outcome| !outcome.dry_run);
    let plan = outcome.map(|outcome| &outcome.plan);
    let others = outcome.map(|outcome| next::others(request, outcome));
    let others = others.unwrap_or_default().into_iter();
    json(&Document {
        restored: done.is_some(),
        dry_run: request.dry_run,
        path: input_word(&request.source.input),
        plan: plan.map(PlanView::of),
        db_bytes: done.map(|outcome| outcome.db_bytes),
        undo: done.and_then(|outcome| next::undo(&outcome.plan)),
        start: outcome.map(|outcome| next::start(request, outcome)),
        other_members: others
            .map(|(name, command)| OtherView { name, command })
            .collect(),
        remarks: outcome
            .map(|outcome| remarks(request, outcome))
            .unwrap_or_default(),
        verdict: VerdictView::of(verdict),
    })
}

/// [`Plan`] as JSON has it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PlanView<'a> {
    member_dir: String,
    wal_dir: String,
    name: &'a str,
    member_id: String,
    cluster_id: String,
    token: &'a str,
    token_derived: bool,
    initial_cluster: &'a str,
    members: Vec<MemberView<'a>>,
    old_members: Vec<MemberView<'a>>,
    revision_before: i64,
    revision_after: i64,
    bump: u64,
    alarms_dropped: Vec<AlarmView<'a>>,
    moved_aside: Option<String>,
    wal_moved_aside: Option<String>,
    owner: Option<&'a str>,
    owner_from: Option<&'a str>,
    storage_version_dropped: Option<&'a str>,
    bytes_needed: u64,
    bytes_free: u64,
}

impl PlanView<'_> {
    fn of(plan: &Plan) -> PlanView<'_> {
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        PlanView {
            member_dir: plan.member_dir.display().to_string(),
            wal_dir: plan.wal_dir.display().to_string(),
            name: &plan.name,
            member_id: id(plan.member_id),
            cluster_id: id(plan.cluster_id),
            token: &plan.token,
            token_derived: plan.token_derived,
            initial_cluster: &plan.initial_cluster,
            members: facts::members(&plan.members),
            old_members: facts::members(&plan.old_members),
            revision_before: plan.revision_before,
            revision_after: plan.revision_after,
            bump: plan.bump,
            alarms_dropped: facts::alarms(&plan.alarms_dropped),
            moved_aside: path(&plan.moved_aside),
            wal_moved_aside: path(&plan.wal_moved_aside),
            owner: plan.owner.as_deref(),
            owner_from: plan.owner_from.as_deref(),
            storage_version_dropped: plan.storage_version.as_deref(),
            bytes_needed: plan.bytes_needed,
            bytes_free: plan.bytes_free,
        }
    }
}

#[cfg(test)]
pub mod tests {
    use super::super::verify::tests::verdict;
    use super::*;
    use crate::etcd::facts::Alarm;
    use crate::snapshot::{Level, Sum};
    use crate::source::{Input, Source};

    /// A voter.
    pub fn member(id: u64, name: &str, peer: &str) -> Member {
        Member {
            id,
            name: name.into(),
            peer_urls: vec![peer.into()],
            ..Member::default()
        }
    }

    /// A restore of member m1 of two.
    pub fn restored() -> (Request, Outcome) {
        let cluster = "m1=http://10.0.0.1:2380,m2=http://10.0.0.2:2380";
        let request = Request {
            source: Source {
                input: Input::Path("my snap.db".into()),
                raw: false,
                spool_dirs: Vec::new(),
            },
            data_dir: "/var/lib/etcd".into(),
            wal_dir: None,
            name: "m1".into(),
            initial_cluster: Some(cluster.into()),
            initial_cluster_token: None,
            initial_advertise_peer_urls: None,
            bump: Bump::Auto,
            owner: None,
            move_aside: true,
            dry_run: false,
        };
        let plan = Plan {
            member_dir: "/var/lib/etcd/member".into(),
            wal_dir: "/var/lib/etcd/member/wal".into(),
            name: "m1".into(),
            member_id: 1,
            cluster_id: 0xabc,
            token: "etcd-rescue-1234".into(),
            token_derived: true,
            initial_cluster: cluster.into(),
            members: vec![
                member(1, "m1", "http://10.0.0.1:2380"),
                member(2, "m2", "http://10.0.0.2:2380"),
            ],
            old_members: vec![member(9, "default", "http://localhost:2380")],
            revision_before: 6,
            revision_after: 1_000_000_006,
            bump: 1_000_000_000,
            alarms_dropped: vec![Alarm {
                member_id: 9,
                alarm: "NOSPACE".into(),
            }],
            moved_aside: Some("/var/lib/etcd/member.before-20260102T030405Z".into()),
            wal_moved_aside: None,
            owner: Some("997:995".into()),
            owner_from: Some("the old member/".into()),
            owner_by_default: false,
            storage_version: Some("3.7.0".into()),
            bytes_needed: 1_000_000,
            bytes_free: 9_000_000,
        };
        let outcome = Outcome {
            plan,
            dry_run: false,
            verdict: verdict(Level::Good, Level::Good, Sum::Good),
            file: Some("my snap.db".into()),
            db_bytes: 20_480,
        };
        (request, outcome)
    }

    #[test]
    fn says_what_was_done_and_what_to_do_next() {
        let (request, outcome) = restored();
        let text = text(&request, &outcome, Format::Simple);
        for part in [
            "Restored my snap.db to /var/lib/etcd/member\n",
            "m1 (1)  peers http://10.0.0.1:2380  (this one)",
            "revision after            1000000006\n",
            "1000000000, so that watchers start anew; this is Kubernetes data, see --no-bump\n",
            "NOSPACE, raised by member 9",
            "997:995 (from the old member/)",
            "  mv /var/lib/etcd/member /var/lib/etcd/member.undone && mv /var/lib/etcd/member.before-20260102T030405Z /var/lib/etcd/member\n",
            "    etcd-rescue restore --data-dir /var/lib/etcd --name m2 --initial-cluster m1=http://10.0.0.1:2380,m2=http://10.0.0.2:2380 --initial-advertise-peer-urls http://10.0.0.2:2380 --move-aside 'my snap.db'\n",
            "    etcd --name m1 --data-dir /var/lib/etcd\n",
        ] {
            assert!(text.contains(part), "{part:?} not in\n{text}");
        }
    }

    #[test]
    fn a_dry_run_says_so_and_promises_nothing() {
        let (mut request, mut outcome) = restored();
        (request.dry_run, outcome.dry_run) = (true, true);
        let plan = text(&request, &outcome, Format::Simple);
        assert!(plan.starts_with("Plan: restore my snap.db to"), "{plan}");
        assert!(plan.contains("1.0 MB needed, 9.0 MB free"), "{plan}");
        assert!(!plan.contains("Next:") && !plan.contains("undo"), "{plan}");
        let document = text(&request, &outcome, Format::Json);
        let value: serde_json::Value = serde_json::from_str(&document).unwrap();
        assert_eq!(value["restored"], false);
        assert_eq!(value["dryRun"], true);
        assert_eq!(value["plan"]["clusterId"], "abc");
        assert_eq!(value["plan"]["oldMembers"][0]["name"], "default");
    }

    #[test]
    fn json_of_a_bad_input_has_the_verdict_and_no_plan() {
        let (request, _) = restored();
        let verdict = verdict(Level::Absent, Level::Good, Sum::Unproven);
        let value: serde_json::Value =
            serde_json::from_str(&bad_input(&request, &verdict)).unwrap();
        assert_eq!(value["restored"], false);
        assert_eq!(value["plan"], serde_json::Value::Null);
        assert_eq!(value["verdict"]["sum"], "UNPROVEN");
    }
}
