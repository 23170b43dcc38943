//! The program's table of contents: parse, call one operation, render, exit.
//!
//! `parse` takes the command line apart with the tables of `commands` and `flags`; `args`
//! makes a request of it; the functions below run the request and print what `render` makes of the
//! outcome; `exit` ends the process. Only `ui` prints.

mod args;
mod commands;
mod env;
mod exit;
mod flags;
mod help;
mod humanize;
mod parse;
mod progress;
mod raw;
mod render;
mod signals;
mod suggest;
mod table;
mod tty;
mod ui;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use args::{Invocation, Job, Machine, Output};
use commands::Command;
use exit::Exit;
use parse::{Parsed, Typed};
use progress::Progress;
use raw::Format;
use render::{input_name, input_word};

use crate::catalogue::run::{Outcome, RunReport, Stage};
use crate::catalogue::telling::Telling;
use crate::error::{Error, Kind, Result};
use crate::limits::Limits;
use crate::ops;
use crate::report::Severity;
use crate::shell;
use crate::snapshot::{Sum, Verdict};
use crate::source::{Input, Source};

/// The whole program.
pub fn main() -> ExitCode {
    exit::with(run())
}

fn run() -> Result<Exit> {
    let words: Vec<_> = std::env::args_os().skip(1).collect();
    // What is wrong with the command line is told in the same way.
    ui::log_json(parse::asks_for_json_log(&words));
    let typed = match parse::parse(words.iter().cloned()) {
        Ok(Parsed::Help(about, length)) => return answer(&help::text(about, length)),
        Ok(Parsed::Topic(text)) => return answer(text),
        Ok(Parsed::Version) => return answer(&help::version()),
        Ok(Parsed::Run(typed)) => typed,
        Err(error) => return senseless(&words, error),
    };
    let invocation = match understood(typed) {
        Ok(invocation) => invocation,
        Err(error) => return senseless(&words, error),
    };
    ui::log_json(invocation.output.log_json);
    invocation
        .warnings
        .iter()
        .for_each(|text| ui::warning(text));
    invocation.debug.iter().for_each(|text| ui::debug(text));
    match invocation.job {
        Job::Save(request) => save(&request, invocation.output),
        Job::Verify(requests) => verify(requests, invocation.output),
        Job::Status(request) => status(request, invocation.output),
        Job::Restore(request) => restore(request, invocation.output),
        Job::Pack(request) => pack(request, invocation.output),
        Job::Unpack(request) => unpack(request, invocation.output),
        Job::Backup(request) => backup(&request, invocation.output),
        Job::List(request) => list(&request, invocation.output),
        Job::Prune(request) => prune(&request, invocation.output),
        Job::Check(request, nagios) => check(&request, nagios, invocation.output),
        Job::Pin(request) => pin(&request, invocation.output),
        Job::Version => answer(&help::version()),
    }
}

/// What is to be done, on this machine.
fn understood(typed: Typed) -> Result<Invocation> {
    signals::install()?;
    let machine = Machine {
        env: env::Environment::of(std::env::vars_os()),
        spool_dirs: env::spool_dirs(),
        stdin_is_terminal: ui::stdin_is_terminal(),
        stdout_is_terminal: ui::stdout_is_terminal(),
        stdout_is_closed: ui::stdout_is_closed(),
        ask_password: &tty::ask_password,
    };
    args::resolve(typed, &machine)
}

/// A command line that makes no sense. Whoever watches the command must not take its last good result for today's:
/// a backup writes report and metrics all the same, and a plug-in answers on standard output.
fn senseless(words: &[OsString], error: Error) -> Result<Exit> {
    let Some(typed) = parse::gist(words) else {
        return Err(error);
    };
    if args::asks_for_nagios(&typed) {
        return unknown(&error);
    }
    if typed.command == Command::Backup {
        let (dir, telling) = args::telling_of(&typed);
        let (tool, code) = (help::version(), Exit::Told(error.kind()).code());
        let limits = Limits::default();
        let mut report = ops::backup::never_began(&dir, tool.trim(), &error, code, &limits);
        let mut error = Some(error);
        tell(&telling, &mut report, &mut error);
        return Err(error.unwrap_or_else(Error::interrupted));
    }
    Err(error)
}

/// `save OUT`
fn save(request: &ops::save::Request, output: Output) -> Result<Exit> {
    let progress = Progress::new(output.progress, None);
    let stdout = ui::stdout_for_bytes()?;
    let outcome = ops::save::run(request, &Limits::default(), &progress, &stdout)?;
    progress.finish();
    let format = format(output);
    tell_findings(&render::save::name(request), &outcome.verdict, format);
    let text = render::save::text(request, &outcome, format);
    match &request.output {
        ops::save::Output::Stdout => ui::answer_aside(&text),
        ops::save::Output::File(path) | ops::save::Output::Archive(path) => {
            let whole = path.display().to_string();
            ui::answer(&text).map_err(|error| done_all_the_same(error, &whole))?;
        }
    }
    Ok(Exit::of(outcome.verdict.sum))
}

/// `verify INPUT...`: all of them, whatever becomes of one; a signal ends it.
fn verify(mut sources: Vec<Source>, output: Output) -> Result<Exit> {
    let format = format(output);
    let mut worst = Exit::Done;
    let mut results = Vec::new();
    let several = sources.len() > 1;
    for (number, source) in sources.iter_mut().enumerate() {
        let subject = several.then(|| input_word(&source.input));
        let progress = Progress::new(output.progress, subject);
        let settled = source.settle(&Limits::default(), &progress);
        let result = settled.and_then(|()| ops::verify::run(source, &Limits::default(), &progress));
        progress.finish();
        worst = worst.worse(match &result {
            Err(error) if error.kind() == Kind::Interrupted => return Err(Error::interrupted()),
            Err(error) => {
                ui::error(error);
                Exit::Told(error.kind())
            }
            Ok(verdict) => {
                let between = if number > 0 && format == Format::Table {
                    "\n"
                } else {
                    ""
                };
                let text =
                    render::verify::text(&source.input, verdict, format, ui::Paint::for_stdout());
                ui::answer(&format!("{between}{text}"))?;
                tell_verdict(&input_name(&source.input), verdict, format);
                Exit::of(verdict.sum)
            }
        });
        results.push((&source.input, result));
    }
    if format == Format::Json {
        ui::answer(&render::verify::document(&results, worst.code()))?;
    }
    Ok(worst)
}

/// `status INPUT`
fn status(mut request: ops::status::Request, output: Output) -> Result<Exit> {
    let progress = Progress::new(output.progress, None);
    request.source.settle(&Limits::default(), &progress)?;
    let outcome = ops::status::run(&request, &Limits::default(), &progress)?;
    progress.finish();
    let format = format(output);
    ui::answer(&render::status::text(&request, &outcome, format))?;
    let name = input_name(&request.source.input);
    if format != Format::Json && (format != Format::Table || outcome.report.is_damaged()) {
        ui::findings(&name, &outcome.report, Severity::Warning);
    }
    if !outcome.report.is_damaged() {
        return Ok(Exit::Done);
    }
    let problems = render::verify::problems(&outcome.report);
    let verify = shell::command(["etcd-rescue", "verify", &input_word(&request.source.input)]);
    Err(Error::damaged(format!("{name} is damaged: {problems}"))
        .hint(format!("{verify} gives the whole verdict")))
}

/// `restore INPUT --data-dir DIR`
fn restore(mut request: ops::restore::Request, output: Output) -> Result<Exit> {
    let progress = Progress::new(output.progress, None);
    let another = another(&request.source.input, "restore another snapshot");
    request.source.settle(&Limits::default(), &progress)?;
    let ending = ops::restore::run(&request, &Limits::default(), &progress)?;
    progress.finish();
    let format = format(output);
    let verdict = match ending {
        ops::restore::Ending::Done(outcome) => {
            let name = input_name(&request.source.input);
            tell_findings(&name, &outcome.verdict, format);
            if format != Format::Json {
                tell_remarks(&render::restore::remarks(&request, &outcome));
            }
            let told = ui::answer(&render::restore::text(&request, &outcome, format));
            let whole = outcome.plan.member_dir.display().to_string();
            return match told {
                Err(error) if !outcome.dry_run => Err(done_all_the_same(error, &whole)),
                told => told.map(|()| Exit::Done),
            };
        }
        ops::restore::Ending::BadInput(verdict) => verdict,
    };
    if format == Format::Json {
        ui::answer(&render::restore::bad_input(&request, &verdict))?;
    }
    Err(bad_input(
        &input_name(&request.source.input),
        &verdict,
        &another,
    ))
}

/// Where there may be one that is good, when this one is not.
fn another(input: &Input, other: &str) -> String {
    match input {
        Input::Latest(dir) => format!(
            "etcd-rescue check {} --full verifies every backup, and --latest then takes the newest good one",
            shell::path(dir)
        ),
        _ => format!("{other}; etcd-rescue verify INPUT... tells good ones from bad ones"),
    }
}

/// Nobody heard of it, and a second run would find the first one's work in its way.
fn done_all_the_same(error: Error, whole: &str) -> Error {
    error.hint(format!(
        "the work is done all the same: {whole} is whole, and in place"
    ))
}

fn tell_remarks(remarks: &[render::restore::Remark]) {
    for remark in remarks {
        ui::warning(&remark.what);
        if let Some(text) = &remark.hint {
            ui::hint(text);
        }
    }
}

/// `pack INPUT OUT`
fn pack(mut request: ops::pack::Request, output: Output) -> Result<Exit> {
    let progress = Progress::new(output.progress, None);
    let another = another(&request.source.input, "pack another one");
    request.source.settle(&Limits::default(), &progress)?;
    let stdout = ui::stdout_for_bytes()?;
    let ending = ops::pack::run(&request, &Limits::default(), &progress, &stdout)?;
    progress.finish();
    let format = format(output);
    match ending {
        ops::pack::Ending::Done(outcome) => {
            let name = input_name(&request.source.input);
            tell_findings(&name, &outcome.verdict, format);
            let text = render::pack::packed(&request, &outcome, format);
            answer_beside(request.output.as_deref(), &text)
        }
        ops::pack::Ending::BadInput(verdict) => {
            unusable(&request.source.input, &verdict, format, &another)
        }
    }
}

/// `unpack INPUT OUT`
fn unpack(mut request: ops::unpack::Request, output: Output) -> Result<Exit> {
    let progress = Progress::new(output.progress, None);
    request.source.settle(&Limits::default(), &progress)?;
    let stdout = ui::stdout_for_bytes()?;
    let ending = ops::unpack::run(&request, &Limits::default(), &progress, &stdout)?;
    progress.finish();
    let format = format(output);
    match ending {
        ops::unpack::Ending::Done(verdict) => {
            tell_findings(&input_name(&request.source.input), &verdict, format);
            let text = render::pack::unpacked(&request, &verdict, format);
            answer_beside(request.output.as_deref(), &text)
        }
        ops::unpack::Ending::BadInput(verdict) => {
            let hint = "unpack another one; zstd -dc or gunzip -c give what stands in front of the first damage, and stop there";
            unusable(&request.source.input, &verdict, format, hint)
        }
    }
}

/// The answer goes to standard error when standard output has the bytes.
fn answer_beside(made: Option<&Path>, text: &str) -> Result<Exit> {
    match made {
        None => ui::answer_aside(text),
        Some(path) => ui::answer(text)
            .map_err(|error| done_all_the_same(error, &path.display().to_string()))?,
    }
    Ok(Exit::Done)
}

fn unusable(input: &Input, verdict: &Verdict, format: Format, hint: &str) -> Result<Exit> {
    if format == Format::Json {
        ui::answer_aside(&render::pack::bad_input(input, verdict));
    }
    Err(bad_input(&input_name(input), verdict, hint))
}

/// Nothing is made of an input that is not good.
fn bad_input(name: &str, verdict: &Verdict, hint: &str) -> Error {
    ui::findings(name, &verdict.report, Severity::Warning);
    let summary = render::verify::summary(verdict);
    let word = render::verify::word(verdict.sum);
    let error = Error::damaged(format!("{name} is {word}; nothing was written ({summary})"));
    match verdict.sum {
        Sum::Unproven => error.hint(RAW),
        _ => error.hint(hint),
    }
}

/// `backup DIR`: the report and the metrics are written however it ended.
fn backup(request: &ops::backup::Request, output: Output) -> Result<Exit> {
    let progress = Progress::new(output.progress, None);
    let tool = help::version();
    let (mut report, mut error) =
        ops::backup::run(request, tool.trim(), &Limits::default(), &progress);
    progress.finish();
    let exit = match (&error, report.outcome) {
        (Some(error), _) => Exit::Told(error.kind()),
        (None, Outcome::Suspicious) => Exit::Bad,
        (None, _) => Exit::Done,
    };
    report.exit_code = exit.code();
    tell(&request.telling, &mut report, &mut error);
    for what in &report.suspicious {
        ui::warning(&format!(
            "the new backup is suspicious: {what}; nothing was pruned"
        ));
    }
    if let (Outcome::Suspicious, Some(saved)) = (report.outcome, &report.saved) {
        let file = shell::path(&request.dir.join(&saved.file));
        ui::hint(&format!(
            "if that was meant to happen, accept it: etcd-rescue unpin {file}"
        ));
    }
    if error.is_none() && (output.format.is_some() || ui::stdout_is_terminal()) {
        let answer = ui::answer(&render::backup::made(&report, format(output)));
        if untold(answer, &mut report, &mut error) {
            tell(&request.telling, &mut report, &mut error);
        }
    }
    if let (Stage::Report, Some(saved)) = (report.stage, &report.saved) {
        ui::note(&format!("{} is made all the same, and counts", saved.file));
    }
    match error {
        Some(error) => Err(error),
        None => Ok(exit),
    }
}

/// Metrics and report; each is tried, whatever becomes of the other. Metrics first: the report tells of metrics that
/// could not be written.
fn tell(telling: &Telling, report: &mut RunReport, error: &mut Option<Error>) {
    untold(telling.metrics(report), report, error);
    if untold(telling.report(report), report, error) {
        // They have to agree.
        untold(telling.metrics(report), report, error);
    }
}

/// What could not be told is the error that ends the run, unless there is one already. Whether it is new.
fn untold(told: Result<()>, report: &mut RunReport, error: &mut Option<Error>) -> bool {
    let Err(fault) = told else {
        return false;
    };
    let Some(first) = error else {
        report.untold(&fault, Exit::Told(fault.kind()).code());
        *error = Some(fault);
        return true;
    };
    let text = fault.to_string();
    let known = text == first.to_string() || report.warnings.contains(&text);
    if !known {
        ui::warning(&text);
        report.warnings.push(text);
    }
    !known
}

/// `list DIR`
fn list(request: &ops::list::Request, output: Output) -> Result<Exit> {
    let outcome = ops::list::run(request, &Limits::default())?;
    outcome.problem.iter().for_each(|text| ui::warning(text));
    let format = format(output);
    ui::answer(&render::backup::listed(&outcome, format))?;
    if matches!(format, Format::Simple | Format::Fields) {
        let others = render::backup::others(&outcome);
        others.iter().for_each(|text| ui::note(text));
    }
    Ok(Exit::Done)
}

/// `prune DIR`
fn prune(request: &ops::prune::Request, output: Output) -> Result<Exit> {
    let progress = Progress::new(output.progress, None);
    let outcome = ops::prune::run(request, &Limits::default(), &progress)?;
    progress.finish();
    outcome.warnings.iter().for_each(|text| ui::warning(text));
    ui::answer(&render::backup::pruned(request, &outcome, format(output)))?;
    outcome.failed.map_or(Ok(Exit::Done), Err)
}

/// `check DIR`
fn check(request: &ops::check::Request, nagios: bool, output: Output) -> Result<Exit> {
    let progress = Progress::new(output.progress, None);
    let checked = ops::check::run(request, &Limits::default(), &progress);
    progress.finish();
    if nagios {
        return match checked {
            Err(error) if error.kind() == Kind::Interrupted => Err(error),
            Err(error) => unknown(&error),
            Ok(outcome) => {
                let (line, code) = render::backup::nagios(request, &outcome);
                ui::answer(&line)?;
                Ok(Exit::Nagios(code))
            }
        };
    }
    let outcome = checked?;
    outcome.warnings.iter().for_each(|text| ui::warning(text));
    ui::answer(&render::backup::checked(&outcome, format(output)))?;
    if let Some(error) = ops::check::error(request, &outcome) {
        ui::error(&error);
        return Ok(Exit::Late);
    }
    let dir = request.dir.display();
    match outcome.totals.damaged {
        0 if outcome.unreadable() > 0 => Err(Error::failed(format!(
            "{dir}: {} could not be read, though the newest verified one is young enough",
            humanize::count(outcome.unreadable(), "backup")
        ))
        .hint("run it as the user that made them, root perhaps")),
        0 => outcome.unrecorded.map_or(Ok(Exit::Done), |e| {
            Err(e.within("what was found is not recorded"))
        }),
        damaged => Err(Error::damaged(format!(
            "{dir}: {} damaged, though the newest verified one is young enough",
            humanize::count(damaged, "backup")
        ))
        .hint(format!(
            "etcd-rescue list {} shows which; remove what you do not want to keep",
            shell::path(&request.dir)
        ))),
    }
}

/// What a plug-in says when it cannot tell.
fn unknown(error: &Error) -> Result<Exit> {
    let text = error.to_string().replace(['|', '\n'], " ");
    ui::answer(&format!("ETCD-RESCUE UNKNOWN - {text}\n"))?;
    Ok(Exit::Nagios(3))
}

/// `pin FILE`, `unpin FILE`
fn pin(request: &ops::pin::Request, output: Output) -> Result<Exit> {
    let progress = Progress::new(output.progress, None);
    ops::pin::run(request, &Limits::default(), &progress)?;
    Ok(Exit::Done)
}

/// What a raw copy is told.
const RAW: &str = "it has no SHA-256 at its end, as a raw copy of member/snap/db has none, so nothing shows that it arrived whole; \
                   add --raw to accept it if you know where it comes from";

/// What was found in an input of which something was made, on standard error: before the answer, which
/// may be lost, and not if that is the document that has it.
fn tell_findings(name: &str, verdict: &Verdict, format: Format) {
    if format != Format::Json {
        ui::findings(name, &verdict.report, Severity::Note);
    }
}

/// The same for `verify`, whose table has the findings too.
fn tell_verdict(name: &str, verdict: &Verdict, format: Format) {
    if format != Format::Table {
        tell_findings(name, verdict, format);
    }
    if verdict.sum == Sum::Unproven {
        ui::hint(&format!("{name}: {RAW}"));
    }
}

/// `-w`, or what suits the reader.
fn format(output: Output) -> Format {
    output.format.unwrap_or(match ui::stdout_is_terminal() {
        true => Format::Table,
        false => Format::Simple,
    })
}

fn answer(text: &str) -> Result<Exit> {
    ui::answer(text)?;
    Ok(Exit::Done)
}
