//! Queues, exchanges and bindings: made, found, refused and deleted.

use super::Text;

pub(super) const DIALOGUES: &[Text] = &[
    (
        "declared_twice",
        "
        a 1 channel.open
        a 1 queue.declare $ durable
        a 1 queue.declare $ durable
        a 1 queue.declare $ durable passive
        a 1 exchange.declare $ topic durable
        a 1 exchange.declare $ topic durable
        a 1 exchange.declare $ topic passive
        a 1 queue.delete $
        a 1 exchange.delete $
    ",
    ),
    (
        "declared_otherwise",
        "
        a 1 channel.open
        a 1 queue.declare $ durable
        a 1 queue.declare $
        a 1 channel.close-ok
        a 1 channel.open
        a 1 queue.declare $ durable auto-delete
        a 1 channel.close-ok
        a 1 channel.open
        a 1 queue.declare $ durable x-expires=60000
        a 1 channel.close-ok
        a 1 channel.open
        a 1 queue.delete $
    ",
    ),
    (
        "other_arguments",
        "
        a 1 channel.open
        a 1 queue.declare $ durable x-expires=60000
        a 1 queue.declare $ durable x-expires=60000
        a 1 queue.declare $ durable x-expires=70000
        a 1 channel.close-ok
        a 1 channel.open
        a 1 queue.declare $ durable
        a 1 channel.close-ok
        a 1 channel.open
        a 1 queue.delete $
    ",
    ),
    (
        "bad_arguments",
        "
        a 1 channel.open
        a 1 queue.declare $ exclusive x-expires=0
        a 1 channel.close-ok
        a 1 channel.open
        a 1 queue.declare $ exclusive x-expires=-1
        a 1 channel.close-ok
        a 1 channel.open
        a 1 queue.declare $ exclusive x-message-ttl=-1
        a 1 channel.close-ok
        a 1 channel.open
        a 1 queue.declare $ exclusive x-message-ttl=0
        a 1 queue.declare amq.gen-$ exclusive
    ",
    ),
    (
        "exchange_declared_otherwise",
        "
        a 1 channel.open
        a 1 exchange.declare $ topic durable
        a 1 exchange.declare $ direct durable
        a 1 channel.close-ok
        a 1 channel.open
        a 1 exchange.declare $ topic
        a 1 channel.close-ok
        a 1 channel.open
        a 1 exchange.declare $ topic durable auto-delete
        a 1 channel.close-ok
        a 1 channel.open
        a 1 exchange.delete $
    ",
    ),
    (
        "unknown_exchange_type",
        "
        a 1 channel.open
        a 1 exchange.declare $ magic
        a 0 connection.close-ok
    ",
    ),
    (
        "missing_things",
        "
        a 1 channel.open
        a 1 queue.declare $ passive
        a 1 channel.close-ok
        a 1 channel.open
        a 1 exchange.declare $ topic passive
        a 1 channel.close-ok
        a 1 channel.open
        a 1 queue.bind $ amq.topic key
        a 1 channel.close-ok
        a 1 channel.open
        a 1 basic.consume $ c
        a 1 channel.close-ok
        a 1 channel.open
        a 1 basic.get $
        a 1 channel.close-ok
        a 1 channel.open
        a 1 queue.purge $
        a 1 channel.close-ok
        a 1 channel.open
        a 1 queue.delete $
        a 1 exchange.delete $
    ",
    ),
    (
        "binding_to_a_missing_exchange",
        "
        a 1 channel.open
        a 1 queue.declare $ exclusive
        a 1 queue.bind $ no-such-exchange key
    ",
    ),
    (
        "unbinding_what_is_not_bound",
        "
        a 1 channel.open
        a 1 queue.unbind $ amq.topic key
        a 1 queue.declare $ exclusive
        a 1 queue.unbind $ no-such-exchange key
        a 1 queue.unbind $ amq.topic key
    ",
    ),
    (
        "exclusive_means_own",
        "
        a 1 channel.open
        a 1 queue.declare $ exclusive
        b 1 channel.open
        b 1 queue.declare $ passive
        b 1 channel.close-ok
        b 1 channel.open
        b 1 basic.consume $ c
        b 1 channel.close-ok
        a 0 connection.close
                sleep 100
        b 1 channel.open
        b 1 queue.declare $ passive
    ",
    ),
    (
        "reserved_names",
        "
        a 1 channel.open
        a 1 queue.declare amq.$
        a 1 channel.close-ok
        a 1 channel.open
        a 1 exchange.declare amq.$ topic
        a 1 channel.close-ok
        a 1 channel.open
        a 1 queue.declare $ exclusive
        a 1 queue.bind $ - key
    ",
    ),
    (
        "the_default_exchange_is_off_limits",
        "
        a 1 channel.open
        a 1 exchange.declare - direct durable
        a 1 channel.close-ok
        a 1 channel.open
        a 1 exchange.declare - direct passive
        a 1 channel.close-ok
        a 1 channel.open
        a 1 exchange.bind - amq.topic key
        a 1 channel.close-ok
        a 1 channel.open
        a 1 exchange.delete -
        a 1 channel.close-ok
        a 1 channel.open
        a 1 exchange.delete amq.topic
    ",
    ),
    (
        "auto_delete",
        "
        a 1 channel.open
        a 1 queue.declare $ auto-delete
        a 1 basic.consume $ c
        a 1 basic.consume $ d
        a 1 basic.cancel c
        a 1 queue.declare $ auto-delete passive
        a 1 basic.cancel d
        a 1 queue.declare $ auto-delete passive
    ",
    ),
    (
        "auto_delete_exchange",
        "
        a 1 channel.open
        a 1 exchange.declare $ topic auto-delete
        a 1 queue.declare $ exclusive
        a 1 queue.bind $ $ key
        a 1 exchange.declare $ topic passive
        a 1 queue.unbind $ $ key
        a 1 exchange.declare $ topic passive
    ",
    ),
    (
        "auto_delete_exchange_bound_to_another",
        "
        a 1 channel.open
        a 1 exchange.declare $-in topic
        a 1 exchange.declare $-out topic auto-delete
        a 1 exchange.bind $-out $-in #
        a 1 queue.declare $ exclusive
        a 1 queue.bind $ $-out #
        a 1 basic.publish $-in x mandatory body=through
        a 1 queue.unbind $ $-out #
        a 1 exchange.declare $-out topic auto-delete
        a 1 queue.bind $ $-out #
        a 1 basic.publish $-in x mandatory body=no-more
        a 1 exchange.delete $-in
        a 1 exchange.delete $-out
    ",
    ),
    (
        "x_expires",
        "
        a 1 channel.open
        a 1 queue.declare $ durable x-expires=100
                sleep 800
        a 1 queue.declare $ passive
    ",
    ),
    (
        "purging_and_deleting",
        "
        a 1 channel.open
        a 1 queue.declare $ durable
        a 1 basic.publish - $ body=1
        a 1 basic.publish - $ body=2
        a 1 queue.purge $
        a 1 basic.publish - $ body=3
        a 1 queue.delete $ if-empty
        a 1 channel.close-ok
        a 1 channel.open
        a 1 queue.delete $
    ",
    ),
    (
        "deleting_what_is_used",
        "
        a 1 channel.open
        a 2 channel.open
        a 1 queue.declare $ durable
        a 1 basic.consume $ c
        a 2 queue.delete $ if-unused
        a 2 channel.close-ok
        a 1 queue.delete $
    ",
    ),
    (
        "the_last_queue_needs_no_name",
        "
        a 1 channel.open
        a 1 queue.declare - exclusive
        a 1 queue.bind - amq.direct $
        a 1 basic.consume - c no-ack
        a 1 basic.publish amq.direct $ body=found
    ",
    ),
    (
        "no_queue_declared",
        "
        a 1 channel.open
        a 1 basic.consume - c
    ",
    ),
];
