//! `amqps`, against a front of our own that speaks TLS and hands on to the live RabbitMQ.

use std::sync::Arc;

use nameko_cachetools::{Transport, TransportError};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

use super::support::{self, Responder, echo, live, within};
use crate::{
    Tested,
    tested::{Address, ConnectError, Tls},
};

/// Who issues certificates.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    /// Certificate and key, as PEM.
    fn issue(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    /// A front whose certificate is made out to `name`; its URI. It ends with the test's runtime.
    async fn front(&self, broker: &str, name: &str, asks_for_certificates: bool) -> String {
        let ours = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(der(&self.pem)).unwrap();
        let config = ServerConfig::builder_with_provider(ours.clone())
            .with_safe_default_protocol_versions()
            .unwrap();
        let config = match asks_for_certificates {
            false => config.with_no_client_auth(),
            true => config.with_client_cert_verifier(
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), ours)
                    .build()
                    .unwrap(),
            ),
        };
        let (certificate, key) = self.issue(name);
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let config = config.with_single_cert(vec![der(&certificate)], key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let address = Address::parse(broker).unwrap().remove(0);
        let upstream = format!("{}:{}", address.host, address.port);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (acceptor, upstream) = (acceptor.clone(), upstream.clone());
                tokio::spawn(async move {
                    let mut client = acceptor.accept(client).await?;
                    let mut broker = TcpStream::connect(upstream).await?;
                    copy_bidirectional(&mut client, &mut broker).await
                });
            }
        });
        let vhost = address.vhost.replace('/', "%2f");
        format!(
            "amqps://{}:{}@localhost:{port}/{vhost}",
            address.user, address.password
        )
    }
}

fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

async fn connect(uri: &str, tls: Tls) -> Result<Tested, ConnectError> {
    within(10, Tested::builder().uri(uri).tls(tls).connect()).await
}

#[tokio::test]
async fn a_broker_is_trusted_by_its_own_authority_and_name_only() {
    let uri = live!();
    let (authority, responder) = (Authority::new(), Responder::start(&uri).await);
    let front = authority.front(&uri, "localhost", false).await;
    let transport = connect(&front, Tls::new().trust(authority.pem.as_str()))
        .await
        .unwrap();
    echo(&transport, &responder.service, "x").await;
    transport.close(Default::default()).await;

    let elsewhere = authority.front(&uri, "elsewhere.example", false).await;
    for (uri, tls) in [
        (&front, Tls::new()),
        (&front, Tls::new().trust(Authority::new().pem)),
        (&elsewhere, Tls::new().trust(authority.pem.as_str())),
    ] {
        let error = connect(uri, tls).await.unwrap_err();
        assert!(
            matches!(&error, ConnectError::Failed(TransportError::Refused { .. })),
            "{error:?}"
        );
        assert!(!error.to_string().contains("guest"), "{error}");
    }
}

#[tokio::test]
async fn a_certificate_is_shown_to_a_broker_that_asks_for_one() {
    let uri = live!();
    let (authority, responder) = (Authority::new(), Responder::start(&uri).await);
    let front = authority.front(&uri, "localhost", true).await;
    let trusting = || Tls::new().trust(authority.pem.as_str());
    let (chain, key) = authority.issue("client");
    let transport = connect(&front, trusting().identity(chain, key)).await.unwrap();
    echo(&transport, &responder.service, "x").await;
    transport.close(Default::default()).await;

    let error = connect(&front, trusting()).await.unwrap_err();
    assert!(matches!(&error, ConnectError::Failed(_)), "{error:?}");
}

#[tokio::test]
async fn certificates_that_can_not_be_read_are_an_error_of_their_own() {
    let error = connect("amqps://localhost", Tls::new().trust("canary"))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, ConnectError::InvalidTls(_)) && !error.to_string().contains("canary"),
        "{error:?}"
    );
}
