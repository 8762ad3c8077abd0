//! JSON text as a Python service writes it, so that fake replies have real bytes.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::Formatter;

/// `value` as Python's `json.dumps` writes it: a blank after each comma and colon, everything beyond ASCII escaped.
pub(crate) fn python_json(value: &(impl Serialize + ?Sized)) -> Result<String, serde_json::Error> {
    let mut text = Vec::new();
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut text, Python))?;
    // The formatter writes ASCII only, so this never loses anything.
    Ok(String::from_utf8_lossy(&text).into_owned())
}

struct Python;

impl Formatter for Python {
    fn begin_array_value<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        out.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        out.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(b": ")
    }

    fn write_string_fragment<W: ?Sized + Write>(&mut self, out: &mut W, text: &str) -> io::Result<()> {
        for c in text.chars() {
            if c.is_ascii() {
                out.write_all(&[c as u8])?;
            } else {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(out, "\\u{unit:04x}")?;
                }
            }
        }
        Ok(())
    }
}

/// `text` cut to about `chars` characters, for a line that people read.
pub(crate) fn clipped(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn text_is_what_python_writes() {
        // python3 -c 'import json; print(json.dumps({"a": [1, 2.5, None, True], "b": "h\u00e9\n\U0001f600"}))'
        let value = json!({"a": [1, 2.5, null, true], "b": "hé\n😀"});
        let text = python_json(&value).unwrap();
        assert_eq!(
            text,
            r#"{"a": [1, 2.5, null, true], "b": "h\u00e9\n\ud83d\ude00"}"#
        );
        assert_eq!(python_json(&json!([[], {}])).unwrap(), "[[], {}]");
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        assert_eq!(clipped("éé", 2), "éé");
        assert_eq!(clipped("ééé", 2), "éé…");
    }
}
