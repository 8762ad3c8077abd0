//! Where messages go, and what their publishers are told.

use super::Text;

pub(super) const DIALOGUES: &[Text] = &[
    (
        "publishing_to_a_missing_exchange",
        "
        a 1 channel.open
        a 2 channel.open
        a 1 basic.publish no-such-exchange key body=lost
        a 1 channel.close-ok
        a 2 queue.declare $ exclusive
    ",
    ),
    (
        "unroutable",
        "
        a 1 channel.open
        a 1 confirm.select
        a 1 exchange.declare $ topic durable
        a 1 basic.publish $ svc.method mandatory correlation_id=1 reply_to=me body={}
        a 1 basic.publish $ svc.method body={}
        a 1 basic.publish - $ mandatory body=
        a 1 exchange.delete $
    ",
    ),
    (
        "topics",
        "
        a 1 channel.open
        a 1 exchange.declare $ topic durable
        a 1 queue.declare $ exclusive
        a 1 queue.bind $ $ svc.*
        a 1 basic.consume $ c no-ack
        a 1 basic.publish $ svc.get body=1
        a 1 basic.publish $ svc. body=2
        a 1 basic.publish $ svc mandatory body=3
        a 1 basic.publish $ svc.a.b mandatory body=4
        a 1 basic.publish $ svc.* body=5
        a 1 basic.publish $ svc.# body=6
        a 1 basic.publish $ # mandatory body=7
        a 1 basic.publish $ *.get mandatory body=8
        a 1 queue.bind $ $ #
        a 1 basic.publish $ a.b.c body=9
        a 1 queue.unbind $ $ #
        a 1 basic.publish $ a.b.c mandatory body=10
        a 1 exchange.delete $
    ",
    ),
    (
        "copies_for_each_queue",
        "
        a 1 channel.open
        a 1 confirm.select
        a 1 exchange.declare $ fanout
        a 1 queue.declare $-1 exclusive
        a 1 queue.declare $-2 exclusive
        a 1 queue.bind $-1 $ -
        a 1 queue.bind $-2 $ -
        a 1 basic.publish $ any body=twice
        a 1 basic.get $-1 no-ack
        a 1 basic.get $-2 no-ack
        a 1 exchange.delete $
    ",
    ),
    (
        "direct_exchanges",
        "
        a 1 channel.open
        a 1 exchange.declare $ direct
        a 1 queue.declare $ exclusive
        a 1 queue.bind $ $ one
        a 1 queue.bind $ $ one
        a 1 queue.bind $ $ two
        a 1 basic.publish $ one body=1
        a 1 basic.publish $ three mandatory body=3
        a 1 basic.get $ no-ack
        a 1 basic.get $ no-ack
        a 1 exchange.delete $
    ",
    ),
    (
        "exchanges_bound_to_exchanges",
        "
        a 1 channel.open
        a 1 exchange.declare $-in topic
        a 1 exchange.declare $-out fanout
        a 1 exchange.bind $-out $-in a.*
        a 1 queue.declare $ exclusive
        a 1 queue.bind $ $-out -
        a 1 basic.publish $-in a.b body=through
        a 1 basic.get $ no-ack
        a 1 exchange.unbind $-out $-in a.*
        a 1 basic.publish $-in a.b mandatory body=no-more
        a 1 exchange.delete $-in
        a 1 exchange.delete $-out
    ",
    ),
    (
        "confirms",
        "
        a 1 channel.open
        a 1 queue.declare $ exclusive
        a 1 basic.publish - $ body=0
        a 1 confirm.select
        a 1 basic.publish - $ body=1
        a 1 basic.publish - $ mandatory body=2
        a 1 basic.publish amq.topic nobody body=3
        a 1 confirm.select
        a 1 basic.publish - $ body=4
    ",
    ),
    (
        "immediate",
        "
        a 1 channel.open
        a 1 basic.publish amq.topic $ immediate body=now
        a 0 connection.close-ok
    ",
    ),
    (
        "expiration",
        "
        a 1 channel.open
        a 1 queue.declare $ exclusive
        a 1 basic.publish - $ expiration=50 body=short
        a 1 basic.publish - $ body=long
                sleep 200
        a 1 basic.get $ no-ack
        a 1 basic.get $ no-ack
    ",
    ),
    (
        "no_expiration",
        "
        a 1 channel.open
        a 1 confirm.select
        a 1 queue.declare $ exclusive
        a 1 basic.publish - $ expiration=soon body=1
    ",
    ),
    (
        "what_waited_too_long_is_not_counted",
        "
        a 1 channel.open
        a 1 queue.declare $ exclusive
        a 1 basic.publish - $ expiration=30 body=1
        sleep 200
        a 1 queue.declare $ exclusive passive
        a 1 queue.purge $
    ",
    ),
];
