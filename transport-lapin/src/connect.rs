//! From an address to a link: socket, TLS, handshake, topology.
//!
//! The socket is ours, not lapin's: an attempt that is given up, and a link that is cut, shut it down, and that ends
//! lapin's thread. (A connect future of lapin's that is dropped leaves its thread and socket behind until the peer
//! closes.)

use std::{
    io,
    net::{Shutdown, TcpStream as StdStream},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_compat::Compat;
use async_trait::async_trait;
use lapin::{
    AsyncTcpStream, Connection, ConnectionProperties, Error, ErrorKind,
    uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo},
};
use nameko_cachetools_amqp::{Link, LinkEvents, LinkFactory, OpenError, Plan, clock_is_paused, is_permanent};
use tokio::net::TcpStream;

use crate::link::LapinLink;

/// Opens lapin links.
pub(crate) struct Links;

#[async_trait]
impl LinkFactory for Links {
    async fn open(&self, plan: Plan, events: LinkEvents) -> Result<Arc<dyn Link>, OpenError> {
        if clock_is_paused() {
            return Err(OpenError::paused_clock());
        }
        let stream = TcpStream::connect((plan.address.host.as_str(), plan.address.port))
            .await
            .map_err(|error| OpenError::unreachable(error.to_string()))?;
        let (stream, socket) = split(stream).map_err(|error| OpenError::unreachable(error.to_string()))?;
        let stream = secured(stream, &plan).await?;
        let connection = handshake(stream, &plan)
            .await
            .map_err(|error| open_error(&error))?;
        let link = LapinLink::open(connection, socket, &plan, events).await;
        Ok(Arc::new(link.map_err(|error| open_error(&error))?))
    }
}

/// A handle on a connection's socket that can end it. Dropping it does.
pub(crate) struct Socket(StdStream);

impl Socket {
    /// Ends the connection now. Zero linger makes it a reset, so that the broker forgets what it has not read yet.
    pub(crate) fn cut(&self) {
        // Each fails only if the connection has ended already.
        let _ = socket2::SockRef::from(&self.0).set_linger(Some(Duration::ZERO));
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.cut();
    }
}

type Stream = AsyncTcpStream<Compat<TcpStream>>;

fn split(stream: TcpStream) -> io::Result<(Stream, Socket)> {
    stream.set_nodelay(true)?; // requests are small and somebody waits for each
    let stream = stream.into_std()?;
    let socket = Socket(stream.try_clone()?);
    Ok((
        AsyncTcpStream::Plain(Compat::new(TcpStream::from_std(stream)?)),
        socket,
    ))
}

#[cfg(feature = "tls")]
async fn secured(stream: Stream, plan: &Plan) -> Result<Stream, OpenError> {
    let Some(config) = plan.tls.clone() else {
        return Ok(stream);
    };
    let connector = lapin::tcp::RustlsConnector::from(config);
    let secured = stream.into_rustls(&connector, &plan.address.host).await;
    secured.map_err(|error| match nameko_cachetools_amqp::is_refused(&error) {
        true => OpenError::refused(format!("TLS: {error}")),
        false => OpenError::unreachable(format!("TLS: {error}")),
    })
}

/// Addresses that want TLS are refused by the builder.
#[cfg(not(feature = "tls"))]
async fn secured(stream: Stream, _: &Plan) -> Result<Stream, OpenError> {
    Ok(stream)
}

async fn handshake(stream: Stream, plan: &Plan) -> Result<Connection, Error> {
    let once = Mutex::new(Some(stream));
    let properties =
        ConnectionProperties::default().with_connection_name(plan.connection_name.as_str().into());
    let take = async move |_, _| {
        let stream = once.lock().unwrap_or_else(PoisonError::into_inner).take();
        stream.ok_or_else(|| io::Error::from(io::ErrorKind::ConnectionAborted).into())
    };
    Connection::connector(uri(plan), lapin::runtime::default_runtime()?, take, properties).await
}

fn uri(plan: &Plan) -> AMQPUri {
    let address = plan.address.clone();
    AMQPUri {
        scheme: AMQPScheme::AMQP, // TLS, if any, is there already
        authority: AMQPAuthority {
            userinfo: AMQPUserInfo {
                username: address.user,
                password: address.password,
            },
            host: address.host,
            port: address.port,
        },
        vhost: address.vhost,
        query: AMQPQueryString {
            // Given by us, because lapin takes whatever the broker offers, and allocates 64 frames of it at once.
            frame_max: Some(FRAME_MAX),
            heartbeat: Some(u16::try_from(plan.heartbeat.as_secs()).unwrap_or(u16::MAX)),
            ..AMQPQueryString::default()
        },
    }
}

/// RabbitMQ's default, and py-amqp's.
const FRAME_MAX: u32 = 131_072;

/// A refusal has a reply code that says whether it is final. No text of lapin's errors holds an account.
fn open_error(error: &Error) -> OpenError {
    match error.kind() {
        ErrorKind::ProtocolError(protocol) if is_permanent(protocol.get_id()) => {
            OpenError::refused(error.to_string())
        }
        _ => OpenError::unreachable(error.to_string()),
    }
}
