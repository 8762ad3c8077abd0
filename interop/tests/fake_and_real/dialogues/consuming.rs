//! Who gets messages, and what becomes of those that are not acknowledged.

use super::Text;

pub(super) const DIALOGUES: &[Text] = &[
    (
        "prefetch",
        "
        a 1 channel.open
        a 1 queue.declare $ exclusive
        a 1 basic.publish - $ body=1
        a 1 basic.publish - $ body=2
        a 1 basic.publish - $ body=3
        a 1 basic.qos 1
        a 1 basic.consume $ c
        a 1 basic.ack 1
        a 1 basic.qos 0
        a 1 basic.ack 2
        a 1 basic.ack 3
    ",
    ),
    (
        "prefetch_of_a_channel",
        "
        a 1 channel.open
        a 1 queue.declare $ exclusive
        a 1 basic.qos 2 global
        a 1 basic.consume $ c
        a 1 basic.publish - $ body=1
        a 1 basic.publish - $ body=2
        a 1 basic.publish - $ body=3
        a 1 basic.publish - $ body=4
        a 1 basic.ack 2 multiple
    ",
    ),
    (
        "more_room_in_a_channel",
        "
        a 1 channel.open
        a 1 queue.declare $ exclusive
        a 1 basic.qos 1 global
        a 1 basic.consume $ c
        a 1 basic.publish - $ body=1
        a 1 basic.publish - $ body=2
        a 1 basic.qos 2 global
    ",
    ),
    (
        "another_try",
        "
        a 1 channel.open
        a 1 queue.declare $ exclusive
        a 1 basic.publish - $ correlation_id=7 body=again
        a 1 basic.get $
        a 1 basic.nack 1 requeue
        a 1 basic.get $
        a 1 basic.reject 2 requeue
        a 1 basic.get $
        a 1 basic.reject 3
        a 1 basic.get $
    ",
    ),
    (
        "recover",
        "
        a 1 channel.open
        a 1 queue.declare $ exclusive
        a 1 basic.publish - $ body=1
        a 1 basic.publish - $ body=2
        a 1 basic.get $
        a 1 basic.get $
        a 1 basic.recover
        a 1 basic.get $
        a 1 basic.get $
        a 1 basic.ack 0 multiple
        a 1 basic.get $
    ",
    ),
    (
        "unknown_delivery",
        "
        a 1 channel.open
        a 1 queue.declare $ exclusive
        a 1 basic.publish - $ body=1
        a 1 basic.get $
        a 1 basic.ack 1
        a 1 basic.ack 1
        a 1 channel.close-ok
        a 1 channel.open
        a 1 basic.ack 7 multiple
    ",
    ),
    (
        "deliveries_that_never_were",
        "
        a 1 channel.open
        a 1 queue.declare $ exclusive
        a 1 basic.publish - $ body=1
        a 1 basic.get $
        a 1 basic.ack 5 multiple
        a 1 channel.close-ok
        a 1 channel.open
        a 1 basic.get $
        a 1 basic.ack 0
        a 1 channel.close-ok
        a 1 channel.open
        a 1 basic.get $
        a 1 basic.nack 0 multiple requeue
        a 1 basic.get $
    ",
    ),
    (
        "acknowledged_after_cancel",
        "
        a 1 channel.open
        a 1 queue.declare $ exclusive
        a 1 basic.publish - $ body=1
        a 1 basic.consume $ c
        a 1 basic.cancel c
        a 1 basic.ack 1
        a 1 basic.ack 1
    ",
    ),
    (
        "cancelled_by_the_client",
        "
        a 1 channel.open
        a 1 queue.declare $ exclusive
        a 1 basic.consume $ c no-ack
        a 1 basic.cancel c
        a 1 basic.cancel c
        a 1 basic.publish - $ body=kept
        a 1 queue.declare $ exclusive passive
    ",
    ),
    (
        "cancelled_by_the_broker",
        "
        a 1 channel.open
        a 1 queue.declare $
        a 1 basic.consume $ c
        b 1 channel.open
        b 1 basic.publish - $ body=gone
        b 1 queue.delete $
        a 1 basic.ack 1
        a 1 queue.declare $ passive
    ",
    ),
    (
        "get",
        "
        a 1 channel.open
        a 1 queue.declare $ exclusive
        a 1 basic.get $
        a 1 basic.publish - $ expiration=60000 correlation_id=1 reply_to=me body=1
        a 1 basic.publish - $ body=2
        a 1 basic.get $
        a 1 basic.get $ no-ack
    ",
    ),
    (
        "a_consumer_tag_twice",
        "
        a 1 channel.open
        a 1 queue.declare $ exclusive
        a 1 basic.consume $ c
        a 1 basic.consume $ c
        a 0 connection.close-ok
    ",
    ),
    (
        "exclusive_consumers",
        "
        a 1 channel.open
        a 2 channel.open
        a 1 queue.declare $ exclusive
        a 1 basic.consume $ c exclusive
        a 2 basic.consume $ d
        a 2 channel.close-ok
        a 1 basic.cancel c
    ",
    ),
    (
        "what_a_channel_leaves",
        "
        a 1 channel.open
        a 1 queue.declare $ durable
        a 1 basic.publish - $ body=1
        a 1 basic.publish - $ body=2
        a 2 channel.open
        a 2 basic.consume $ c
        a 2 channel.close
        a 1 basic.get $ no-ack
        a 1 basic.get $ no-ack
        a 1 queue.delete $
    ",
    ),
    (
        "what_a_connection_leaves",
        "
        a 1 channel.open
        a 1 queue.declare $ durable
        a 1 basic.publish - $ body=1
        a 1 basic.consume $ c
        a 0 connection.close
                sleep 100
        b 1 channel.open
        b 1 basic.get $ no-ack
        b 1 queue.delete $
    ",
    ),
];
