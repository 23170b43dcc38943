//! From what was typed to what is to be done: flags, variables and defaults become one request.
//! The environment, password files and the terminal are looked at here and nowhere else.

mod directory;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::commands::Command;
use super::env::Environment;
use super::flags::{self, Flag};
use super::parse::Typed;
use super::raw::{Format, ProgressMode, Raw, value};
use crate::client::{ConnectOptions, Password};
use crate::error::{Error, Result};
use crate::limits::Deadlines;
use crate::ops::{backup, check, list, pack, pin, prune, restore, save, status, unpack};
use crate::packed::Effort;
use crate::source::{Input, Source};

pub use directory::{asks_for_nagios, telling_of};

/// A command with everything it needs.
pub struct Invocation {
    /// What to do.
    pub job: Job,
    /// How to tell.
    pub output: Output,
    /// What is odd but harmless.
    pub warnings: Vec<String>,
    /// What `--debug` tells.
    pub debug: Vec<String>,
}

/// What to do.
#[derive(Debug)]
pub enum Job {
    /// `save`
    Save(save::Request),
    /// `verify`: one or more inputs.
    Verify(Vec<Source>),
    /// `status`
    Status(status::Request),
    /// `restore`
    Restore(restore::Request),
    /// `pack`
    Pack(pack::Request),
    /// `unpack`
    Unpack(unpack::Request),
    /// `backup`
    Backup(backup::Request),
    /// `list`
    List(list::Request),
    /// `prune`
    Prune(prune::Request),
    /// `check`, and whether it speaks to Nagios.
    Check(check::Request, bool),
    /// `pin`, `unpin`
    Pin(pin::Request),
    /// `version`
    Version,
}

/// How to tell.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    /// `-w`, if it was given.
    pub format: Option<Format>,
    /// `--progress`
    pub progress: ProgressMode,
    /// `--log-format json`
    pub log_json: bool,
}

/// What the machine knows that the command line does not.
pub struct Machine<'a> {
    /// `ETCDCTL_*`
    pub env: Environment,
    /// Whether standard input is a terminal.
    pub stdin_is_terminal: bool,
    /// Whether standard output is a terminal.
    pub stdout_is_terminal: bool,
    /// Whether standard output was closed.
    pub stdout_is_closed: bool,
    /// Where temporary files may be made, in order of preference.
    pub spool_dirs: Vec<PathBuf>,
    /// Asks for a password on the terminal; an error if there is none.
    pub ask_password: &'a dyn Fn(&str) -> Result<String>,
}

/// Makes sense of a command line on a machine.
pub fn resolve(typed: Typed, machine: &Machine) -> Result<Invocation> {
    let command = typed.command;
    machine.env.check_api(command)?;
    let (raw, mut warnings) = gather(&typed, &machine.env)?;
    warnings.extend(machine.env.warning(command));
    let given = |name: &str| {
        let variable = flags::long(name).and_then(Flag::variable);
        is_typed(&typed, name) || variable.is_some_and(|name| machine.env.get(&name).is_some())
    };
    let output = Output {
        format: raw.write_out,
        progress: raw.progress,
        log_json: raw.log_json,
    };
    let mut debug = match raw.debug {
        true => machine.env.in_effect(command),
        false => Vec::new(),
    };
    let tell = raw.debug;
    let operands = &typed.operands;
    let job = match command {
        Command::Save => Job::Save(save::Request {
            output: for_archives(output_operand(one(operands, command)?, machine)?, &typed)?,
            force: raw.force,
            spool_dirs: machine.spool_dirs.clone(),
            effort: effort(&raw),
            within: given("command-timeout").then_some(raw.command_timeout),
            connect: connect_options(raw, machine)?,
        }),
        Command::Verify => Job::Verify(verify_requests(operands, &raw, machine)?),
        Command::Status => Job::Status(status::Request {
            source: source(one(operands, command)?, &raw, machine)?,
            full: raw.full,
        }),
        Command::Pack => {
            let (from, to) = two(operands, command)?;
            Job::Pack(pack::Request {
                source: source(from, &raw, machine)?,
                output: bytes_operand(to, machine)?,
                force: raw.force,
                effort: effort(&raw),
            })
        }
        Command::Unpack => {
            let (from, to) = two(operands, command)?;
            Job::Unpack(unpack::Request {
                source: source(from, &raw, machine)?,
                output: bytes_operand(to, machine)?,
                force: raw.force,
            })
        }
        Command::Backup => {
            let named = is_typed(&typed, "name");
            Job::Backup(directory::backup(
                operands,
                raw,
                named,
                machine,
                &mut warnings,
            )?)
        }
        Command::List => Job::List(list::Request {
            dir: path(operands, command)?,
        }),
        Command::Prune => Job::Prune(prune::Request {
            dir: path(operands, command)?,
            policy: raw.policy.clone(),
            dry_run: raw.dry_run,
            lock_wait: raw.lock_wait,
        }),
        Command::Check => Job::Check(directory::check(operands, &raw)?, raw.nagios),
        Command::Pin | Command::Unpin => Job::Pin(pin::Request {
            file: path(operands, command)?,
            pin: command == Command::Pin,
            lock_wait: raw.lock_wait,
        }),
        Command::Restore => Job::Restore(restore_request(one(operands, command)?, raw, machine)?),
        Command::Help | Command::Version if operands.is_empty() => Job::Version,
        Command::Help | Command::Version => {
            return Err(wrong(command, format!("{} takes nothing", command.name())));
        }
    };
    if tell {
        debug.push(told(&job));
    }
    Ok(Invocation {
        job,
        output,
        warnings,
        debug,
    })
}

/// What was understood. A name is taken whole beside `--password`, as etcdctl does, and a user in a URL means
/// nothing to etcd; what follows a colon there was meant to be a password all the same.
fn told(job: &Job) -> String {
    let mut text = format!("{job:?}");
    let connect = match job {
        Job::Save(request) => Some(&request.connect),
        Job::Backup(request) => Some(&request.connect),
        _ => None,
    };
    if let Some(connect) = connect {
        let users = connect.user.iter().map(|(user, _)| user.as_str());
        let in_urls = connect.endpoints.iter().filter_map(|url| {
            let (user, _) = url
                .split_once("://")
                .map_or(&**url, |(_, rest)| rest)
                .rsplit_once('@')?;
            Some(user)
        });
        for user in users.chain(in_urls) {
            if let Some((name, _)) = user.split_once(':') {
                text = text.replace(user, &format!("{name}:(hidden)"));
            }
        }
    }
    text
}

/// Every flag of the command gets its value: typed, else from its variable, else its default.
fn gather(typed: &Typed, env: &Environment) -> Result<(Raw, Vec<String>)> {
    let mut raw = Raw::default();
    let warnings = foreign_flags(typed)?;
    for flag in flags::all().filter(|flag| flag.commands.contains(&typed.command)) {
        let variable = flag.variable();
        let variable = variable.filter(|_| !outdone(flag, typed));
        let from_env = variable.and_then(|name| Some((env.get(&name)?.to_os_string(), name)));
        let set = |raw: &mut Raw, value: &OsStr, name: &str| {
            (flag.update)(raw, value).map_err(|what| {
                Error::usage(format!("{name}: {what}")).hint(format!(
                    "{}: {}",
                    flag.synopsis(),
                    flag.short_doc
                ))
            })
        };
        if is_typed(typed, flag.long) {
            for (_, value) in typed.flags.iter().filter(|(it, _)| it.long == flag.long) {
                set(&mut raw, value, &format!("--{}", flag.long))?;
            }
        } else if let Some((value, variable)) = from_env {
            set(&mut raw, &value, &variable)?;
        } else if !flag.default.is_empty() {
            set(&mut raw, OsStr::new(flag.default), flag.long)?;
        }
    }
    Ok((raw, warnings))
}

fn is_typed(typed: &Typed, name: &str) -> bool {
    typed.flags.iter().any(|(flag, _)| flag.long == name)
}

/// A password that is typed in one way beats a variable that has it in the other.
fn outdone(flag: &Flag, typed: &Typed) -> bool {
    match flag.long {
        "password" => is_typed(typed, "password-file"),
        "password-file" => is_typed(typed, "password"),
        _ => false,
    }
}

/// Flags of another command are a mistake. Only under the runbook names, where etcdctl's global
/// flags stand in front of everything, they are taken and said to have no effect.
fn foreign_flags(typed: &Typed) -> Result<Vec<String>> {
    let foreign = |flag: &&Flag| !flag.commands.contains(&typed.command);
    let mut names = Vec::new();
    for flag in typed.flags.iter().map(|(flag, _)| *flag).filter(foreign) {
        if typed.runbook && flag.env {
            names.push(format!("--{}", flag.long));
            continue;
        }
        let takers: Vec<_> = flag.commands.iter().map(|command| command.name()).collect();
        return Err(wrong(
            typed.command,
            format!(
                "{} does not take --{}; it is a flag of {}",
                typed.command.name(),
                flag.long,
                takers.join(", ")
            ),
        ));
    }
    names.dedup();
    let list = names.join(", ");
    let warning = format!(
        "without effect, {} asks no server: {list}",
        typed.command.name()
    );
    Ok(if names.is_empty() {
        vec![]
    } else {
        vec![warning]
    })
}

/// A usage error, with the usage line as its hint.
fn wrong(command: Command, what: String) -> Error {
    Error::usage(what).hint(format!("usage: {}", command.usage()))
}

fn one(operands: &[OsString], command: Command) -> Result<&OsStr> {
    let thing = command.doc().operands.split(' ').next().unwrap_or("INPUT");
    match operands {
        [operand] => Ok(operand),
        [] => Err(wrong(command, format!("{} needs {thing}", command.name()))),
        [first, second, ..] => {
            let (first, second) = (first.to_string_lossy(), second.to_string_lossy());
            let what = format!(
                "{} takes one {thing}, not {first:?} and {second:?}",
                command.name()
            );
            Err(wrong(command, what))
        }
    }
}

fn two(operands: &[OsString], command: Command) -> Result<(&OsStr, &OsStr)> {
    match operands {
        [first, second] => Ok((first, second)),
        _ => {
            let found = operands.len();
            let (name, needed) = (command.name(), command.doc().operands);
            Err(wrong(
                command,
                format!("{name} needs {needed}; {found} given"),
            ))
        }
    }
}

fn effort(raw: &Raw) -> Effort {
    Effort {
        level: raw.level,
        threads: raw.threads,
    }
}

fn source(operand: &OsStr, raw: &Raw, machine: &Machine) -> Result<Source> {
    Ok(Source {
        input: input(operand, raw.latest, machine)?,
        raw: raw.raw || raw.skip_hash_check,
        spool_dirs: machine.spool_dirs.clone(),
    })
}

fn input(operand: &OsStr, latest: bool, machine: &Machine) -> Result<Input> {
    if operand == "-" {
        if latest {
            return Err(Error::usage("--latest goes with a directory, not with -"));
        }
        if machine.stdin_is_terminal {
            return Err(Error::usage("- is standard input, and that is a terminal")
                .hint("name a file, or send one in: < FILE"));
        }
        return Ok(Input::Stdin);
    }
    let path = value::path(operand).map_err(|what| Error::usage(format!("INPUT: {what}")))?;
    Ok(match latest {
        true => Input::Latest(path),
        false => Input::Path(path),
    })
}

fn path(operands: &[OsString], command: Command) -> Result<PathBuf> {
    let operand = one(operands, command)?;
    let thing = command.doc().operands;
    value::path(operand).map_err(|what| Error::usage(format!("{thing}: {what}")))
}

fn verify_requests(operands: &[OsString], raw: &Raw, machine: &Machine) -> Result<Vec<Source>> {
    if operands.is_empty() {
        return Err(wrong(Command::Verify, "verify needs INPUT".into()));
    }
    if operands.iter().filter(|operand| *operand == "-").count() > 1 {
        let what = "standard input (-) can be read only once".into();
        return Err(wrong(Command::Verify, what));
    }
    let each = operands.iter();
    each.map(|operand| source(operand, raw, machine)).collect()
}

fn output_operand(operand: &OsStr, machine: &Machine) -> Result<save::Output> {
    Ok(match bytes_operand(operand, machine)? {
        None => save::Output::Stdout,
        Some(path) if path.extension().is_some_and(|it| it == "zst") => save::Output::Archive(path),
        Some(path) => save::Output::File(path),
    })
}

/// How to pack what is not packed: that the result is no archive would be found out when the disk is full.
fn for_archives(output: save::Output, typed: &Typed) -> Result<save::Output> {
    let mut flags = ["level", "threads"].into_iter();
    match flags.find(|flag| is_typed(typed, flag)) {
        Some(flag) if !matches!(output, save::Output::Archive(_)) => Err(Error::usage(format!(
            "--{flag} is about archives, and OUT is no name of one"
        ))
        .hint("an OUT that ends in .zst becomes an archive")),
        _ => Ok(output),
    }
}

/// A file to be made; `None` for standard output.
fn bytes_operand(operand: &OsStr, machine: &Machine) -> Result<Option<PathBuf>> {
    if operand == "-" {
        let refused = |error: Error| Err(error.hint("name a file, or send them on: > FILE"));
        if machine.stdout_is_terminal {
            let what = "these bytes are no text, and standard output is a terminal";
            return refused(Error::usage(what));
        }
        if machine.stdout_is_closed {
            let what =
                "- is standard output, and that is closed, or a /dev/null that is read and written";
            return refused(Error::failed(what));
        }
        return Ok(None);
    }
    let path = value::path(operand).map_err(|what| Error::usage(format!("OUT: {what}")))?;
    Ok(Some(path))
}

fn connect_options(raw: Raw, machine: &Machine) -> Result<ConnectOptions> {
    if raw.endpoints.is_empty() {
        return Err(Error::usage("--endpoints names no endpoint")
            .hint("--endpoints https://127.0.0.1:2379"));
    }
    let pair = |have: &Path, lacks: &str, has: &str| {
        let file = have.display();
        Err(Error::usage(format!(
            "{has} {file} without {lacks}: a certificate needs its key"
        ))
        .hint("give --cert FILE and --key FILE, or neither"))
    };
    match (&raw.cert, &raw.key) {
        (Some(cert), None) => return pair(cert, "--key", "--cert"),
        (None, Some(key)) => return pair(key, "--cert", "--key"),
        _ => {}
    }
    let user = credentials(&raw, machine)?;
    Ok(ConnectOptions {
        endpoints: raw.endpoints,
        cacert: raw.cacert,
        cert: raw.cert,
        key: raw.key,
        insecure_skip_tls_verify: raw.insecure_skip_tls_verify,
        force_tls: !raw.insecure_transport,
        user,
        keepalive_time: raw.keepalive_time,
        keepalive_timeout: raw.keepalive_timeout,
        deadlines: Deadlines {
            connect: raw.dial_timeout,
            call: raw.command_timeout,
            idle: raw.idle_timeout,
        },
    })
}

/// `--user` with its password, from wherever that comes.
fn credentials(raw: &Raw, machine: &Machine) -> Result<Option<(String, Password)>> {
    let Some(user) = &raw.user else {
        return Ok(None);
    };
    let password = match (&raw.password, &raw.password_file) {
        (Some(_), Some(_)) => {
            return Err(Error::usage("--password and --password-file: which one?"));
        }
        (Some(password), None) => password.clone(),
        (None, Some(file)) => password_in(file, &machine.env)?,
        (None, None) => match user.split_once(':') {
            Some((name, password)) => {
                return Ok(Some((name.into(), Password(password.into()))));
            }
            None => (machine.ask_password)(user)?,
        },
    };
    Ok(Some((user.clone(), Password(password))))
}

/// The one line of a password file. An error names the flag, or the variable that it came from.
fn password_in(file: &Path, env: &Environment) -> Result<String> {
    const VARIABLE: &str = "ETCDCTL_PASSWORD_FILE";
    let name = match env.get(VARIABLE).is_some_and(|value| value == file) {
        true => VARIABLE,
        false => "--password-file",
    };
    let text = std::fs::read_to_string(file).map_err(|error| {
        Error::io("read", file, error)
            .within(name)
            .hint("it must be a file that this user may read, with one line: the password")
    })?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.contains('\n') || line.is_empty() {
        let found = if line.is_empty() {
            "nothing"
        } else {
            "more than one line"
        };
        return Err(Error::usage(format!(
            "{name} {}: {found} in it, one line was expected",
            file.display()
        )));
    }
    Ok(line.to_string())
}

fn restore_request(operand: &OsStr, raw: Raw, machine: &Machine) -> Result<restore::Request> {
    let bump = bump(&raw)?;
    let source = source(operand, &raw, machine)?;
    let Some(data_dir) = raw.data_dir else {
        return Err(wrong(
            Command::Restore,
            "restore needs --data-dir DIR".into(),
        ));
    };
    Ok(restore::Request {
        source,
        data_dir,
        wal_dir: raw.wal_dir,
        name: raw.name,
        initial_cluster: raw.initial_cluster,
        initial_cluster_token: raw.initial_cluster_token,
        initial_advertise_peer_urls: raw.initial_advertise_peer_urls,
        bump,
        owner: raw.owner,
        move_aside: raw.move_aside,
        dry_run: raw.dry_run,
    })
}

/// etcdutl insists on `--bump-revision` and `--mark-compacted` together; ours marks whenever it bumps.
fn bump(raw: &Raw) -> Result<restore::Bump> {
    let by = raw.bump_revision;
    match (by, raw.no_bump, raw.mark_compacted) {
        (Some(1..), true, _) => Err(Error::usage("--bump-revision and --no-bump: which one?")),
        (Some(1..), _, Some(false)) => Err(Error::usage(
            "--mark-compacted=false: a revision that is bumped must be marked compacted, or watchers miss the change",
        )),
        (Some(by @ 1..), ..) => Ok(restore::Bump::By(by)),
        (_, _, Some(true)) => Err(Error::usage("--mark-compacted goes with --bump-revision N")
            .hint("--bump-revision 1000000000 --mark-compacted")),
        (Some(0), ..) | (_, true, _) => Ok(restore::Bump::Off),
        (None, false, _) => Ok(restore::Bump::Auto),
    }
}

#[cfg(test)]
#[path = "args_tests.rs"]
mod tests;
