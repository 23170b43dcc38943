//! What comes after a restore: how to undo it, the commands for the other members, and how to start; and what is
//! to be known of the cluster that it makes.
//!
//! Directories are printed in full: they are pasted into units, and into other shells.

use std::path::Path;

use serde::Serialize;

use super::super::super::humanize::tame;
use super::super::facts::id;
use super::super::input_word;
use super::super::sheet::Sheet;
use super::{by_name, quota};
use crate::etcd::facts::Member;
use crate::etcd::ids;
use crate::io::dirs;
use crate::ops::restore::{Bump, Outcome, Plan, Request};
use crate::shell;
use crate::source::Input;

/// What stands for a file that came through standard input.
const FILE: &str = "FILE";

/// Something about the new cluster that may not be what was meant, and what to type if it is not.
#[derive(Debug, Serialize)]
pub struct Remark {
    /// What it is.
    pub what: String,
    /// The flags that make it otherwise.
    pub hint: Option<String>,
}

/// What the defaults make of the cluster that the snapshot is of.
pub fn remarks(request: &Request, outcome: &Outcome) -> Vec<Remark> {
    let plan = &outcome.plan;
    let mut remarks = Vec::from_iter(quota::remark(db_bytes(outcome)));
    let old = Old::of(plan);
    let alone = is_left_alone(request, plan);
    if is_at_no_address(request, plan) {
        remarks.push(Remark {
            what: format!(
                "the member's peer URL is {}, as none was given: no other member can reach it there, or join; {} in the snapshot",
                urls(&plan.members),
                urls_of(&old.voters)
            ),
            hint: match (&old.initial_cluster, old.voters.as_slice()) {
                (Some(cluster), [one]) => Some(format!(
                    "to have the old name and URL, restore with {}",
                    shell::command(["--name", &one.name, "--initial-cluster", cluster])
                )),
                _ => None,
            },
        });
    }
    if alone {
        remarks.push(Remark {
            what: format!(
                "the snapshot is of {} members ({}), and this makes a cluster of one: the others must stay stopped, \
                 and can only join it anew, with empty data dirs",
                old.voters.len(),
                names(&old.voters)
            ),
            hint: old.initial_cluster.as_ref().map(|cluster| {
                format!(
                    "to restore all of them, give each its --name and {}",
                    shell::command(["--initial-cluster", cluster])
                )
            }),
        });
    }
    remarks
}

/// What the new db has, or will have.
fn db_bytes(outcome: &Outcome) -> u64 {
    match outcome.dry_run {
        true => outcome.verdict.facts.in_use,
        false => outcome.db_bytes,
    }
}

/// How to undo it, what to do with the other members, and how to start.
pub fn text(request: &Request, outcome: &Outcome) -> String {
    if outcome.dry_run {
        return String::new();
    }
    let plan = &outcome.plan;
    let mut text = String::new();
    if let Some(undo) = undo(plan) {
        text += &format!("\nTo undo this:\n  {undo}\n");
    }
    text += "\nNext:\n";
    let others = others(request, outcome);
    match others.is_empty() {
        false => text += &same_file(request, plan, &others),
        true => text += &old_members(request, outcome),
    }
    if plan.owner_by_default {
        text += &owner(request);
    }
    text += &format!(
        "- Start etcd{} as it was started before, with its URLs and certificates, and with this data dir:\n    {}\n  \
         In a unit or a static pod: set the same there, then systemctl start etcd, or move etcd.yaml back.\n",
        if others.is_empty() {
            ""
        } else {
            " on all members"
        },
        start(request, outcome)
    );
    if outcome.verdict.facts.kubernetes {
        text += API_SERVERS;
    }
    tame_lines(&text)
}

/// What Kubernetes needs besides [etcd-io/website content/en/docs/v3.7/op-guide/recovery.md; kubernetes/website
/// "Operating etcd clusters for Kubernetes"].
const API_SERVERS: &str = "\
- Then start the API servers, and restart what remembers their answers: kube-controller-manager, kube-scheduler,
  and kubelet on every node. An API server that is gone stays in the Service kubernetes until its key under
  /registry/masterleases/ expires: see kubectl get endpoints kubernetes.
";

/// The members of the new cluster besides this one.
fn same_file(request: &Request, plan: &Plan, others: &[(String, String)]) -> String {
    let stands_for = match request.source.input {
        Input::Stdin => format!(" {FILE} stands for it."),
        _ => String::new(),
    };
    let mut text = format!(
        "- Restore every other member from this same file, each on its own machine.{stands_for} The cluster ID\n  \
         must come out as {} on all of them.\n",
        id(plan.cluster_id)
    );
    for (_, command) in others {
        text += &format!("    {command}\n");
    }
    text
}

/// The members of the old cluster, which a cluster of one leaves behind.
fn old_members(request: &Request, outcome: &Outcome) -> String {
    let plan = &outcome.plan;
    let old = Old::of(plan);
    let unreachable = is_at_no_address(request, plan);
    let mut text = String::new();
    if old.voters.len() > 1 {
        text += &format!(
            "- This is a cluster of one; the old one had {} members. The others must stay stopped{}\n",
            old.voters.len(),
            match unreachable {
                true => ".",
                false =>
                    " until they join it anew:\n  etcdctl member add, and an empty data dir, for each.",
            }
        );
        if old.initial_cluster.is_some() {
            text += "  To restore all of them instead, run this, from this same file, each on its own machine:\n";
        }
    } else if unreachable && old.initial_cluster.is_some() {
        text += &format!(
            "- No other member can join it at {}. To restore it with its old name and URL instead:\n",
            urls(&plan.members)
        );
    } else {
        return text;
    }
    let cluster = old.initial_cluster.iter();
    let members = cluster.flat_map(|cluster| old.voters.iter().map(move |voter| (voter, cluster)));
    for (voter, cluster) in members {
        // This machine has a member by now, and the others have their old ones.
        let command = command_for(voter, cluster, true, request, outcome);
        text += &format!("    {command}\n");
    }
    text
}

/// Whose the files are is for a person to say.
fn owner(request: &Request) -> String {
    let dirs: Vec<_> = std::iter::once(&request.data_dir)
        .chain(&request.wal_dir)
        .map(|dir| absolute(dir))
        .collect();
    let with = |words: &[&'static str]| {
        let dirs = dirs.iter().map(String::as_str);
        shell::command(words.iter().copied().chain(dirs))
    };
    format!(
        "- If etcd runs as a user of its own, give it the files:\n    {}\n  Where SELinux is on, label them:\n    {}\n",
        with(&["chown", "-R", "etcd:etcd"]),
        with(&["restorecon", "-R"])
    )
}

/// The same for a script.
pub fn rows(sheet: &mut Sheet, request: &Request, outcome: &Outcome) {
    if outcome.dry_run {
        return;
    }
    if let Some(undo) = undo(&outcome.plan) {
        sheet.row("undo", undo);
    }
    sheet.row("start", start(request, outcome));
    for (_, command) in others(request, outcome) {
        sheet.row("other member", command);
    }
}

/// Paths and names are quoted for the shell already; a line must still be a line.
fn tame_lines(text: &str) -> String {
    text.lines().map(|line| tame(line) + "\n").collect()
}

/// The new data out of the way, the old data back in its place.
pub fn undo(plan: &Plan) -> Option<String> {
    let back = |new: &Path, old: &Path| {
        let (new, old) = (absolute(new), absolute(old));
        let undone = format!("{new}.undone");
        let away = shell::command(["mv", &new, &undone]);
        format!("{away} && {}", shell::command(["mv", &old, &new]))
    };
    let member = plan
        .moved_aside
        .iter()
        .map(|old| back(&plan.member_dir, old));
    let wal = plan
        .wal_moved_aside
        .iter()
        .map(|old| back(&plan.wal_dir, old));
    let steps: Vec<_> = member.chain(wal).collect();
    (!steps.is_empty()).then(|| steps.join(" && "))
}

/// How etcd is started on it, its URLs and certificates left out.
pub fn start(request: &Request, outcome: &Outcome) -> String {
    let data_dir = absolute(&request.data_dir);
    let name = &outcome.plan.name;
    let mut words = vec!["etcd", "--name", name, "--data-dir", &data_dir];
    let wal_dir = request.wal_dir.as_deref().map(absolute);
    if let Some(dir) = &wal_dir {
        words.extend(["--wal-dir", dir]);
    }
    let quota = quota::needed(db_bytes(outcome)).map(|bytes| bytes.to_string());
    if let Some(bytes) = &quota {
        words.extend(["--quota-backend-bytes", bytes]);
    }
    shell::command(words)
}

/// The name of each other member, and the command that restores it: the same file, token, cluster and bump.
pub fn others(request: &Request, outcome: &Outcome) -> Vec<(String, String)> {
    let plan = &outcome.plan;
    let others = by_name(&plan.members).into_iter();
    let others = others.filter(|member| member.id != plan.member_id);
    let command = |member: &Member| {
        let aside = request.move_aside;
        command_for(member, &plan.initial_cluster, aside, request, outcome)
    };
    others
        .map(|member| (member.name.clone(), command(member)))
        .collect()
}

fn command_for(
    member: &Member,
    initial_cluster: &str,
    move_aside: bool,
    request: &Request,
    outcome: &Outcome,
) -> String {
    let mut words: Vec<String> = vec!["etcd-rescue".into(), "restore".into()];
    let mut flag = |name: &str, value: &str| words.extend([name.to_string(), value.to_string()]);
    flag("--data-dir", &absolute(&request.data_dir));
    if let Some(dir) = &request.wal_dir {
        flag("--wal-dir", &absolute(dir));
    }
    flag("--name", &member.name);
    flag("--initial-cluster", initial_cluster);
    // A derived token is left to be derived: another file then makes another cluster, not a mixed one.
    if !outcome.plan.token_derived {
        flag("--initial-cluster-token", &outcome.plan.token);
    }
    flag("--initial-advertise-peer-urls", &member.peer_urls.join(","));
    if let Bump::By(bump) = request.bump {
        flag("--bump-revision", &bump.to_string());
    }
    if let Some(owner) = &request.owner {
        flag("--owner", owner);
    }
    for (given, name) in [
        (request.bump == Bump::Off, "--no-bump"),
        (request.source.raw, "--raw"),
        (move_aside, "--move-aside"),
    ] {
        if given {
            words.push(name.into());
        }
    }
    words.push(match (&request.source.input, &outcome.file) {
        (Input::Stdin, _) => FILE.into(),
        (_, Some(file)) => file.display().to_string(),
        (input, None) => input_word(input),
    });
    shell::command(words.iter().map(String::as_str))
}

/// The voters of the cluster that the snapshot is of.
struct Old<'p> {
    voters: Vec<&'p Member>,
    /// All of them as `--initial-cluster` has them, if they have names and URLs that can be written so.
    initial_cluster: Option<String>,
}

impl Old<'_> {
    fn of(plan: &Plan) -> Old<'_> {
        let mut voters = by_name(&plan.old_members);
        voters.retain(|member| !member.is_learner);
        let pairs: Vec<_> = voters
            .iter()
            .flat_map(|voter| {
                let pair = move |url: &String| format!("{}={url}", voter.name);
                voter.peer_urls.iter().map(pair)
            })
            .collect();
        let text = pairs.join(",");
        let read = ids::parse_initial_cluster(&text).unwrap_or_default();
        let same = voters.len() == read.len()
            && voters
                .iter()
                .all(|voter| read.iter().any(|(name, _)| *name == voter.name));
        Old {
            initial_cluster: (same && !read.is_empty()).then_some(text),
            voters,
        }
    }
}

/// Whether the peer URL is the default one, and no member of the old cluster had it.
fn is_at_no_address(request: &Request, plan: &Plan) -> bool {
    let given = request.initial_cluster.is_some() || request.initial_advertise_peer_urls.is_some();
    let old = Old::of(plan).voters;
    let had = |member: &Member| old.iter().any(|old| old.peer_urls == member.peer_urls);
    !given && !old.is_empty() && !plan.members.iter().any(had)
}

/// Whether the other members of the old cluster were left out without a word about it.
fn is_left_alone(request: &Request, plan: &Plan) -> bool {
    let members = Old::of(plan).voters.len();
    request.initial_cluster.is_none() && plan.members.len() == 1 && members > 1
}

fn names(members: &[&Member]) -> String {
    let name = |member: &&Member| match member.name.as_str() {
        "" => id(member.id),
        name => name.to_string(),
    };
    members.iter().map(name).collect::<Vec<_>>().join(", ")
}

fn urls(members: &[Member]) -> String {
    let urls: Vec<_> = members
        .iter()
        .map(|member| member.peer_urls.join(","))
        .collect();
    urls.join(", ")
}

/// `cp1 had https://10.0.0.1:2380`
fn urls_of(members: &[&Member]) -> String {
    let had = |member: &&Member| format!("{} had {}", names(&[member]), member.peer_urls.join(","));
    members.iter().map(had).collect::<Vec<_>>().join(", ")
}

/// What cannot be made absolute, because there is no current directory, is printed as it was typed.
fn absolute(path: &Path) -> String {
    dirs::absolute(path).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{member, restored};
    use super::*;

    #[test]
    fn a_token_that_was_given_is_given_again() {
        let (mut request, mut outcome) = restored();
        outcome.plan.token_derived = false;
        request.bump = Bump::By(5);
        request.source.raw = true;
        let commands = others(&request, &outcome);
        let [(name, command)] = &commands[..] else {
            panic!("{commands:?}")
        };
        assert_eq!(name, "m2");
        for part in [
            "--initial-cluster-token etcd-rescue-1234",
            "--bump-revision 5",
            "--raw",
        ] {
            assert!(command.contains(part), "{command}");
        }
        request.bump = Bump::Off;
        assert!(others(&request, &outcome)[0].1.contains("--no-bump"));
    }

    #[test]
    fn the_file_is_named_wherever_it_came_from() {
        let (mut request, mut outcome) = restored();
        let mut ends = |input: Input, file: Option<&str>| {
            request.source.input = input;
            outcome.file = file.map(Into::into);
            let command = others(&request, &outcome)[0].1.clone();
            let stands = text(&request, &outcome).contains("FILE stands for it.");
            let last = command.rsplit(' ').next().unwrap().to_string();
            (last, stands)
        };
        let latest = Input::Latest("/backup".into());
        let newest = "/backup/etcd-1.db.zst";
        assert_eq!(ends(latest, Some(newest)), (newest.into(), false));
        assert_eq!(ends(Input::Stdin, None), ("FILE".into(), true));
        let path = Input::Path("x.db".into());
        assert_eq!(ends(path, Some("x.db")), ("x.db".into(), false));
    }

    /// A restore with all its defaults, of a snapshot of these members.
    fn by_default(old: Vec<Member>) -> (Request, Outcome) {
        let (mut request, mut outcome) = restored();
        request.name = "default".into();
        request.initial_cluster = None;
        outcome.plan.members = vec![member(1, "default", "http://localhost:2380")];
        outcome.plan.old_members = old;
        (request, outcome)
    }

    #[test]
    fn a_member_that_nobody_can_join_is_remarked_on() {
        let old = member(9, "cp 1", "https://10.0.0.1:2380");
        let (mut request, mut outcome) = by_default(vec![old]);
        let [remark] = &remarks(&request, &outcome)[..] else {
            panic!()
        };
        assert!(remark.what.contains("cp 1 had https://10.0.0.1:2380"));
        let flags = "--name 'cp 1' --initial-cluster 'cp 1=https://10.0.0.1:2380'";
        assert!(remark.hint.as_ref().unwrap().ends_with(flags), "{remark:?}");
        let printed = text(&request, &outcome);
        assert!(printed.contains(flags) && printed.contains("--move-aside"));

        request.initial_advertise_peer_urls = Some("http://10.0.0.9:2380".into());
        assert!(remarks(&request, &outcome).is_empty());
        request.initial_advertise_peer_urls = None;
        for old in [vec![], vec![member(9, "cp1", "http://localhost:2380")]] {
            outcome.plan.old_members = old;
            assert!(remarks(&request, &outcome).is_empty());
            assert!(!text(&request, &outcome).contains("instead"));
        }
    }

    #[test]
    fn a_cluster_that_becomes_one_is_remarked_on() {
        let old = |number: u64| {
            let url = format!("https://10.0.0.{number}:2380");
            member(9 - number, &format!("m{number}"), &url)
        };
        let learner = Member {
            is_learner: true,
            ..old(4)
        };
        let (mut request, mut outcome) = by_default(vec![old(2), old(1), old(3), learner]);
        let told = remarks(&request, &outcome);
        assert!(told[1].what.contains("3 members (m1, m2, m3)"), "{told:?}");
        let cluster = "--initial-cluster m1=https://10.0.0.1:2380,m2=https://10.0.0.2:2380,m3=https://10.0.0.3:2380";
        assert!(told[1].hint.as_ref().unwrap().ends_with(cluster));
        let printed = text(&request, &outcome);
        let commands: Vec<_> = printed.lines().filter(|l| l.contains(cluster)).collect();
        assert_eq!(commands.len(), 3, "{printed}");
        for (command, name) in commands.iter().zip(["m1", "m2", "m3"]) {
            assert!(command.contains(&format!(" --name {name} ")), "{command}");
        }

        // Asked for, it is no surprise; what to do with the others is said all the same.
        request.initial_cluster = Some("m1=https://10.0.0.1:2380".into());
        (outcome.plan.members, outcome.plan.member_id) = (vec![old(1)], old(1).id);
        assert!(remarks(&request, &outcome).is_empty());
        assert!(text(&request, &outcome).contains("etcdctl member add"));

        // Names that cannot be told apart give no commands.
        outcome.plan.old_members = vec![member(1, "a", "http://h:1"), member(2, "a", "http://h:2")];
        let printed = text(&request, &outcome);
        assert!(printed.contains("stay stopped") && !printed.contains("instead"));
    }

    #[test]
    fn directories_are_printed_in_full() {
        let (mut request, mut outcome) = restored();
        request.data_dir = "data".into();
        request.wal_dir = Some("wal".into());
        outcome.plan.member_dir = "data/member".into();
        outcome.plan.owner_by_default = true;
        let here = std::env::current_dir().unwrap();
        let full = shell::quote(&here.join("data").display().to_string());
        let printed = text(&request, &outcome);
        assert!(printed.contains(&format!(" --data-dir {full}")));
        assert!(printed.contains(&format!("mv {full}/member ")));
        assert!(printed.contains(&format!("chown -R etcd:etcd {full} ")));
        assert!(!printed.contains(" data/") && !printed.contains("--wal-dir wal"));
    }

    #[test]
    fn a_db_near_the_quota_is_started_with_a_larger_one() {
        let (request, mut outcome) = restored();
        let told = |outcome: &Outcome| {
            let remarks = remarks(&request, outcome).into_iter();
            let told = remarks
                .filter(|remark| remark.what.contains("quota"))
                .count()
                == 1;
            let flag = " --quota-backend-bytes 4294967296\n";
            assert_eq!(text(&request, outcome).contains(flag), told);
            assert_eq!(start(&request, outcome).contains(flag.trim()), told);
            told
        };
        outcome.verdict.facts.in_use = 3_000_000_000;
        assert!(!told(&outcome));
        outcome.db_bytes = 3_000_000_000;
        assert!(told(&outcome));
        // What will be written is known by what is in use.
        (outcome.db_bytes, outcome.dry_run) = (0, true);
        assert!(start(&request, &outcome).ends_with("4294967296"));
    }

    #[test]
    fn kubernetes_hears_of_its_api_servers() {
        let (request, mut outcome) = restored();
        assert!(!text(&request, &outcome).contains("API server"));
        outcome.verdict.facts.kubernetes = true;
        assert!(text(&request, &outcome).contains("start the API servers"));
    }
}
