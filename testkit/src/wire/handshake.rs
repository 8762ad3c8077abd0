//! What concerns a connection as a whole: its first words, its last, and whose frame goes where.

use std::sync::atomic::Ordering;

use amq_protocol::{
    frame::AMQPFrame,
    protocol::{
        AMQPClass,
        connection::{AMQPMethod, CloseOk, OpenOk, Start, UpdateSecretOk},
    },
    types::{AMQPValue, FieldTable},
};

use super::{
    frames::Garbage,
    refusal::Refusal,
    session::{Capabilities, FRAME_MAX, Phase, Session},
    vhost::{At, Vhost},
};

impl Vhost {
    /// Takes a frame from a connection.
    pub(super) fn receive(&mut self, id: u32, frame: AMQPFrame) {
        let Some(phase) = self.sessions.get(&id).map(|session| session.phase) else {
            return;
        };
        let of = ids(&frame);
        let done = match (phase, frame) {
            (Phase::Header, AMQPFrame::ProtocolHeader(_)) => self.start(id),
            (Phase::Header, _) => return self.receive_garbage(id, Garbage::NoAmqp),
            (Phase::Closed, _) => Ok(()),
            (Phase::CloseOk, AMQPFrame::Method(0, AMQPClass::Connection(method))) => {
                self.closing(id, &method)
            }
            (Phase::CloseOk, _) => Ok(()), // all but the answer is thrown away
            (_, AMQPFrame::Heartbeat) => Ok(()),
            (_, AMQPFrame::InvalidHeartbeat(_)) => Err(Refusal::unexpected("a heartbeat on a channel")),
            (phase, AMQPFrame::Method(0, AMQPClass::Connection(method))) => {
                self.on_connection(id, phase, method)
            }
            (Phase::Running, frame) if frame.channel_id() != 0 => {
                let channel = frame.channel_id();
                self.on_channel(
                    At {
                        connection: id,
                        channel,
                    },
                    frame,
                )
            }
            (phase, _) => Err(Refusal::out_of_place(phase)),
        };
        if let Err(refusal) = done {
            self.refuse(id, &refusal, of);
        }
    }

    /// Closes a connection with a reply code.
    pub(super) fn refuse(&mut self, id: u32, refusal: &Refusal, of: (u16, u16)) {
        self.release_connection(id);
        let open = |session: &&mut Session| !matches!(session.phase, Phase::CloseOk | Phase::Closed);
        if let Some(session) = self.sessions.get_mut(&id).filter(open) {
            session.close(refusal, of);
        }
    }

    /// What came is no frame, and nothing behind it can be understood.
    pub(super) fn receive_garbage(&mut self, id: u32, garbage: Garbage) {
        let Some(session) = self.sessions.get(&id) else {
            return;
        };
        let refusal = match (session.phase, garbage) {
            // As RabbitMQ: the header it would have understood, and the end.
            (Phase::Header, _) => {
                session.peer.outbox.raw(b"AMQP\x00\x00\x09\x01");
                return session.end();
            }
            (Phase::CloseOk | Phase::Closed, _) => return session.end(),
            (_, Garbage::TooLarge) => {
                let limit = session.peer.frame_max.load(Ordering::Relaxed);
                Refusal::frame_error(format_args!(
                    "frame is larger than the {limit} octets that were agreed"
                ))
            }
            _ => Refusal::frame_error("these octets are no frame"),
        };
        self.refuse(id, &refusal, (0, 0));
        if let Some(session) = self.sessions.get(&id) {
            session.linger();
        }
    }

    fn start(&mut self, id: u32) -> Result<(), Refusal> {
        if self.faults.handshake_is_silent() {
            return Ok(());
        }
        let Some(session) = self.sessions.get_mut(&id) else {
            return Ok(());
        };
        session.phase = Phase::StartOk;
        session.connection(AMQPMethod::Start(Start {
            version_major: 0,
            version_minor: 9,
            server_properties: server_properties(),
            mechanisms: "PLAIN AMQPLAIN".into(),
            locales: "en_US".into(),
        }));
        Ok(())
    }

    fn on_connection(&mut self, id: u32, phase: Phase, method: AMQPMethod) -> Result<(), Refusal> {
        let (tune, refuses_logins, refuses_vhosts) = (
            self.faults.tune(),
            self.faults.refuses_logins(),
            self.faults.refuses_vhosts(),
        );
        let Some(session) = self.sessions.get_mut(&id) else {
            return Ok(());
        };
        match (phase, method) {
            (Phase::StartOk, AMQPMethod::StartOk(ok)) => {
                session.can = Capabilities::announced_in(&ok.client_properties);
                if refuses_logins {
                    let text = format!(
                        "Login was refused using authentication mechanism {}. For details see the broker logfile.",
                        ok.mechanism
                    );
                    if !session.can.authentication_failure_close {
                        session.end();
                        return Ok(());
                    }
                    let refusal = Refusal {
                        is_hard: true,
                        ..Refusal::access(text)
                    };
                    session.close(&refusal, (0, 0));
                    return Ok(());
                }
                session.phase = Phase::TuneOk;
                session.offered = tune;
                session.connection(AMQPMethod::Tune(tune.into()));
            }
            // As RabbitMQ, which doesn't say why either.
            (Phase::TuneOk, AMQPMethod::TuneOk(ok)) if !session.offered.allows(&ok) => {
                session.phase = Phase::Closed;
                session.cut();
            }
            (Phase::TuneOk, AMQPMethod::TuneOk(ok)) => {
                session.channel_max = if ok.channel_max == 0 {
                    u16::MAX
                } else {
                    ok.channel_max
                };
                let frame_max = usize::try_from(ok.frame_max).unwrap_or(FRAME_MAX);
                let frame_max = if frame_max == 0 { FRAME_MAX } else { frame_max };
                session.peer.frame_max.store(frame_max, Ordering::Relaxed);
                session.peer.heartbeat.store(ok.heartbeat, Ordering::Relaxed);
                session.phase = Phase::Open;
            }
            (Phase::Open, AMQPMethod::Open(open)) => {
                session.vhost = open.virtual_host.to_string();
                if refuses_vhosts {
                    let text = format_args!("vhost {} not found", session.vhost);
                    return Err(Refusal::not_allowed(text));
                }
                session.phase = Phase::Running;
                session.connection(AMQPMethod::OpenOk(OpenOk {}));
            }
            (Phase::Running, AMQPMethod::UpdateSecret(_)) => {
                session.connection(AMQPMethod::UpdateSecretOk(UpdateSecretOk {}));
            }
            (_, AMQPMethod::Close(_)) => {
                session.phase = Phase::Closed;
                session.connection(AMQPMethod::CloseOk(CloseOk {}));
                session.linger();
                self.release_connection(id);
            }
            (phase, _) => return Err(Refusal::out_of_place(phase)),
        }
        Ok(())
    }

    fn closing(&mut self, id: u32, method: &AMQPMethod) -> Result<(), Refusal> {
        let Some(session) = self.sessions.get(&id) else {
            return Ok(());
        };
        match method {
            AMQPMethod::CloseOk(_) => session.cut(), // RabbitMQ's sockets don't linger
            AMQPMethod::Close(_) => {
                session.connection(AMQPMethod::CloseOk(CloseOk {}));
                session.end();
            }
            _ => {}
        }
        Ok(())
    }
}

/// The class and method of a frame, 0 if it is none.
pub(super) fn ids(frame: &AMQPFrame) -> (u16, u16) {
    match frame {
        AMQPFrame::Method(_, method) => (method.get_amqp_class_id(), method.get_amqp_method_id()),
        AMQPFrame::Header(..) | AMQPFrame::Body(..) => (60, 40),
        _ => (0, 0),
    }
}

/// What RabbitMQ announces, apart from what there isn't here: direct reply-to.
fn server_properties() -> FieldTable {
    let mut capabilities = FieldTable::default();
    for name in [
        "publisher_confirms",
        "exchange_exchange_bindings",
        "basic.nack",
        "consumer_cancel_notify",
        "connection.blocked",
        "authentication_failure_close",
        "per_consumer_qos",
    ] {
        capabilities.insert(name.into(), AMQPValue::Boolean(true));
    }
    let text = |text: &str| AMQPValue::LongString(text.into());
    let mut properties = FieldTable::default();
    properties.insert("capabilities".into(), AMQPValue::FieldTable(capabilities));
    properties.insert("product".into(), text("nameko-cachetools fake broker"));
    properties.insert("version".into(), text(env!("CARGO_PKG_VERSION")));
    properties.insert("platform".into(), text("Rust"));
    properties
}
