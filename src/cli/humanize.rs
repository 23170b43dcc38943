//! Sizes, durations and hostile text as a person reads them.

use std::time::Duration;

/// A size in SI units, as go-humanize prints it and etcdutl with it (`compat.md` 2.6): one decimal
/// below ten units, none above, and no carry (`1000 kB` exists).
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 10 {
        return format!("{bytes} B");
    }
    let (mut unit, mut scale) = (0_usize, 1_u64);
    while bytes / scale >= 1000 {
        scale *= 1000;
        unit += 1;
    }
    let value = (bytes as f64 / scale as f64 * 10.0 + 0.5).floor() / 10.0;
    let suffix = UNITS.get(unit).copied().unwrap_or("EB");
    if value < 10.0 {
        format!("{value:.1} {suffix}")
    } else {
        format!("{value:.0} {suffix}")
    }
}

/// A size in SI units and to the byte: `25 kB (24576 bytes)`.
pub fn size_exact(bytes: u64) -> String {
    if bytes < 1000 {
        count(bytes, "byte")
    } else {
        format!("{} ({bytes} bytes)", size(bytes))
    }
}

/// `1 key`, `2 keys`, `2 marks of a kind`.
pub fn count(number: u64, thing: &str) -> String {
    match (number, thing.split_once(" of ")) {
        (1, _) => format!("1 {thing}"),
        (_, Some((thing, rest))) => format!("{number} {thing}s of {rest}"),
        (_, None) => format!("{number} {thing}s"),
    }
}

/// How long something took: `42ms`, `1.3s`, `2m05s`, `1h02m`.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{}ms", duration.as_millis()),
        1..60 => format!("{:.1}s", duration.as_secs_f64()),
        _ => countdown(duration),
    }
}

/// How long something will take, to the second: `3s`, `2m05s`, `1h02m`.
pub fn countdown(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
    }
}

/// Text that somebody else chose (a path, a name in a snapshot, words of a server), with whatever
/// could drive the terminal or fake a line of ours made visible.
pub fn tame(text: &str) -> String {
    let wild =
        |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().fold(String::new(), |mut tamed, c| {
        if wild(c) {
            tamed.extend(c.escape_default());
        } else {
            tamed.push(c);
        }
        tamed
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_go_humanize() {
        // What humanize.Bytes of go-humanize v1.0.1 prints for these.
        let known = [
            (0, "0 B"),
            (9, "9 B"),
            (10, "10 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (1049, "1.0 kB"),
            (1050, "1.1 kB"),
            (4096, "4.1 kB"),
            (9949, "9.9 kB"),
            (9950, "10 kB"),
            (10500, "10 kB"),
            (11500, "12 kB"),
            (12500, "12 kB"),
            (20480, "20 kB"),
            (24576, "25 kB"),
            (65536, "66 kB"),
            (104500, "104 kB"),
            (105500, "106 kB"),
            (294912, "295 kB"),
            (999499, "1000 kB"),
            (999999, "1000 kB"),
            (1000000, "1.0 MB"),
            (1048576, "1.0 MB"),
            (999999999, "1000 MB"),
            (1000000000, "1.0 GB"),
            (8589934592, "8.6 GB"),
            (1000000000000, "1.0 TB"),
            (1000000000000000, "1.0 PB"),
            (1000000000000000000, "1.0 EB"),
            (u64::MAX, "18 EB"),
        ];
        for (bytes, text) in known {
            assert_eq!(size(bytes), text, "{bytes}");
        }
        assert_eq!(count(2, "mark of x"), "2 marks of x");
        assert_eq!(size_exact(1), "1 byte");
        assert_eq!(size_exact(24576), "25 kB (24576 bytes)");
    }

    #[test]
    fn durations_are_short() {
        assert_eq!(duration(Duration::from_micros(42_900)), "42ms");
        assert_eq!(duration(Duration::from_millis(1_340)), "1.3s");
        assert_eq!(duration(Duration::from_secs(125)), "2m05s");
        assert_eq!(countdown(Duration::from_millis(3_900)), "3s");
        assert_eq!(countdown(Duration::from_secs(3_725)), "1h02m");
    }

    #[test]
    fn wild_text_is_tamed() {
        assert_eq!(tame("/backup/ü x.db"), "/backup/ü x.db");
        assert_eq!(tame("a\x1b[2Jb\nerror: c"), "a\\u{1b}[2Jb\\nerror: c");
        assert_eq!(tame("\u{202e}x"), "\\u{202e}x");
    }
}
