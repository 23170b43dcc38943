//! A span of calendar time as restic writes it: `1y5m7d2h`.

use std::fmt;
use std::str::FromStr;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, Timestamp};

use crate::error::{Error, Result};

/// restic's Duration (restic/restic `internal/data/duration.go`, v0.18): years, months, days and hours.
/// `m` is months, as there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Within {
    /// `y`
    pub years: u32,
    /// `m`
    pub months: u32,
    /// `d`
    pub days: u32,
    /// `h`
    pub hours: u32,
}

impl Within {
    /// Nothing at all; as a rule it is off.
    pub fn is_zero(self) -> bool {
        self == Within::default()
    }

    /// The moment this long before `end`, by the calendar, in UTC. Nothing if that is before all time.
    ///
    /// Go's `time.AddDate` has no 31st of February: it goes on counting into March, and so does this.
    pub fn before(self, end: Timestamp) -> Option<Timestamp> {
        let end = TimeZone::UTC.to_datetime(end);
        let months = i64::from(end.year()) * 12 + i64::from(end.month()) - 1;
        let months = months - i64::from(self.years) * 12 - i64::from(self.months);
        let year = i16::try_from(months.div_euclid(12)).ok()?;
        let month = i8::try_from(months.rem_euclid(12) + 1).ok()?;
        let days = i64::from(end.day()) - 1 - i64::from(self.days);
        let day = Date::new(year, month, 1)
            .and_then(|first| first.checked_add(Span::new().try_days(days)?))
            .ok()?;
        let start = TimeZone::UTC.to_timestamp(day.to_datetime(end.time()));
        start
            .and_then(|start| start.checked_sub(SignedDuration::from_hours(self.hours.into())))
            .ok()
    }
}

impl fmt::Display for Within {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            (self.years, 'y'),
            (self.months, 'm'),
            (self.days, 'd'),
            (self.hours, 'h'),
        ];
        for (number, unit) in parts.into_iter().filter(|(number, _)| *number != 0) {
            write!(f, "{number}{unit}")?;
        }
        match self.is_zero() {
            true => f.write_str("0h"),
            false => Ok(()),
        }
    }
}

impl FromStr for Within {
    type Err = Error;

    /// `Error::usage` for anything but numbers with the units y, m, d and h, each at most once.
    fn from_str(text: &str) -> Result<Within> {
        let wrong = |why: String| {
            Error::usage(format!("{text:?} is no span of time: {why}")).hint(
                "numbers with y (years), m (months), d (days) or h (hours): 36h, 7d, 1y6m; 30m are thirty months",
            )
        };
        let mut span = Within::default();
        let mut seen = String::new();
        let mut rest = text.trim();
        if rest.is_empty() {
            return Err(wrong("it is empty".into()));
        }
        while !rest.is_empty() {
            let end = rest.find(|c: char| !c.is_ascii_digit());
            let Some((digits, after)) = end.and_then(|end| rest.split_at_checked(end)) else {
                return Err(wrong(format!("{rest:?} has no unit")));
            };
            let mut after = after.chars();
            let unit = after.next().unwrap_or_default();
            let number = digits
                .parse()
                .map_err(|_| wrong(format!("{digits:?} before {unit:?} is no number that fits")))?;
            if seen.contains(unit) {
                return Err(wrong(format!("{unit:?} is there twice")));
            }
            seen.push(unit);
            match unit {
                'y' => span.years = number,
                'm' => span.months = number,
                'd' => span.days = number,
                'h' => span.hours = number,
                _ => return Err(wrong(format!("there is no unit {unit:?}"))),
            }
            rest = after.as_str();
        }
        Ok(span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn before(span: &str, end: &str) -> String {
        let span: Within = span.parse().unwrap();
        span.before(end.parse().unwrap()).unwrap().to_string()
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        for text in ["1y5m7d2h", "36h", "7d", "0h", "12m"] {
            assert_eq!(text.parse::<Within>().unwrap().to_string(), text);
        }
        for text in [
            "",
            " ",
            "7",
            "d",
            "7w",
            "7D",
            "1d1d",
            "-1d",
            "1.5d",
            "99999999999h",
            "7d h",
        ] {
            let error = text.parse::<Within>().unwrap_err().to_string();
            assert!(error.contains("is no span of time"), "{text}: {error}");
        }
    }

    #[test]
    fn the_calendar_is_that_of_go() {
        // What time.AddDate(-y, -m, -d).Add(-h) of Go 1.19 gives for these.
        assert_eq!(before("1m", "2024-03-31T10:00:00Z"), "2024-03-02T10:00:00Z");
        assert_eq!(before("1y", "2024-02-29T00:00:00Z"), "2023-03-01T00:00:00Z");
        assert_eq!(before("1m", "2023-03-31T00:00:00Z"), "2023-03-03T00:00:00Z");
        assert_eq!(
            before("3m1d", "2024-05-31T00:00:00Z"),
            "2024-03-01T00:00:00Z"
        );
        assert_eq!(
            before("1d2h", "2024-01-01T01:00:00Z"),
            "2023-12-30T23:00:00Z"
        );
        let ages: Within = "4000000000y".parse().unwrap();
        assert_eq!(ages.before("2024-03-31T10:00:00Z".parse().unwrap()), None);
    }
}
