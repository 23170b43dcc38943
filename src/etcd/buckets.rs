//! The small buckets: each entry decoded and checked, and what it says put into [`Facts`].
//!
//! Source: etcd-io/etcd, `server/storage/schema/*.go`, v3.7.1 (`formats.md` section 3).

use serde_json::Value;

use super::facts::{Alarm, Facts};
use super::members;
use super::revision::{RecordKey, Revision};
use crate::bytes;
use crate::proto::alarm::AlarmMember;
use crate::proto::auth::{Role, User};
use crate::proto::lease::Lease;
use crate::report::{Report, Severity, printable};

/// Every top-level bucket that etcd 3.4 to 3.8 makes, in byte order.
pub const KNOWN: [&str; 10] = [
    "alarm",
    "auth",
    "authRoles",
    "authUsers",
    "cluster",
    "key",
    "lease",
    "members",
    "members_removed",
    "meta",
];

/// The compaction marks of `meta`, and what else is looked at only when all is read.
#[derive(Clone, Debug, Default)]
pub struct Marks {
    /// `scheduledCompactRev`.
    pub scheduled: Option<Revision>,
    /// `finishedCompactRev`.
    pub finished: Option<Revision>,
}

/// A fault of one entry: how bad, and found against expected.
pub type Fault = (Severity, String);

/// Decodes one entry of a small bucket. What it says goes into `facts` and `marks`.
pub fn entry(
    bucket: &[u8],
    key: &[u8],
    value: &[u8],
    facts: &mut Facts,
    marks: &mut Marks,
) -> Result<(), Fault> {
    match bucket {
        b"alarm" => alarm(key, value, facts),
        b"auth" => auth(key, value, facts),
        b"authRoles" => role(key, value, facts),
        b"authUsers" => user(key, value, facts),
        b"cluster" => cluster(key, value, facts),
        b"lease" => lease(key, value, facts),
        b"members" => member(key, value, facts),
        b"members_removed" => removed(key, value, facts),
        b"meta" => meta(key, value, facts, marks),
        _ => Ok(()),
    }
}

fn alarm(key: &[u8], value: &[u8], facts: &mut Facts) -> Result<(), Fault> {
    let alarm = AlarmMember::decode(key).map_err(|e| error(e.to_string()))?;
    facts.alarms.push(Alarm {
        member_id: alarm.member_id,
        alarm: alarm.alarm_name(),
    });
    match value.len() {
        0 => Ok(()),
        len => Err(warning(format!(
            "alarm with a value of {len} bytes, expected none"
        ))),
    }
}

fn auth(key: &[u8], value: &[u8], facts: &mut Facts) -> Result<(), Fault> {
    match key {
        b"authEnabled" => match value {
            [0] | [1] => {
                facts.auth_enabled = value == [1];
                Ok(())
            }
            _ => Err(error(format!(
                "authEnabled is {}, expected one byte, 0 or 1",
                printable(value)
            ))),
        },
        b"authRevision" => number(value).map(|_| ()),
        _ => Err(unknown_key()),
    }
}

fn role(key: &[u8], value: &[u8], facts: &mut Facts) -> Result<(), Fault> {
    let name = Role::decode_with(value, |_| {}).map_err(|e| error(e.to_string()))?;
    facts.roles += 1;
    same_name("role", name, key)
}

fn user(key: &[u8], value: &[u8], facts: &mut Facts) -> Result<(), Fault> {
    let user = User::decode_with(value, |_| {}).map_err(|e| error(e.to_string()))?;
    facts.users += 1;
    same_name("user", user.name, key)
}

fn same_name(what: &str, name: &[u8], key: &[u8]) -> Result<(), Fault> {
    match name == key {
        true => Ok(()),
        false => Err(error(format!(
            "{what} is called {} inside",
            printable(name)
        ))),
    }
}

fn cluster(key: &[u8], value: &[u8], facts: &mut Facts) -> Result<(), Fault> {
    match key {
        b"clusterVersion" => {
            facts.cluster_version = Some(version(value)?);
            Ok(())
        }
        b"downgrade" => match serde_json::from_slice::<Value>(json(value)?) {
            Ok(Value::Object(downgrade)) => match downgrade.get("enabled") {
                Some(Value::Bool(true)) => Err((
                    Severity::Note,
                    format!("a downgrade is under way: {}", printable(value)),
                )),
                _ => Ok(()),
            },
            Ok(_) => Err(error("downgrade is not a JSON object".into())),
            Err(e) => Err(error(format!("downgrade is not JSON: {e}"))),
        },
        _ => Err(unknown_key()),
    }
}

fn lease(key: &[u8], value: &[u8], facts: &mut Facts) -> Result<(), Fault> {
    let id = number(key)?;
    let lease = Lease::decode(value).map_err(|e| error(e.to_string()))?;
    facts.leases += 1;
    if lease.id.cast_unsigned() != id {
        return Err(error(format!("lease has id {:016x} inside", lease.id)));
    }
    match lease.ttl {
        ..=0 => Err(warning(format!(
            "lease with a TTL of {} seconds",
            lease.ttl
        ))),
        _ => Ok(()),
    }
}

fn member(key: &[u8], value: &[u8], facts: &mut Facts) -> Result<(), Fault> {
    let id = members::parse_id(key).map_err(|e| error(e.to_string()))?;
    let member = members::decode(json(value)?).map_err(|e| error(e.to_string()))?;
    let found = member.id;
    facts.members.push(member);
    match found == id {
        true => Ok(()),
        false => Err(error(format!("member has id {found:x} inside"))),
    }
}

fn removed(key: &[u8], value: &[u8], facts: &mut Facts) -> Result<(), Fault> {
    members::parse_id(key).map_err(|e| error(e.to_string()))?;
    facts.removed_members += 1;
    match value {
        b"removed" => Ok(()),
        _ => Err(error(format!(
            "value is {}, expected removed",
            printable(value)
        ))),
    }
}

fn meta(key: &[u8], value: &[u8], facts: &mut Facts, marks: &mut Marks) -> Result<(), Fault> {
    match key {
        b"consistent_index" => facts.consistent_index = Some(number(value)?),
        b"term" => facts.term = Some(number(value)?),
        b"confState" => {
            serde_json::from_slice::<serde_json::Map<String, Value>>(json(value)?)
                .map_err(|e| error(format!("confState is not a JSON object: {e}")))?;
        }
        b"scheduledCompactRev" => marks.scheduled = Some(mark(value)?),
        b"finishedCompactRev" => marks.finished = Some(mark(value)?),
        b"storageVersion" => facts.storage_version = Some(version(value)?),
        _ => return Err(unknown_key()),
    }
    Ok(())
}

fn mark(value: &[u8]) -> Result<Revision, Fault> {
    match RecordKey::decode(value) {
        Ok(RecordKey {
            revision,
            tombstone: false,
        }) => Ok(revision),
        Ok(_) => Err(error("compaction mark with a tombstone's ending".into())),
        Err(what) => Err(error(what)),
    }
}

fn number(value: &[u8]) -> Result<u64, Fault> {
    match value.len() {
        8 => bytes::u64_be(value, 0).map_err(|e| error(e.to_string())),
        len => Err(error(format!("number of {len} bytes, expected 8"))),
    }
}

/// JSON that is short enough to be decoded: decoded it may take twenty times its length.
fn json(value: &[u8]) -> Result<&[u8], Fault> {
    const LONGEST: usize = 256 << 10;
    match value.len() {
        ..=LONGEST => Ok(value),
        len => Err(error(format!(
            "JSON of {len} bytes, expected at most {LONGEST}"
        ))),
    }
}

/// `3.5.0`: three numbers, perhaps with a suffix as in `3.8.0-alpha.0`. It is printed as it is.
fn version(value: &[u8]) -> Result<String, Fault> {
    let text = std::str::from_utf8(value).ok().filter(|text| {
        let mut parts = text.splitn(3, '.');
        let number = |part: Option<&str>| part.is_some_and(|part| part.parse::<u32>().is_ok());
        let patch = |part: Option<&str>| {
            part.is_some_and(|part| {
                part.starts_with(|c: char| c.is_ascii_digit())
                    && part
                        .chars()
                        .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
            })
        };
        number(parts.next()) && number(parts.next()) && patch(parts.next()) && text.len() <= 64
    });
    text.map(str::to_owned).ok_or_else(|| {
        error(format!(
            "version is {}, expected one like 3.5.0",
            printable(value)
        ))
    })
}

fn error(what: String) -> Fault {
    (Severity::Error, what)
}

fn warning(what: String) -> Fault {
    (Severity::Warning, what)
}

fn unknown_key() -> Fault {
    warning("not a key that etcd 3.4 to 3.8 writes here".into())
}

/// What can be said of the small buckets only when all of them are read; what is missing, only of a `whole` db.
pub fn finish(facts: &mut Facts, marks: &Marks, whole: bool, report: &mut Report) {
    use crate::report::Place;
    let meta = || Place::bucket(b"meta");
    let main = |mark: Option<Revision>| mark.map(|mark| mark.main);
    let (scheduled, finished) = (main(marks.scheduled), main(marks.finished));
    facts.compact_revision = scheduled.max(finished);
    facts.compaction_pending = scheduled > finished;
    facts.current_revision = facts
        .revision
        .max(facts.compact_revision.unwrap_or(0))
        .max(1);
    if facts.compaction_pending {
        report.note(
            meta(),
            format!(
                "a compaction at revision {} is not finished; a server will resume it",
                scheduled.unwrap_or(0)
            ),
        );
    }
    if finished > scheduled {
        report.warning(
            meta(),
            format!(
                "compaction finished at {} but scheduled at {}",
                finished.unwrap_or(0),
                scheduled.unwrap_or(0)
            ),
        );
    }
    if whole && facts.consistent_index.is_none() {
        report.warning(meta(), "no consistent_index: every server writes one");
    }
    for alarm in &facts.alarms {
        let means = match alarm.alarm.as_str() {
            // Which of the members is right nobody can tell from one of them.
            "CORRUPT" => {
                ", and its data, or the data in here, may differ from that of the others: compare with a snapshot of another member"
            }
            _ => "",
        };
        report.warning(
            Place::bucket(b"alarm"),
            format!(
                "alarm {} of member {:x} is set; restore drops it{means}",
                alarm.alarm, alarm.member_id
            ),
        );
    }
    if facts.auth_enabled {
        report.note(
            Place::bucket(b"auth"),
            format!(
                "auth is on: users ({}) and roles ({}) come with the snapshot, passwords included",
                facts.users, facts.roles
            ),
        );
    }
    for member in facts.members.iter().filter(|member| member.is_learner) {
        report.note(
            Place::bucket(b"members"),
            format!("member {:x} is a learner", member.id),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(bucket: &str, key: &[u8], value: &[u8]) -> Result<Facts, Fault> {
        let (mut facts, mut marks) = (Facts::default(), Marks::default());
        entry(bucket.as_bytes(), key, value, &mut facts, &mut marks).map(|()| facts)
    }

    #[test]
    fn versions_are_plain_text() {
        for version in ["3.5.0", "3.8.0-alpha.0", "3.7.1+build.7", "10.0.12"] {
            let facts = told("cluster", b"clusterVersion", version.as_bytes()).unwrap();
            assert_eq!(facts.cluster_version.as_deref(), Some(version));
        }
        for version in [
            "",
            "3",
            "3.5",
            "v3.5.0",
            "3.5.x",
            "3.5.0\n",
            "3.5.0 \x1b[1m",
            "3.-5.0",
        ] {
            let (severity, what) = told("meta", b"storageVersion", version.as_bytes()).unwrap_err();
            assert_eq!(severity, Severity::Error);
            assert!(!what.contains(char::is_control), "{what:?}");
        }
    }

    #[test]
    fn unknown_keys_and_buckets_are_no_damage() {
        for bucket in ["auth", "cluster", "meta"] {
            let (severity, _) = told(bucket, b"new in 3.9", b"").unwrap_err();
            assert_eq!(severity, Severity::Warning);
        }
        assert!(told("new in 3.9", b"x", b"\xff").is_ok());
    }

    #[test]
    fn an_alarm_says_what_it_means() {
        let told = |alarm: &str| {
            let mut facts = Facts {
                consistent_index: Some(1),
                alarms: vec![Alarm {
                    member_id: 0xab,
                    alarm: alarm.into(),
                }],
                ..Facts::default()
            };
            let mut report = Report::new(10);
            finish(&mut facts, &Marks::default(), true, &mut report);
            assert_eq!(report.listed()[0].severity, Severity::Warning);
            report.listed()[0].what.clone()
        };
        let nospace = told("NOSPACE");
        assert_eq!(
            nospace,
            "alarm NOSPACE of member ab is set; restore drops it"
        );
        assert!(told("CORRUPT").contains("may differ from that of the others"));
    }

    #[test]
    fn compaction_marks_are_summed_up() {
        let summed = |scheduled, finished| {
            let mark = |main| Revision { main, sub: 0 };
            let marks = Marks {
                scheduled: Some(mark(scheduled)),
                finished: Some(mark(finished)),
            };
            let mut facts = Facts {
                revision: 5,
                consistent_index: Some(1),
                ..Facts::default()
            };
            let mut report = Report::new(10);
            finish(&mut facts, &marks, true, &mut report);
            let told = report.listed().first().map(|finding| finding.severity);
            (facts.current_revision, facts.compaction_pending, told)
        };
        assert_eq!(summed(3, 3), (5, false, None));
        assert_eq!(summed(9, 3), (9, true, Some(Severity::Note)));
        assert_eq!(summed(3, 9), (9, false, Some(Severity::Warning)));
    }
}
