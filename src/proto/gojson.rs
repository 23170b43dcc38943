//! JSON exactly as Go's `encoding/json` writes it: no blanks, and `<`, `>`, `&`, U+2028 and U+2029 escaped.
//!
//! Field order and `omitempty` are the business of the structs; this is about the text. Go since 1.22
//! writes `\b` and `\f` like everyone else, where it used to write `\u0008` and `\u000c`.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{CharEscape, CompactFormatter, Formatter};

use crate::error::{Error, Result};

/// `value` as JSON text. `Error::failed` for a value that has no JSON form (a map whose keys are not text).
pub fn to_string(value: &impl Serialize) -> Result<String> {
    let mut out = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, GoFormatter);
    value
        .serialize(&mut serializer)
        .map_err(|e| Error::failed("cannot write JSON").because(e))?;
    String::from_utf8(out).map_err(|e| Error::failed("JSON that is not UTF-8").because(e))
}

/// serde_json's compact form, with Go's escapes.
struct GoFormatter;

impl Formatter for GoFormatter {
    fn write_string_fragment<W>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()>
    where
        W: ?Sized + Write,
    {
        for piece in fragment.split_inclusive(escaped) {
            let mut chars = piece.chars();
            match chars.next_back() {
                Some(last) if escaped(last) => {
                    writer.write_all(chars.as_str().as_bytes())?;
                    write!(writer, "\\u{:04x}", u32::from(last))?;
                }
                _ => writer.write_all(piece.as_bytes())?,
            }
        }
        Ok(())
    }

    fn write_char_escape<W>(&mut self, writer: &mut W, escape: CharEscape) -> io::Result<()>
    where
        W: ?Sized + Write,
    {
        CompactFormatter.write_char_escape(writer, escape)
    }
}

fn escaped(c: char) -> bool {
    matches!(c, '<' | '>' | '&' | '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escapes_are_gos() {
        let text = "a<b>&\u{2028}\u{2029}\"\\/\n\r\t\u{8}\u{c}\u{1}\u{7f}é\u{10348}<";
        assert_eq!(
            to_string(&text).unwrap(),
            "\"a\\u003cb\\u003e\\u0026\\u2028\\u2029\\\"\\\\/\\n\\r\\t\\b\\f\\u0001\u{7f}é\u{10348}\\u003c\""
        );
    }

    proptest! {
        #[test]
        fn any_text_comes_back(text: String) {
            let json = to_string(&text).unwrap();
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }
    }
}
