//! What the broker refuses, by RabbitMQ's own codes and words.

use super::session::Phase;

/// A request that is refused: the channel or the connection is closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: u16,
    pub(super) text: String,
    /// Whether the whole connection goes with it.
    pub(super) is_hard: bool,
}

impl Refusal {
    fn soft(code: u16, name: &str, text: impl std::fmt::Display) -> Self {
        let text = format!("{name} - {text}");
        let is_hard = false;
        Self { code, text, is_hard }
    }

    fn hard(code: u16, name: &str, text: impl std::fmt::Display) -> Self {
        Self {
            is_hard: true,
            ..Self::soft(code, name, text)
        }
    }

    pub(super) fn not_found(text: impl std::fmt::Display) -> Self {
        Self::soft(404, "NOT_FOUND", text)
    }

    pub(super) fn no_queue(name: &str, vhost: &str) -> Self {
        Self::not_found(format_args!("no queue '{name}' in vhost '{vhost}'"))
    }

    pub(super) fn no_exchange(name: &str, vhost: &str) -> Self {
        Self::not_found(format_args!("no exchange '{name}' in vhost '{vhost}'"))
    }

    pub(super) fn access(text: impl std::fmt::Display) -> Self {
        Self::soft(403, "ACCESS_REFUSED", text)
    }

    pub(super) fn locked(queue: &str, vhost: &str) -> Self {
        let text = format_args!(
            "cannot obtain exclusive access to locked queue '{queue}' in vhost '{vhost}'. It could be originally \
             declared on another connection or the exclusive property value does not match that of the original \
             declaration."
        );
        Self::soft(405, "RESOURCE_LOCKED", text)
    }

    pub(super) fn precondition(text: impl std::fmt::Display) -> Self {
        Self::soft(406, "PRECONDITION_FAILED", text)
    }

    /// Declared before, but otherwise.
    pub(super) fn inequivalent(argument: &str, of: &str, received: &str, current: &str) -> Self {
        Self::precondition(format_args!(
            "inequivalent arg '{argument}' for {of}: received {received} but current is {current}"
        ))
    }

    pub(super) fn frame_error(text: impl std::fmt::Display) -> Self {
        Self::hard(501, "FRAME_ERROR", text)
    }

    pub(super) fn command_invalid(text: impl std::fmt::Display) -> Self {
        Self::hard(503, "COMMAND_INVALID", text)
    }

    pub(super) fn channel_error(text: impl std::fmt::Display) -> Self {
        Self::hard(504, "CHANNEL_ERROR", text)
    }

    /// A method that a connection doesn't take where it is.
    pub(super) fn out_of_place(phase: Phase) -> Self {
        Self::channel_error(format_args!(
            "unexpected method in connection state {}",
            phase.name()
        ))
    }

    /// A method that only brokers send, or nobody.
    pub(super) fn unimplemented() -> Self {
        Self::command_invalid("unimplemented method")
    }

    pub(super) fn unexpected(text: impl std::fmt::Display) -> Self {
        Self::hard(505, "UNEXPECTED_FRAME", text)
    }

    pub(super) fn not_allowed(text: impl std::fmt::Display) -> Self {
        Self::hard(530, "NOT_ALLOWED", text)
    }

    pub(super) fn not_implemented(text: impl std::fmt::Display) -> Self {
        Self::hard(540, "NOT_IMPLEMENTED", text)
    }
}
