//! Every fault that a connection, a broker or a reply can have, against a private RabbitMQ node, for each transport.
//!
//! A check says what calls end with, what may be concluded from it, how soon, and that the transport works again within
//! [`RECOVERY`](scene::RECOVERY) of the fault's end. Each writes its row to standard error, for the table in the guide:
//!
//! ```text
//! fault: lapin tcp_reset: Disconnected (Unavailable), may have executed: true, noticed after 3 ms, back after 41 ms
//! ```
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "tests")]

mod broker;
mod calls;
mod confirms;
mod links;
mod network;
mod refusals;
mod replies;
mod scene;
mod stage;
mod subject;

use nameko_cachetools_amqprs::AmqprsTransport;
use nameko_cachetools_lapin::LapinTransport;

/// Runs all checks with one transport.
macro_rules! suite {
    ($name:ident: $transport:ident) => {
        crate::subject::subject!($name: $transport);

        mod $name {
            use super::$transport;

            crate::suite!(@checks $transport;
                broker::broker_restarted, broker::broker_killed, broker::broker_hung,
                broker::connection_closed_by_the_broker, broker::memory_alarm,
                calls::ten_thousand_in_flight, calls::cancellation_storm, calls::invalid_names_send_nothing,
                confirms::nack, confirms::nack_of_many, confirms::confirm_never_comes, confirms::confirm_of_many,
                confirms::service_queue_missing,
                links::publish_channel_closed, links::reply_channel_closed, links::reply_queue_deleted,
                links::consumer_cancelled,
                network::tcp_reset, network::tcp_fin, network::half_open_from_the_broker,
                network::half_open_to_the_broker, network::half_open_both_ways, network::short_stall,
                network::slow_bytes, network::late_bytes, network::socket_takes_nothing, network::silent_handshake,
                network::bogus_frame_length, network::garbage,
                refusals::wrong_password, refusals::missing_vhost, refusals::exchange_declared_otherwise,
                replies::foreign_ids, replies::an_id_that_is_no_text, replies::malformed_body, replies::huge_reply,
            );
        }
    };
    (@checks $transport:ident; $($module:ident::$check:ident),+ $(,)?) => {
        $(#[test]
        fn $check() {
            crate::stage::run::<$transport>(stringify!($check), crate::$module::$check::<$transport>);
        })+
    };
}
pub(crate) use suite;

suite!(amqprs: AmqprsTransport);
suite!(lapin: LapinTransport);
