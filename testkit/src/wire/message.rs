//! A message, as the broker carries it.

use std::{collections::BTreeMap, time::Duration};

use amq_protocol::{
    protocol::basic::AMQPProperties,
    types::{AMQPValue, FieldTable, ShortString},
};
use bytes::Bytes;
use nameko_cachetools::{Event, JSON, Request, Response, Route};
use serde_json::Value;

use super::frames::{UNREADABLE, short};
use crate::Correlation;

/// A published message. Queues and consumers share it.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) exchange: ShortString,
    pub(super) key: ShortString,
    pub(super) properties: AMQPProperties,
    pub(super) body: Bytes,
    /// Whether its correlation id is to be no UTF-8.
    pub(super) is_garbled: bool,
}

impl Message {
    /// A service's reply to `request`, if it says where to: with the properties that nameko gives it. `another` is the
    /// correlation id of another call.
    pub(super) fn reply(
        exchange: &str,
        request: &AMQPProperties,
        response: Response,
        correlation: Correlation,
        another: Option<ShortString>,
    ) -> Option<Self> {
        let mut properties = AMQPProperties::default()
            .with_content_encoding("utf-8".into())
            .with_headers(table(
                response.headers.iter().map(|(name, value)| (&**name, value)),
            ))
            .with_delivery_mode(2)
            .with_priority(0);
        if let Some(content_type) = &response.content_type {
            properties = properties.with_content_type(short(content_type));
        }
        let id = match correlation {
            Correlation::Own => request.correlation_id().clone(),
            Correlation::Another if another.is_some() => another,
            Correlation::Unknown | Correlation::Another => Some(NOBODY.into()),
            Correlation::Empty => Some("".into()),
            Correlation::Missing => None,
            Correlation::NotUtf8 => Some(UNREADABLE.into()),
        };
        if let Some(id) = id {
            properties = properties.with_correlation_id(id);
        }
        Some(Self {
            exchange: short(exchange),
            key: request.reply_to().clone()?,
            properties,
            body: response.body,
            is_garbled: correlation == Correlation::NotUtf8,
        })
    }

    /// An event of `service`, as nameko's dispatcher sends it.
    pub(super) fn event(service: &str, event: &Event) -> Self {
        let mut properties = AMQPProperties::default()
            .with_content_encoding("utf-8".into())
            .with_headers(table(event.headers.iter().map(|(name, value)| (&**name, value))))
            .with_delivery_mode(2)
            .with_priority(0);
        if let Some(content_type) = &event.content_type {
            properties = properties.with_content_type(short(content_type));
        }
        Self {
            exchange: short(&format!("{service}.events")),
            key: short(&event.event_type),
            properties,
            body: event.body.clone(),
            is_garbled: false,
        }
    }

    /// Whether a nameko service would read it at all.
    pub(super) fn is_json(&self) -> bool {
        self.properties
            .content_type()
            .as_ref()
            .is_some_and(|kind| kind.as_str() == JSON)
    }

    /// The message as a request to `route`.
    pub(super) fn request(&self, route: Route) -> Request {
        let mut request = Request::new(route, self.body.clone());
        request.persistent = *self.properties.delivery_mode() == Some(2);
        request.expiration = self.expiration();
        request.headers = match self.properties.headers() {
            Some(headers) => headers
                .into_iter()
                .map(|(name, value)| (name.to_string().into(), json(value)))
                .collect(),
            None => Vec::new(),
        };
        request
    }

    /// The property `expiration`, which is text in milliseconds.
    pub(super) fn expiration(&self) -> Option<Duration> {
        let ms = self.properties.expiration().as_ref()?.as_str().parse().ok()?;
        Some(Duration::from_millis(ms))
    }

    /// The same property, if it can't be read.
    pub(super) fn invalid_expiration(&self) -> Option<&str> {
        let text = self.properties.expiration().as_ref()?.as_str();
        self.expiration().is_none().then_some(text)
    }
}

/// A correlation id that no call has.
const NOBODY: &str = "00000000-0000-4000-8000-000000000000";

/// JSON as a table of fields, in the types that py-amqp chooses; `null` is left out.
fn table<'a>(members: impl Iterator<Item = (&'a str, &'a Value)>) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in members {
        if let Some(value) = field(value) {
            table.insert(short(name), value);
        }
    }
    table
}

fn field(value: &Value) -> Option<AMQPValue> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(value) => AMQPValue::Boolean(*value),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => i32::try_from(whole).map_or(AMQPValue::LongLongInt(whole), AMQPValue::LongInt),
            None => AMQPValue::Double(number.as_f64()?),
        },
        Value::String(text) => AMQPValue::LongString(text.as_str().into()),
        Value::Array(items) => {
            AMQPValue::FieldArray(items.iter().filter_map(field).collect::<Vec<_>>().into())
        }
        Value::Object(members) => {
            AMQPValue::FieldTable(table(members.iter().map(|(name, value)| (name.as_str(), value))))
        }
    })
}

/// A field's value as JSON: what JSON has no type for becomes text.
pub(super) fn json(value: &AMQPValue) -> Value {
    match value {
        AMQPValue::Boolean(value) => (*value).into(),
        AMQPValue::ShortShortInt(value) => (*value).into(),
        AMQPValue::ShortShortUInt(value) => (*value).into(),
        AMQPValue::ShortInt(value) => (*value).into(),
        AMQPValue::ShortUInt(value) => (*value).into(),
        AMQPValue::LongInt(value) => (*value).into(),
        AMQPValue::LongUInt(value) => (*value).into(),
        AMQPValue::LongLongInt(value) => (*value).into(),
        AMQPValue::Timestamp(value) => (*value).into(),
        AMQPValue::Float(value) => (*value).into(),
        AMQPValue::Double(value) => (*value).into(),
        AMQPValue::DecimalValue(number) => {
            (f64::from(number.value) / 10f64.powi(i32::from(number.scale))).into()
        }
        AMQPValue::ShortString(text) => text.as_str().into(),
        AMQPValue::LongString(text) => text.to_string().into(),
        AMQPValue::ByteArray(bytes) => String::from_utf8_lossy(bytes.as_slice()).into(),
        AMQPValue::FieldArray(items) => items.as_slice().iter().map(json).collect(),
        AMQPValue::FieldTable(table) => object(table),
        AMQPValue::Void => Value::Null,
    }
}

/// A table as a JSON object.
pub(super) fn object(table: &FieldTable) -> Value {
    let members: BTreeMap<String, Value> = table
        .into_iter()
        .map(|(name, value)| (name.to_string(), json(value)))
        .collect();
    members.into_iter().collect()
}
