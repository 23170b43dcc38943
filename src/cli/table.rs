//! The box table of etcdctl and etcdutl 3.6 and later (`compat.md` 2.6).

/// One header line and rows of as many cells: header upper-cased and centred, cells to the right.
pub fn render(header: &[&str], rows: &[Vec<String>]) -> String {
    let widths: Vec<usize> = header
        .iter()
        .enumerate()
        .map(|(column, title)| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            cells
                .map(|cell| width(cell))
                .chain([width(title)])
                .max()
                .unwrap_or(0)
        })
        .collect();
    let mut text = rule(&widths, ['┌', '┬', '┐']);
    let titles = header.iter().zip(&widths);
    text += &line(titles.map(|(title, width)| centred(&title.to_uppercase(), *width)));
    text += &rule(&widths, ['├', '┼', '┤']);
    for row in rows {
        let cells = row.iter().zip(&widths);
        text += &line(cells.map(|(cell, width)| to_the_right(cell, *width)));
    }
    text + &rule(&widths, ['└', '┴', '┘'])
}

/// Columns that a text takes. Snapshots hold ASCII where these tables show text.
fn width(text: &str) -> usize {
    text.chars().count()
}

fn rule(widths: &[usize], [left, between, right]: [char; 3]) -> String {
    let parts: Vec<String> = widths.iter().map(|width| "─".repeat(width + 2)).collect();
    format!("{left}{}{right}\n", parts.join(&between.to_string()))
}

fn line(cells: impl Iterator<Item = String>) -> String {
    format!("│ {} │\n", cells.collect::<Vec<_>>().join(" │ "))
}

/// An odd blank goes to the right, as etcdutl 3.7 has it.
fn centred(text: &str, to: usize) -> String {
    let blanks = to.saturating_sub(width(text));
    let left = blanks / 2;
    format!("{}{text}{}", " ".repeat(left), " ".repeat(blanks - left))
}

fn to_the_right(text: &str, to: usize) -> String {
    format!("{}{text}", " ".repeat(to.saturating_sub(width(text))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_the_table_of_etcdutl() {
        let row = ["7c3917b7", "6", "2", "25 kB", "3.7.0"];
        let header = ["hash", "revision", "total keys", "total size", "version"];
        let expected = "\
┌──────────┬──────────┬────────────┬────────────┬─────────┐
│   HASH   │ REVISION │ TOTAL KEYS │ TOTAL SIZE │ VERSION │
├──────────┼──────────┼────────────┼────────────┼─────────┤
│ 7c3917b7 │        6 │          2 │      25 kB │   3.7.0 │
└──────────┴──────────┴────────────┴────────────┴─────────┘
";
        let row = row.map(String::from).to_vec();
        assert_eq!(render(&header, &[row]), expected);
    }

    #[test]
    fn an_odd_blank_is_on_the_right() {
        let table = render(&["hash"], &[vec!["2ea5e4f".into()]]);
        assert!(table.contains("│  HASH   │"), "{table}");
    }
}
