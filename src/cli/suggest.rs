//! The nearest name for one that does not exist.

/// The name that was probably meant: the one at the smallest distance, if that is near enough, the one
/// of the same words in another order, or the only one that begins with what was typed.
pub fn nearest<'a>(typed: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let names: Vec<&str> = names.into_iter().collect();
    let allowed = 1 + typed.chars().count() / 4;
    let by_distance = names
        .iter()
        .map(|name| (distance(typed, name), *name))
        .filter(|(distance, _)| *distance <= allowed)
        .min();
    if let Some((_, name)) = by_distance {
        return Some(name);
    }
    let words = |name: &str| {
        let mut words: Vec<String> = name.split('-').map(String::from).collect();
        words.sort();
        words
    };
    if let Some(name) = names.iter().find(|name| words(name) == words(typed)) {
        return Some(name);
    }
    let mut longer = names.iter().filter(|name| name.starts_with(typed));
    match (typed.len() >= 2, longer.next(), longer.next()) {
        (true, Some(name), None) => Some(name),
        _ => None,
    }
}

/// Insertions, deletions, replacements and swaps of neighbours that lead from one to the other.
fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    let mut previous_char = None;
    for (i, a) in from.iter().enumerate() {
        let mut row = vec![i + 1];
        let mut previous_to = None;
        for (j, b) in to.iter().enumerate() {
            let step = |row: &[usize], at: usize| row.get(at).copied().unwrap_or(usize::MAX / 2);
            let mut best = (step(&last, j) + usize::from(a != b))
                .min(step(&last, j + 1) + 1)
                .min(step(&row, j) + 1);
            if previous_char == Some(b) && previous_to == Some(a) {
                best = best.min(step(&before_last, j.wrapping_sub(1)) + 1);
            }
            row.push(best);
            previous_to = Some(b);
        }
        previous_char = Some(a);
        before_last = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_edits() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("save", "save"), 0);
        assert_eq!(distance("svae", "save"), 1);
        assert_eq!(distance("verfy", "verify"), 1);
        assert_eq!(distance("kitten", "sitting"), 3);
    }

    #[test]
    fn finds_what_was_meant_and_nothing_else() {
        let names = ["save", "verify", "status", "restore", "endpoints", "cacert"];
        assert_eq!(nearest("svae", names), Some("save"));
        assert_eq!(nearest("endpoint", names), Some("endpoints"));
        assert_eq!(nearest("ca-cert", names), Some("cacert"));
        assert_eq!(nearest("ver", names), Some("verify"));
        assert_eq!(nearest("frobnicate", names), None);
        assert_eq!(nearest("x", names), None);
        let names = ["bump-revision", "data-dir", "bump"];
        assert_eq!(nearest("revision-bump", names), Some("bump-revision"));
        assert_eq!(nearest("dir-data-x", names), None);
    }
}
