//! Channels and connections: opened, misused and closed.

use super::Text;

pub(super) const DIALOGUES: &[Text] = &[
    (
        "a_channel_that_is_not_open",
        "
        a 1 queue.declare $ exclusive
        a 0 connection.close-ok
    ",
    ),
    (
        "a_channel_opened_twice",
        "
        a 1 channel.open
        a 1 channel.open
        a 0 connection.close-ok
    ",
    ),
    (
        "a_channel_opened_while_it_closes",
        "
        a 1 channel.open
        a 1 basic.get $
        a 1 channel.open
        a 0 connection.close-ok
    ",
    ),
    (
        "goodbye",
        "
        a 1 channel.open
        a 1 channel.close
        a 1 channel.open
        a 0 connection.close
    ",
    ),
];
