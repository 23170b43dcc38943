//! What a policy says: restic's names for its rules, and what each rule counts.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::within::Within;
use crate::error::{Error, Result};

/// How many of a kind a rule keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Count {
    /// The rule is off.
    #[default]
    Off,
    /// This many, at least one.
    Newest(u32),
    /// All of them: the newest of every hour, day, ….
    Unlimited,
}

impl Count {
    /// One has been kept.
    pub fn less_one(self) -> Count {
        match self {
            Count::Off | Count::Newest(..2) => Count::Off,
            Count::Newest(left) => Count::Newest(left - 1),
            Count::Unlimited => Count::Unlimited,
        }
    }
}

impl FromStr for Count {
    type Err = Error;

    /// A number, 0 for off, or `unlimited` (restic 0.16 and later; `-1` means the same).
    fn from_str(text: &str) -> Result<Count> {
        match (text, text.parse()) {
            ("unlimited" | "-1", _) => Ok(Count::Unlimited),
            (_, Ok(0)) => Ok(Count::Off),
            (_, Ok(number)) => Ok(Count::Newest(number)),
            (_, Err(_)) => Err(Error::usage(format!("{text:?} is no number of backups"))
                .hint("a number, or unlimited")),
        }
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Count::Off => f.write_str("0"),
            Count::Newest(number) => write!(f, "{number}"),
            Count::Unlimited => f.write_str("unlimited"),
        }
    }
}

/// The `--keep-*` flags and `--max-size`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// `--keep-last`
    pub last: Count,
    /// `--keep-hourly`
    pub hourly: Count,
    /// `--keep-daily`
    pub daily: Count,
    /// `--keep-weekly`, ISO weeks
    pub weekly: Count,
    /// `--keep-monthly`
    pub monthly: Count,
    /// `--keep-yearly`
    pub yearly: Count,
    /// `--keep-within`; zero is off
    pub within: Within,
    /// `--max-size`, bytes
    pub max_size: Option<u64>,
}

impl Policy {
    /// No keep rule is given: the rules keep everything.
    pub fn keeps_all(&self) -> bool {
        self.within.is_zero() && self.counts().iter().all(|(_, count)| *count == Count::Off)
    }

    /// The rules that count.
    pub fn counts(&self) -> [(Rule, Count); 6] {
        [
            (Rule::Last, self.last),
            (Rule::Hourly, self.hourly),
            (Rule::Daily, self.daily),
            (Rule::Weekly, self.weekly),
            (Rule::Monthly, self.monthly),
            (Rule::Yearly, self.yearly),
        ]
    }
}

/// A rule that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// `--keep-last`
    Last,
    /// `--keep-hourly`
    Hourly,
    /// `--keep-daily`
    Daily,
    /// `--keep-weekly`
    Weekly,
    /// `--keep-monthly`
    Monthly,
    /// `--keep-yearly`
    Yearly,
}

impl Rule {
    /// What a backup shares with those of the same hour, day, …; `nth` is its place among those that count.
    pub fn bucket(self, at: Timestamp, nth: usize) -> [i64; 4] {
        let time = TimeZone::UTC.to_datetime(at);
        let (year, month) = (time.year().into(), time.month().into());
        let (day, hour) = (time.day().into(), time.hour().into());
        match self {
            Rule::Last => [nth as i64, 0, 0, 0],
            Rule::Hourly => [year, month, day, hour],
            Rule::Daily => [year, month, day, 0],
            Rule::Weekly => {
                let week = time.date().iso_week_date();
                [week.year().into(), week.week().into(), 0, 0]
            }
            Rule::Monthly => [year, month, 0, 0],
            Rule::Yearly => [year, 0, 0, 0],
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Rule::Last => "last",
            Rule::Hourly => "hourly",
            Rule::Daily => "daily",
            Rule::Weekly => "weekly",
            Rule::Monthly => "monthly",
            Rule::Yearly => "yearly",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_as_restic_reads_them() {
        let read = |text: &str| text.parse::<Count>().map_err(|e| e.to_string());
        assert_eq!(read("0"), Ok(Count::Off));
        assert_eq!(read("7"), Ok(Count::Newest(7)));
        assert_eq!(read("unlimited"), Ok(Count::Unlimited));
        assert_eq!(read("-1"), Ok(Count::Unlimited));
        for wrong in ["", "-2", "all", "1.5", "99999999999"] {
            let error = read(wrong).unwrap_err();
            assert!(error.contains("is no number of backups"), "{error}");
        }
        assert_eq!(Count::Newest(2).less_one(), Count::Newest(1));
        assert_eq!(Count::Newest(1).less_one(), Count::Off);
        assert_eq!(Count::Unlimited.less_one(), Count::Unlimited);
    }

    #[test]
    fn weeks_are_those_of_iso() {
        let week = |day: &str| {
            let at = format!("{day}T12:00:00Z").parse().unwrap();
            Rule::Weekly.bucket(at, 0)
        };
        assert_eq!(week("2024-12-30"), [2025, 1, 0, 0]);
        assert_eq!(week("2021-01-03"), [2020, 53, 0, 0]);
        assert_eq!(week("2024-12-29"), [2024, 52, 0, 0]);
    }
}
