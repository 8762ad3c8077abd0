//! TLS, with a certificate authority made on the spot.

use std::{fmt, sync::Arc};

use rcgen::{
    BasicConstraints, Certificate as Signed, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring::default_provider,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};

use super::{Listen, WireBroker};
use crate::{FakeBroker, fail};

/// The certificate that a fake broker shows. Only the first is one that a client may trust.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Certificate {
    /// For `localhost` and 127.0.0.1, signed by [`WireBroker::ca`].
    #[default]
    Good,
    /// It was valid until 2020.
    Expired,
    /// For another host, `elsewhere.example`.
    OtherHost,
    /// Signed by an authority that nobody knows.
    UnknownAuthority,
}

/// What a port with TLS needs.
#[derive(Clone)]
pub(super) struct Tls {
    pub(super) acceptor: TlsAcceptor,
    pub(super) ca: String,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls(..)")
    }
}

impl Listen {
    /// Speaks TLS, and shows this certificate. The authority is made for the purpose, and known to nobody but by
    /// [`WireBroker::ca`].
    ///
    /// # Panics
    /// If there is no randomness to make keys of.
    ///
    /// ```
    /// # use nameko_cachetools_testkit::{FakeBroker, wire::{Certificate, Listen}};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # let broker = FakeBroker::new();
    /// let wire = broker.serve_with(Listen::default().tls(Certificate::Good)).await;
    /// assert!(wire.uri().starts_with("amqps://guest:guest@localhost:"));
    /// assert!(wire.ca().starts_with("-----BEGIN CERTIFICATE-----"));
    /// # }
    /// ```
    #[track_caller]
    pub fn tls(mut self, certificate: Certificate) -> Self {
        match Tls::new(certificate) {
            Ok(tls) => self.tls = Some(tls),
            Err(error) => fail(format!("no certificate could be made: {error}")),
        }
        self
    }
}

impl WireBroker {
    /// The certificate of the authority, in PEM: a client that trusts it trusts [`Certificate::Good`]. Empty without
    /// TLS.
    pub fn ca(&self) -> &str {
        self.tls.as_ref().map_or("", |tls| &tls.ca)
    }
}

impl FakeBroker {
    /// Listens with TLS, and shows a certificate: for tests of who is trusted. The same as
    /// [`Listen::tls`] with [`serve_with`](Self::serve_with).
    ///
    /// # Panics
    /// As [`serve`](Self::serve).
    ///
    /// ```
    /// # use nameko_cachetools_testkit::{FakeBroker, wire::{Certificate, RawClient}};
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// # let broker = FakeBroker::new();
    /// for nobodys in [Certificate::Expired, Certificate::OtherHost, Certificate::UnknownAuthority] {
    ///     let wire = broker.serve_tls(nobodys).await;
    ///     // a client that trusts wire.ca() must refuse to go on; here is one that doesn't even speak TLS:
    ///     let mut client = RawClient::tcp(&wire.uri()).await?;
    ///     client.send(b"AMQP\x00\x00\x09\x01").await;
    ///     assert_ne!(client.hear().await, "connection.start PLAIN AMQPLAIN en_US");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn serve_tls(&self, certificate: Certificate) -> impl Future<Output = WireBroker> + use<'_> {
        self.serve_with(Listen::default().tls(certificate))
    }
}

impl Tls {
    fn new(certificate: Certificate) -> Result<Self, Box<dyn std::error::Error>> {
        let (known, authority) = authority()?;
        let authority = match certificate {
            Certificate::UnknownAuthority => self::authority()?.1,
            _ => authority,
        };
        let names = match certificate {
            Certificate::OtherHost => vec!["elsewhere.example".to_owned()],
            _ => vec!["localhost".to_owned(), "127.0.0.1".to_owned()],
        };
        let mut params = CertificateParams::new(names)?;
        if certificate == Certificate::Expired {
            params.not_before = date_time_ymd(2019, 1, 1);
            params.not_after = date_time_ymd(2020, 1, 1);
        }
        let key = KeyPair::generate()?;
        let shown = params.signed_by(&key, &authority)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![shown.der().clone()], key)?;
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            ca: known.pem(),
        })
    }
}

fn authority() -> Result<(Signed, Issuer<'static, KeyPair>), rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
        .distinguished_name
        .push(DnType::CommonName, "nameko-cachetools fake authority");
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    Ok((certificate, Issuer::new(params, key)))
}
