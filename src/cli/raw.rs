//! What was asked for, word by word: the values of all flags, before anything is opened or decided.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::catalogue::policy::Policy;

/// The values of all flags: typed, from the environment, or their defaults, in that order.
#[derive(Clone, Default)]
pub struct Raw {
    pub endpoints: Vec<String>,
    pub cacert: Option<PathBuf>,
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
    pub user: Option<String>,
    pub password: Option<String>,
    pub password_file: Option<PathBuf>,
    pub insecure_transport: bool,
    pub insecure_skip_tls_verify: bool,
    pub dial_timeout: Duration,
    pub command_timeout: Duration,
    pub idle_timeout: Duration,
    pub keepalive_time: Duration,
    pub keepalive_timeout: Duration,
    pub write_out: Option<Format>,
    pub progress: ProgressMode,
    pub debug: bool,
    pub force: bool,
    pub raw: bool,
    pub data_dir: Option<PathBuf>,
    pub wal_dir: Option<PathBuf>,
    pub name: String,
    pub initial_cluster: Option<String>,
    pub initial_cluster_token: Option<String>,
    pub initial_advertise_peer_urls: Option<String>,
    pub bump_revision: Option<u64>,
    pub mark_compacted: Option<bool>,
    pub no_bump: bool,
    pub skip_hash_check: bool,
    pub owner: Option<String>,
    pub move_aside: bool,
    pub dry_run: bool,
    pub level: i32,
    pub threads: Option<usize>,
    pub full: bool,
    pub policy: Policy,
    pub report: Option<PathBuf>,
    pub metrics: Option<PathBuf>,
    pub timeout: Option<Duration>,
    pub lock_wait: Duration,
    pub max_age: Duration,
    pub sample: Option<u64>,
    pub nagios: bool,
    pub latest: bool,
    pub log_json: bool,
}

/// `-w`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// What scripts written for etcdctl and etcdutl expect.
    Simple,
    /// Laid out for a person.
    Table,
    /// One JSON document.
    Json,
    /// `"Name" : value`, a line each.
    Fields,
}

/// `--progress`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProgressMode {
    /// A line on a terminal, nothing elsewhere.
    #[default]
    Auto,
    /// JSON lines on standard error.
    Json,
    /// Nothing.
    None,
}

/// Reading single values. An error says what was found and what was expected; the flag or variable is named by the caller.
pub mod value {
    use std::ffi::OsStr;

    use super::*;

    /// UTF-8 text.
    pub fn text(value: &OsStr) -> Result<String, String> {
        let text = value
            .to_str()
            .ok_or("not UTF-8 text; only names of files may be that")?;
        Ok(text.to_string())
    }

    /// Text that says something.
    pub fn word(value: &OsStr) -> Result<String, String> {
        let text = text(value)?;
        if text.is_empty() {
            return Err("an empty value".into());
        }
        Ok(text)
    }

    /// A name of a file or directory.
    pub fn path(value: &OsStr) -> Result<PathBuf, String> {
        if value.is_empty() {
            return Err("an empty name".into());
        }
        Ok(PathBuf::from(OsString::from(value)))
    }

    /// A name of a file; standard output is none.
    pub fn file(value: &OsStr) -> Result<PathBuf, String> {
        match value == "-" {
            true => Err("- names no file; -w json prints the report on standard output".into()),
            false => path(value),
        }
    }

    /// A list: `a,b`, blanks around the items and empty items dropped.
    pub fn list(value: &OsStr) -> Result<Vec<String>, String> {
        let text = text(value)?;
        let items = text.split(',').map(str::trim);
        Ok(items
            .filter(|item| !item.is_empty())
            .map(String::from)
            .collect())
    }

    /// What Go's `strconv.ParseBool` takes.
    pub fn boolean(value: &OsStr) -> Result<bool, String> {
        match text(value)?.as_str() {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
            other => Err(format!("{other:?} is neither true nor false")),
        }
    }

    /// A whole number that is not negative.
    pub fn number(value: &OsStr) -> Result<u64, String> {
        let text = text(value)?;
        text.parse()
            .map_err(|_| format!("{text:?} is not a whole number from 0 to {}", u64::MAX))
    }

    /// Anything that reads itself.
    pub fn parsed<T: std::str::FromStr<Err = crate::error::Error>>(
        value: &OsStr,
    ) -> Result<T, String> {
        text(value)?.parse().map_err(|e: T::Err| e.to_string())
    }

    /// A number of bytes, with K, M, G or T for powers of 1024: `20G`.
    pub fn bytes(value: &OsStr) -> Result<u64, String> {
        let text = text(value)?;
        let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
        let unit = text.get(digits.len()..).unwrap_or_default();
        let unit = unit.trim_end_matches('B').trim_end_matches('i');
        let shift = match unit.to_ascii_uppercase().as_str() {
            "" => 0,
            "K" => 10,
            "M" => 20,
            "G" => 30,
            "T" => 40,
            _ => return Err(format!("{text:?} is not a size, like 500M or 20G")),
        };
        let number: Option<u64> = digits.parse().ok();
        number
            .and_then(|number| number.checked_mul(1 << shift))
            .filter(|bytes| *bytes > 0)
            .ok_or_else(|| format!("{text:?} is not a size, like 500M or 20G"))
    }

    /// What Go's `time.ParseDuration` takes, and days; longer than nothing: `5s`, `1m30s`, `1.5h`, `300ms`, `2d`.
    pub fn duration(value: &OsStr) -> Result<Duration, String> {
        let text = text(value)?;
        match go_duration(&text) {
            Some(duration) if duration.is_zero() => {
                Err(format!("{text:?}: a wait must be longer than nothing"))
            }
            Some(duration) => Ok(duration),
            None if text.parse::<u32>().is_ok() => Err(format!(
                "{text:?} is not a duration without its unit: {text}s, {text}m or {text}h?"
            )),
            None => Err(format!(
                "{text:?} is not a duration, like 5s, 1m30s, 300ms or 2d"
            )),
        }
    }

    /// One of a few words.
    pub fn choice<T: Copy>(value: &OsStr, choices: &[(&str, T)]) -> Result<T, String> {
        let text = text(value)?;
        if let Some((_, choice)) = choices.iter().find(|(name, _)| *name == text) {
            return Ok(*choice);
        }
        let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
        Err(format!("{text:?} is not one of {}", names.join(", ")))
    }

    fn go_duration(text: &str) -> Option<Duration> {
        const UNITS: [(&str, f64); 9] = [
            // Longer names before those that they begin with.
            ("ns", 1e-9),
            ("us", 1e-6),
            ("µs", 1e-6),
            ("μs", 1e-6),
            ("ms", 1e-3),
            ("s", 1.0),
            ("m", 60.0),
            ("h", 3600.0),
            ("d", 86_400.0),
        ];
        let mut rest = text.strip_prefix('+').unwrap_or(text);
        if rest == "0" {
            return Some(Duration::ZERO);
        }
        let mut seconds = 0.0;
        while !rest.is_empty() || text.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
            let (number, tail) = rest.split_at(digits);
            let number: f64 = number.parse().ok()?;
            let (unit, scale) = UNITS.iter().find(|(unit, _)| tail.starts_with(unit))?;
            seconds += number * scale;
            rest = tail.strip_prefix(unit)?;
        }
        Duration::try_from_secs_f64(seconds).ok()
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn durations_are_those_of_go_and_days() {
            let parse = |text: &str| duration(OsStr::new(text));
            assert_eq!(parse("5s"), Ok(Duration::from_secs(5)));
            assert_eq!(parse("1m30s"), Ok(Duration::from_secs(90)));
            assert_eq!(parse("300ms"), Ok(Duration::from_millis(300)));
            assert_eq!(parse("1.5h"), Ok(Duration::from_secs(5400)));
            assert_eq!(parse("1h2m3.5s"), Ok(Duration::from_millis(3_723_500)));
            assert_eq!(parse("2us"), Ok(Duration::from_micros(2)));
            assert_eq!(parse("1d12h"), Ok(Duration::from_secs(36 * 3600)));
            let message = parse("26").unwrap_err();
            assert!(
                message.ends_with("without its unit: 26s, 26m or 26h?"),
                "{message}"
            );
            for wrong in [
                "", "5", "s", "5x", "-1s", "1s2", "1..5s", "0", "0s", "1e99h", "5 s",
            ] {
                assert!(parse(wrong).is_err(), "{wrong}");
            }
        }

        #[test]
        fn booleans_numbers_lists_and_choices() {
            assert_eq!(boolean(OsStr::new("T")), Ok(true));
            assert_eq!(boolean(OsStr::new("0")), Ok(false));
            assert!(boolean(OsStr::new("yes")).is_err());
            assert_eq!(number(OsStr::new("1000000000")), Ok(1_000_000_000));
            assert!(number(OsStr::new("-1")).is_err());
            assert_eq!(bytes(OsStr::new("20G")), Ok(20 << 30));
            assert_eq!(bytes(OsStr::new("500MiB")), Ok(500 << 20));
            assert_eq!(bytes(OsStr::new("7")), Ok(7));
            for wrong in ["", "G", "0", "1X", "-1", "99999999T", "1.5G"] {
                assert!(bytes(OsStr::new(wrong)).is_err(), "{wrong}");
            }
            assert_eq!(list(OsStr::new(" a, b ,,c")).unwrap(), ["a", "b", "c"]);
            let message = choice(OsStr::new("yaml"), &[("simple", 1), ("json", 2)]).unwrap_err();
            assert_eq!(message, "\"yaml\" is not one of simple, json");
        }
    }
}
