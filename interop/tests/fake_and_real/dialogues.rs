//! What RabbitMQ answers to everything that clients and services do, good and bad.

use std::fmt::Write;

use nameko_cachetools_testkit::FakeBroker;
use tokio::task::JoinSet;

use crate::dialogue::Dialogue;

/// Plays all of them on both, at once.
pub(crate) async fn are_the_same(real: String) {
    let broker = FakeBroker::new();
    let wire = broker.serve().await;
    let mut playing = JoinSet::new();
    for (name, text) in DIALOGUES {
        let (fake, real) = (wire.uri(), real.clone());
        playing.spawn(async move {
            let dialogue = Dialogue { name, text };
            let faked = dialogue.play(&fake, None).await;
            let really = dialogue.play(&real, Some(&faked)).await;
            let mut differences = String::new();
            for (faked, really) in faked
                .iter()
                .zip(&really)
                .filter(|(faked, really)| faked != really)
            {
                let _ = writeln!(
                    differences,
                    "{name}:\n    RabbitMQ {really:?}\n    the fake {faked:?}"
                );
            }
            differences
        });
    }
    let differences: String = playing.join_all().await.concat();
    assert!(differences.is_empty(), "{differences}");
    drop(broker.verify());
}

const DIALOGUES: &[(&str, &str)] = &[
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
        "x_expires",
        "
        a 1 channel.open
        a 1 queue.declare $ durable x-expires=100
        sleep 800
        a 1 queue.declare $ passive
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
    (
        "immediate",
        "
        a 1 channel.open
        a 1 basic.publish amq.topic $ immediate body=now
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
