//! Replies that no nameko service should send, and that some do.

use nameko_cachetools::{JSON, Response};

/// One way in which a reply can be broken.
///
/// Loop over [`ALL`](Self::ALL) to show that none of them does harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Malformed {
    /// No bytes at all.
    Empty,
    /// Text that isn't JSON.
    NotJson,
    /// A reply that ends in the middle.
    Truncated,
    /// Bytes that aren't UTF-8, inside a JSON string.
    NotUtf8,
    /// A good reply with something behind it.
    TrailingBytes,
    /// The bare token `NaN`, which Python writes and reads although JSON has none.
    NanLiteral,
    /// The bare token `-Infinity`, of which the same is true.
    InfinityLiteral,
    /// A good reply behind a byte order mark, as some editors and languages write it.
    ByteOrderMark,
    /// A good reply in UTF-16.
    Utf16,
    /// Half of a surrogate pair, escaped: Python writes and reads it, but it is no text.
    LoneSurrogate,
    /// A list in a list in a list, 100,000 deep: what recurses into it runs out of stack.
    DeeplyNested,
    /// A JSON list in place of the object.
    NotAnObject,
    /// An object with neither `result` nor `error`.
    MissingMembers,
    /// An `error` that is a text, not an object.
    ErrorNotAnObject,
    /// An `error` without an `exc_type`.
    ErrorWithoutType,
    /// A good body without a content type.
    NoContentType,
    /// A good body of type `text/plain`.
    OtherContentType,
    /// A good body of type `application/json; charset=utf-8`, which Python clients refuse too.
    ContentTypeWithCharset,
    /// A Python pickle, which executes code where it is read.
    Pickle,
}

impl Malformed {
    /// Every kind.
    pub const ALL: &[Self] = &[
        Self::Empty,
        Self::NotJson,
        Self::Truncated,
        Self::NotUtf8,
        Self::TrailingBytes,
        Self::NanLiteral,
        Self::InfinityLiteral,
        Self::ByteOrderMark,
        Self::Utf16,
        Self::LoneSurrogate,
        Self::DeeplyNested,
        Self::NotAnObject,
        Self::MissingMembers,
        Self::ErrorNotAnObject,
        Self::ErrorWithoutType,
        Self::NoContentType,
        Self::OtherContentType,
        Self::ContentTypeWithCharset,
        Self::Pickle,
    ];

    pub(crate) fn response(self) -> Response {
        let (content_type, body): (Option<&str>, &'static [u8]) = match self {
            Self::Utf16 => return Response::new(Some(JSON.to_owned()), utf16()),
            Self::DeeplyNested => return Response::new(Some(JSON.to_owned()), nested(100_000)),
            Self::Empty => (Some(JSON), b""),
            Self::NotJson => (Some(JSON), b"<html>502 Bad Gateway</html>"),
            Self::Truncated => (Some(JSON), br#"{"result": {"title": "The Ody"#),
            Self::NotUtf8 => (Some(JSON), b"{\"result\": \"\xff\xfe\", \"error\": null}"),
            Self::TrailingBytes => (Some(JSON), br#"{"result": 1, "error": null}{"result": 2}"#),
            Self::NanLiteral => (Some(JSON), br#"{"result": NaN, "error": null}"#),
            Self::InfinityLiteral => (Some(JSON), br#"{"result": -Infinity, "error": null}"#),
            Self::ByteOrderMark => (Some(JSON), b"\xef\xbb\xbf{\"result\": 1, \"error\": null}"),
            Self::LoneSurrogate => (Some(JSON), br#"{"result": "\ud800", "error": null}"#),
            Self::NotAnObject => (Some(JSON), br#"["result", 1]"#),
            Self::MissingMembers => (Some(JSON), b"{}"),
            Self::ErrorNotAnObject => (Some(JSON), br#"{"result": null, "error": "ValueError: bad"}"#),
            Self::ErrorWithoutType => (
                Some(JSON),
                br#"{"result": null, "error": {"exc_args": ["bad"], "value": "bad"}}"#,
            ),
            Self::NoContentType => (None, GOOD),
            Self::OtherContentType => (Some("text/plain"), GOOD),
            Self::ContentTypeWithCharset => (Some("application/json; charset=utf-8"), GOOD),
            // python3 -c 'import pickle; print(pickle.dumps({"result": 1, "error": None}, protocol=2))'
            Self::Pickle => (
                Some("application/x-python-serialize"),
                b"\x80\x02}q\x00(X\x06\x00\x00\x00resultq\x01K\x01X\x05\x00\x00\x00errorq\x02Nu.",
            ),
        };
        Response::new(content_type.map(str::to_owned), body)
    }
}

const GOOD: &[u8] = br#"{"result": 1, "error": null}"#;

/// Little-endian, behind its byte order mark.
fn utf16() -> Vec<u8> {
    let text = std::iter::once('\u{feff}').chain(GOOD.iter().map(|byte| char::from(*byte)));
    let units = text.map(|c| c as u32 as u16);
    units.flat_map(u16::to_le_bytes).collect()
}

fn nested(depth: usize) -> String {
    let (open, close) = ("[".repeat(depth), "]".repeat(depth));
    format!(r#"{{"result": {open}{close}, "error": null}}"#)
}
