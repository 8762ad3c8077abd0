//! One channel: what it consumes, what it hasn't acknowledged, what it has published.

use std::collections::{BTreeMap, BTreeSet};

use amq_protocol::{
    frame::AMQPContentHeader,
    protocol::basic::{AMQPProperties, Publish},
    types::ShortString,
};

use super::{frames::BASIC, queues::Stored, refusal::Refusal};

/// A channel's state. Nothing here knows queues or sockets.
#[derive(Debug, Default)]
pub(super) struct Channel {
    pub(super) consumers: BTreeMap<ShortString, Consuming>,
    pub(super) unacked: BTreeMap<u64, Unacked>,
    pub(super) last_delivery: u64,
    /// For consumers to come.
    pub(super) prefetch: usize,
    /// For all consumers together.
    pub(super) global_prefetch: usize,
    /// The queue that an empty name means.
    pub(super) last_queue: Option<String>,
    /// `None`: publishes are not confirmed.
    pub(super) confirms: Option<Confirms>,
    /// The broker has closed it and waits for the answer.
    pub(super) is_closing: bool,
    incoming: Option<Incoming>,
}

/// One consumer.
#[derive(Debug)]
pub(super) struct Consuming {
    pub(super) queue: String,
    pub(super) no_ack: bool,
    pub(super) prefetch: usize,
    unacked: usize,
}

/// A message that was delivered and isn't acknowledged.
#[derive(Debug)]
pub(super) struct Unacked {
    pub(super) queue: String,
    pub(super) consumer: Option<ShortString>,
    pub(super) stored: Stored,
}

/// A message of which not everything has come.
#[derive(Debug)]
struct Incoming {
    publish: Publish,
    header: Option<(u64, AMQPProperties)>,
    body: Vec<u8>,
}

/// A message that has come in full.
#[derive(Debug)]
pub(super) struct Published {
    pub(super) publish: Publish,
    pub(super) properties: AMQPProperties,
    pub(super) body: Vec<u8>,
}

/// The numbers of published messages.
#[derive(Debug, Default)]
pub(super) struct Confirms {
    last: u64,
    /// Not decided yet.
    open: BTreeSet<u64>,
    /// Confirmed, but not told yet.
    batch: BTreeSet<u64>,
}

impl Channel {
    /// Whether a consumer may get another message.
    pub(super) fn has_room(&self, tag: &ShortString) -> bool {
        let below = |limit: usize, unacked: usize| limit == 0 || unacked < limit;
        !self.is_closing
            && self.consumers.get(tag).is_some_and(|own| {
                own.no_ack
                    || below(own.prefetch, own.unacked) && below(self.global_prefetch, self.unacked.len())
            })
    }

    pub(super) fn consume(&mut self, tag: ShortString, queue: String, no_ack: bool) {
        let (prefetch, unacked) = (self.prefetch, 0);
        self.consumers.insert(
            tag,
            Consuming {
                queue,
                no_ack,
                prefetch,
                unacked,
            },
        );
    }

    /// Keeps a delivered message until it is acknowledged.
    pub(super) fn hold(&mut self, delivery: u64, unacked: Unacked) {
        if let Some(consuming) = unacked
            .consumer
            .as_ref()
            .and_then(|tag| self.consumers.get_mut(tag))
        {
            consuming.unacked += 1;
        }
        self.unacked.insert(delivery, unacked);
    }

    /// Takes the messages that an acknowledgement is about: one, all up to it, or (0) all.
    pub(super) fn settle(&mut self, delivery: u64, multiple: bool) -> Result<Vec<Unacked>, Refusal> {
        let tags: Vec<u64> = match (multiple, self.unacked.contains_key(&delivery)) {
            (true, _) if delivery == 0 => self.unacked.keys().copied().collect(),
            (true, true) => self.unacked.range(..=delivery).map(|(tag, _)| *tag).collect(),
            (false, true) => vec![delivery],
            (_, false) => {
                return Err(Refusal::precondition(format_args!(
                    "unknown delivery tag {delivery}"
                )));
            }
        };
        Ok(tags.into_iter().filter_map(|tag| self.release(tag)).collect())
    }

    /// Takes all that isn't acknowledged.
    pub(super) fn release_all(&mut self) -> Vec<Unacked> {
        let tags: Vec<u64> = self.unacked.keys().copied().collect();
        tags.into_iter().filter_map(|tag| self.release(tag)).collect()
    }

    fn release(&mut self, tag: u64) -> Option<Unacked> {
        let released = self.unacked.remove(&tag)?;
        if let Some(consuming) = released
            .consumer
            .as_ref()
            .and_then(|tag| self.consumers.get_mut(tag))
        {
            consuming.unacked = consuming.unacked.saturating_sub(1);
        }
        Some(released)
    }

    /// Whether the next frame must be content.
    pub(super) fn expects_content(&self) -> bool {
        self.incoming.is_some()
    }

    pub(super) fn begin(&mut self, publish: Publish) {
        let (header, body) = (None, Vec::new());
        self.incoming = Some(Incoming {
            publish,
            header,
            body,
        });
    }

    pub(super) fn header(&mut self, header: AMQPContentHeader) -> Result<Option<Published>, Refusal> {
        match &mut self.incoming {
            Some(incoming) if incoming.header.is_none() => {
                if header.class_id != BASIC {
                    return Err(Refusal::unexpected(format_args!(
                        "expected content header for class {BASIC}, got one for class {} instead",
                        header.class_id
                    )));
                }
                if header.body_size > MOST_OCTETS {
                    self.incoming = None;
                    return Err(Refusal::precondition(format_args!(
                        "message size {} is larger than configured max size {MOST_OCTETS}",
                        header.body_size
                    )));
                }
                incoming.header = Some((header.body_size, header.properties));
                Ok(self.complete())
            }
            _ => Err(self.unexpected()),
        }
    }

    /// Another frame came than the one that had to.
    pub(super) fn unexpected(&self) -> Refusal {
        Refusal::unexpected(match self.incoming.as_ref().map(|incoming| &incoming.header) {
            None => "expected method frame, got non method frame instead",
            Some(None) => "expected content header for class 60, got non content header frame instead",
            Some(Some(_)) => "expected content body, got non content body frame instead",
        })
    }

    pub(super) fn body(&mut self, part: Vec<u8>) -> Result<Option<Published>, Refusal> {
        match &mut self.incoming {
            Some(Incoming {
                header: Some((size, _)),
                body,
                ..
            }) => {
                if (body.len() + part.len()) as u64 > *size {
                    return Err(Refusal::frame_error(format_args!(
                        "the body is longer than the {size} octets of its header"
                    )));
                }
                if body.is_empty() {
                    *body = part;
                } else {
                    body.extend_from_slice(&part);
                }
                Ok(self.complete())
            }
            _ => Err(self.unexpected()),
        }
    }

    fn complete(&mut self) -> Option<Published> {
        let Incoming { header, body, .. } = self.incoming.as_ref()?;
        let (size, _) = header.as_ref()?;
        if (body.len() as u64) < *size {
            return None;
        }
        let Incoming {
            publish,
            header,
            body,
        } = self.incoming.take()?;
        let (_, properties) = header?;
        Some(Published {
            publish,
            properties,
            body,
        })
    }
}

/// RabbitMQ's own limit of a message: 128 MiB.
const MOST_OCTETS: u64 = 128 << 20;

impl Confirms {
    /// The number of the next message.
    pub(super) fn number(&mut self) -> u64 {
        self.last += 1;
        self.open.insert(self.last);
        self.last
    }

    /// It is decided.
    pub(super) fn close(&mut self, tag: u64) {
        self.open.remove(&tag);
    }

    /// It is confirmed with others; how many are now.
    pub(super) fn gather(&mut self, tag: u64) -> usize {
        self.close(tag);
        self.batch.insert(tag);
        self.batch.len()
    }

    /// What is to be told of those gathered: one number with `multiple`, and those behind an undecided one singly.
    pub(super) fn flush(&mut self) -> (Option<u64>, BTreeSet<u64>) {
        let undecided = self.open.first().copied().unwrap_or(u64::MAX);
        let single = self.batch.split_off(&undecided);
        let last = self.batch.last().copied();
        self.batch.clear();
        (last, single)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_says_nothing_of_what_is_undecided() {
        let mut confirms = Confirms::default();
        let tags: Vec<u64> = (0..5).map(|_| confirms.number()).collect();
        for tag in [1, 2, 4, 5] {
            confirms.gather(tag);
        }
        assert_eq!(tags, [1, 2, 3, 4, 5]);
        assert_eq!(confirms.flush(), (Some(2), [4, 5].into()));
        assert_eq!(confirms.gather(3), 1);
        assert_eq!(confirms.flush(), (Some(3), BTreeSet::new()));
    }
}
