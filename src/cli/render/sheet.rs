//! Named values, laid out for a person or line by line for a script.

use super::super::humanize::tame;

/// A heading and named values under it, in order.
#[derive(Default)]
pub struct Sheet {
    rows: Vec<Row>,
}

struct Row {
    /// In plain words: `storage version`.
    label: String,
    /// For a person.
    text: String,
    /// For a script.
    value: String,
}

impl Sheet {
    /// A value that reads the same for a person and a script.
    pub fn row(&mut self, label: &str, value: impl ToString) {
        let value = value.to_string();
        self.row_with(label, value.clone(), value);
    }

    /// A value that a person reads one way and a script another.
    pub fn row_with(&mut self, label: &str, text: impl ToString, value: impl ToString) {
        self.rows.push(Row {
            label: label.into(),
            text: tame(&text.to_string()),
            value: tame(&value.to_string()),
        });
    }

    /// Two columns, indented; a label that repeats the one above is left out.
    pub fn table(&self) -> String {
        let width = self.rows.iter().map(|row| row.label.len()).max();
        let width = width.unwrap_or(0);
        let mut text = String::new();
        let mut above = "";
        for row in &self.rows {
            let label = if row.label == above { "" } else { &row.label };
            above = &row.label;
            text += format!("  {label:width$}  {}", row.text).trim_end();
            text.push('\n');
        }
        text
    }

    /// `"StorageVersion" : 3.6.0`, as etcdctl's `fields` has it.
    pub fn fields(&self) -> String {
        self.rows
            .iter()
            .map(|row| format!("\"{}\" : {}\n", joined(&row.label), row.value))
            .collect()
    }
}

/// `storage version` -> `StorageVersion`
fn joined(label: &str) -> String {
    let capital = |word: &str| {
        let mut letters = word.chars();
        let first = letters.next().map(|c| c.to_ascii_uppercase());
        first.into_iter().chain(letters).collect::<String>()
    };
    label
        .split(|c: char| !c.is_ascii_alphanumeric())
        .map(capital)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_sheet_two_layouts() {
        let mut sheet = Sheet::default();
        sheet.row_with("size", "25 kB (24576 bytes)", 24576);
        sheet.row("storage version", "3.6.0\x1b[2J");
        sheet.row("member", "m1");
        sheet.row("member", "m2");
        assert_eq!(
            sheet.table(),
            "  size             25 kB (24576 bytes)\n  \
               storage version  3.6.0\\u{1b}[2J\n  \
               member           m1\n                   m2\n"
        );
        assert_eq!(
            sheet.fields(),
            "\"Size\" : 24576\n\"StorageVersion\" : 3.6.0\\u{1b}[2J\n\"Member\" : m1\n\"Member\" : m2\n"
        );
    }
}
