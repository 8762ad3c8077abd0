//! Frames as text: a line each, in AMQP's own words.

use amq_protocol::{
    frame::AMQPFrame,
    protocol::{AMQPClass, basic, channel, confirm, connection, exchange, queue},
    types::FieldTable,
};

use super::message::object;

/// A frame's name: `basic.deliver`, `header`, `body`, `heartbeat`.
pub(super) fn name(frame: &AMQPFrame) -> String {
    let line = payload(frame);
    line.split(' ').next().unwrap_or_default().to_owned()
}

/// One line: the channel (if it isn't 0), the name, and what is in it.
pub(super) fn line(frame: &AMQPFrame) -> String {
    match frame.channel_id() {
        0 => payload(frame),
        channel => format!("{channel} {}", payload(frame)),
    }
}

fn payload(frame: &AMQPFrame) -> String {
    match frame {
        AMQPFrame::ProtocolHeader(version) => format!("protocol {version:?}"),
        AMQPFrame::Method(_, method) => method_line(method),
        AMQPFrame::Header(_, header) => format!(
            "header {} bytes{}",
            header.body_size,
            properties(&header.properties)
        ),
        AMQPFrame::Body(_, body) => format!("body {}", String::from_utf8_lossy(body)),
        AMQPFrame::Heartbeat | AMQPFrame::InvalidHeartbeat(_) => "heartbeat".to_owned(),
    }
}

fn method_line(method: &AMQPClass) -> String {
    match method {
        AMQPClass::Connection(method) => connection_line(method),
        AMQPClass::Channel(method) => channel_line(method),
        AMQPClass::Basic(method) => basic_line(method),
        AMQPClass::Queue(queue::AMQPMethod::DeclareOk(ok)) => format!(
            "queue.declare-ok {} messages={} consumers={}",
            ok.queue, ok.message_count, ok.consumer_count
        ),
        AMQPClass::Queue(queue::AMQPMethod::BindOk(_)) => "queue.bind-ok".to_owned(),
        AMQPClass::Queue(queue::AMQPMethod::UnbindOk(_)) => "queue.unbind-ok".to_owned(),
        AMQPClass::Queue(queue::AMQPMethod::PurgeOk(ok)) => format!("queue.purge-ok {}", ok.message_count),
        AMQPClass::Queue(queue::AMQPMethod::DeleteOk(ok)) => format!("queue.delete-ok {}", ok.message_count),
        AMQPClass::Exchange(exchange::AMQPMethod::DeclareOk(_)) => "exchange.declare-ok".to_owned(),
        AMQPClass::Exchange(exchange::AMQPMethod::DeleteOk(_)) => "exchange.delete-ok".to_owned(),
        AMQPClass::Exchange(exchange::AMQPMethod::BindOk(_)) => "exchange.bind-ok".to_owned(),
        AMQPClass::Exchange(exchange::AMQPMethod::UnbindOk(_)) => "exchange.unbind-ok".to_owned(),
        AMQPClass::Confirm(confirm::AMQPMethod::SelectOk(_)) => "confirm.select-ok".to_owned(),
        other => format!("{other:?}"),
    }
}

fn connection_line(method: &connection::AMQPMethod) -> String {
    use connection::AMQPMethod;
    match method {
        AMQPMethod::Start(start) => format!("connection.start {} {}", start.mechanisms, start.locales),
        AMQPMethod::Tune(tune) => format!(
            "connection.tune channel_max={} frame_max={} heartbeat={}",
            tune.channel_max, tune.frame_max, tune.heartbeat
        ),
        AMQPMethod::OpenOk(_) => "connection.open-ok".to_owned(),
        AMQPMethod::Close(close) => format!("connection.close {} {}", close.reply_code, close.reply_text),
        AMQPMethod::CloseOk(_) => "connection.close-ok".to_owned(),
        AMQPMethod::Blocked(blocked) => format!("connection.blocked {}", blocked.reason),
        AMQPMethod::Unblocked(_) => "connection.unblocked".to_owned(),
        other => format!("{other:?}"),
    }
}

fn channel_line(method: &channel::AMQPMethod) -> String {
    use channel::AMQPMethod;
    match method {
        AMQPMethod::OpenOk(_) => "channel.open-ok".to_owned(),
        AMQPMethod::FlowOk(ok) => format!("channel.flow-ok {}", ok.active),
        AMQPMethod::Close(close) => format!(
            "channel.close {} {} ({}.{})",
            close.reply_code, close.reply_text, close.class_id, close.method_id
        ),
        AMQPMethod::CloseOk(_) => "channel.close-ok".to_owned(),
        other => format!("{other:?}"),
    }
}

fn basic_line(method: &basic::AMQPMethod) -> String {
    use basic::AMQPMethod;
    match method {
        AMQPMethod::QosOk(_) => "basic.qos-ok".to_owned(),
        AMQPMethod::ConsumeOk(ok) => format!("basic.consume-ok {}", ok.consumer_tag),
        AMQPMethod::Cancel(cancel) => format!("basic.cancel {}", cancel.consumer_tag),
        AMQPMethod::CancelOk(ok) => format!("basic.cancel-ok {}", ok.consumer_tag),
        AMQPMethod::Return(back) => format!(
            "basic.return {} {} {} {}",
            back.reply_code, back.reply_text, back.exchange, back.routing_key
        ),
        AMQPMethod::Deliver(deliver) => format!(
            "basic.deliver {} tag={}{} {} {}",
            deliver.consumer_tag,
            deliver.delivery_tag,
            if deliver.redelivered { " redelivered" } else { "" },
            deliver.exchange,
            deliver.routing_key
        ),
        AMQPMethod::GetOk(ok) => format!(
            "basic.get-ok tag={}{} {} {} left={}",
            ok.delivery_tag,
            if ok.redelivered { " redelivered" } else { "" },
            ok.exchange,
            ok.routing_key,
            ok.message_count
        ),
        AMQPMethod::GetEmpty(_) => "basic.get-empty".to_owned(),
        AMQPMethod::Ack(ack) => format!("basic.ack {}{}", ack.delivery_tag, multiple(ack.multiple)),
        AMQPMethod::Nack(nack) => format!("basic.nack {}{}", nack.delivery_tag, multiple(nack.multiple)),
        AMQPMethod::RecoverOk(_) => "basic.recover-ok".to_owned(),
        other => format!("{other:?}"),
    }
}

fn multiple(multiple: bool) -> &'static str {
    if multiple { " multiple" } else { "" }
}

/// Those that are there, in the order of the protocol.
fn properties(of: &basic::AMQPProperties) -> String {
    let text = |name: &str, value: Option<String>| value.map(|value| format!(" {name}={value}"));
    let headers = |table: &FieldTable| object(table).to_string();
    [
        text(
            "content_type",
            of.content_type().as_ref().map(ToString::to_string),
        ),
        text(
            "content_encoding",
            of.content_encoding().as_ref().map(ToString::to_string),
        ),
        text("headers", of.headers().as_ref().map(headers)),
        text("delivery_mode", of.delivery_mode().map(|mode| mode.to_string())),
        text("priority", of.priority().map(|priority| priority.to_string())),
        text(
            "correlation_id",
            of.correlation_id().as_ref().map(ToString::to_string),
        ),
        text("reply_to", of.reply_to().as_ref().map(ToString::to_string)),
        text("expiration", of.expiration().as_ref().map(ToString::to_string)),
        text("message_id", of.message_id().as_ref().map(ToString::to_string)),
    ]
    .into_iter()
    .flatten()
    .collect()
}
