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
    /// A JSON list in place of the object.
    NotAnObject,
    /// An object with neither `result` nor `error`.
    MissingMembers,
    /// An `error` that is a text, not an object.
    ErrorNotAnObject,
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
        Self::NotAnObject,
        Self::MissingMembers,
        Self::ErrorNotAnObject,
        Self::NoContentType,
        Self::OtherContentType,
        Self::ContentTypeWithCharset,
        Self::Pickle,
    ];

    pub(crate) fn response(self) -> Response {
        let (content_type, body): (Option<&str>, &'static [u8]) = match self {
            Self::Empty => (Some(JSON), b""),
            Self::NotJson => (Some(JSON), b"<html>502 Bad Gateway</html>"),
            Self::Truncated => (Some(JSON), br#"{"result": {"title": "The Ody"#),
            Self::NotUtf8 => (Some(JSON), b"{\"result\": \"\xff\xfe\", \"error\": null}"),
            Self::TrailingBytes => (Some(JSON), br#"{"result": 1, "error": null}{"result": 2}"#),
            Self::NanLiteral => (Some(JSON), br#"{"result": NaN, "error": null}"#),
            Self::NotAnObject => (Some(JSON), br#"["result", 1]"#),
            Self::MissingMembers => (Some(JSON), b"{}"),
            Self::ErrorNotAnObject => (Some(JSON), br#"{"result": null, "error": "ValueError: bad"}"#),
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
