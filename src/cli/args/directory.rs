//! Requests about directories of backups: `backup` and `check`, and who is to hear of them when they make no sense.

use std::ffi::OsString;
use std::path::PathBuf;

use super::super::commands::Command;
use super::super::parse::Typed;
use super::super::raw::Raw;
use super::{Machine, connect_options, effort, is_typed, path};
use crate::catalogue::telling::Telling;
use crate::error::{Error, Result};
use crate::ops::{backup, check};

/// `backup DIR`; `named` if `--name` was typed: its default is another command's.
pub fn backup(
    operands: &[OsString],
    raw: Raw,
    named: bool,
    machine: &Machine,
    warnings: &mut Vec<String>,
) -> Result<backup::Request> {
    Ok(backup::Request {
        dir: path(operands, Command::Backup)?,
        telling: telling(&raw, warnings)?,
        name: match named {
            true => file_stem(&raw.name)?,
            false => "etcd".into(),
        },
        policy: raw.policy.clone(),
        effort: effort(&raw),
        lock_wait: raw.lock_wait,
        timeout: raw.timeout,
        connect: connect_options(raw, machine)?,
    })
}

/// `check DIR`
pub fn check(operands: &[OsString], raw: &Raw) -> Result<check::Request> {
    let reread = match (raw.full, raw.sample) {
        (true, Some(_)) => return Err(Error::usage("--full and --sample: which one?")),
        (true, None) => check::Reread::Full,
        (false, Some(number)) => {
            check::Reread::Sample(usize::try_from(number).unwrap_or(usize::MAX))
        }
        (false, None) => check::Reread::None,
    };
    Ok(check::Request {
        dir: path(operands, Command::Check)?,
        max_age: raw.max_age,
        reread,
        lock_wait: raw.lock_wait,
    })
}

/// Whether a plug-in is to answer, whatever else is wrong.
pub fn asks_for_nagios(typed: &Typed) -> bool {
    typed.command == Command::Check && is_typed(typed, "nagios")
}

/// Where a backup tells how it went.
fn telling(raw: &Raw, warnings: &mut Vec<String>) -> Result<Telling> {
    let telling = Telling {
        report: raw.report.clone(),
        metrics: raw.metrics.clone(),
    };
    if let (true, Some(both)) = (are_one(&telling), &telling.report) {
        let what = format!("--report and --metrics are both {}", both.display());
        return Err(Error::usage(what).hint("each of them needs a file of its own"));
    }
    if let Some(metrics) = &telling.metrics
        && metrics.extension().is_none_or(|it| it != "prom")
    {
        warnings.push(format!(
            "--metrics {}: node_exporter's collector reads only files whose names end in .prom",
            metrics.display()
        ));
    }
    Ok(telling)
}

fn are_one(telling: &Telling) -> bool {
    let place = |path: &Option<PathBuf>| std::path::absolute(path.as_ref()?).ok();
    let report = place(&telling.report);
    report.is_some() && report == place(&telling.metrics)
}

/// A backup that makes no sense has to tell, too: where, and of which directory, as far as that can be seen.
pub fn telling_of(typed: &Typed) -> (PathBuf, Telling) {
    let mut raw = Raw::default();
    for (flag, value) in &typed.flags {
        if ["report", "metrics"].contains(&flag.long) {
            // What cannot be understood here is the error that is to be told.
            let _ = (flag.update)(&mut raw, value);
        }
    }
    let mut telling = Telling {
        report: raw.report,
        metrics: raw.metrics,
    };
    if are_one(&telling) {
        // A name for metrics, more likely than not: what alarms are made of comes first.
        telling.report = None;
    }
    let dir = typed.operands.first().cloned().unwrap_or_default();
    (dir.into(), telling)
}

/// What a name of a file may begin with.
fn file_stem(name: &str) -> Result<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-{}".contains(c);
    let rest = ["{host}", "{member}", "{cluster}"]
        .iter()
        .fold(name.to_string(), |rest, known| rest.replace(known, ""));
    if name.starts_with(['.', '-'])
        || name.len() > 100
        || !name.chars().all(plain)
        || rest.contains(['{', '}'])
    {
        return Err(
            Error::usage(format!("--name {name:?} is no beginning of a file name"))
                .hint("letters, digits, dots and dashes, and {host}, {member} or {cluster}; a letter or a digit first"),
        );
    }
    Ok(name.into())
}
