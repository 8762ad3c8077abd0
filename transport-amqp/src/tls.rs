//! How `amqps` connections are secured: who is trusted, and who we are.

use std::{fmt, io, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

/// How `amqps://` connections are secured, with rustls and TLS 1.2 or 1.3.
///
/// By default the broker's certificate must lead to one of the system's certificates and be made out to the host's name,
/// and we show none. Nothing here turns the check off: for a broker with a certificate of its own, trust that one.
///
/// ```
/// use nameko_cachetools_amqp::Tls;
/// # let (ca, chain, key) = ("", "", "");
/// let tls = Tls::new().trust(ca).identity(chain, key);
/// ```
#[derive(Clone, Default)]
#[must_use = "give it to `Builder::tls`"]
pub struct Tls {
    trusted: Option<Vec<u8>>,
    identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl Tls {
    /// The default: the system's certificates, and none of our own.
    pub fn new() -> Self {
        Self::default()
    }

    /// Trusts these certificates (PEM, at least one), *instead of* the system's.
    pub fn trust(mut self, certificates: impl Into<Vec<u8>>) -> Self {
        self.trusted = Some(certificates.into());
        self
    }

    /// Shows this certificate to a broker that asks for one (`verify_peer`): PEM, the certificate first and then those
    /// that lead to its root; and its private key, PEM in PKCS#8, PKCS#1 or SEC1.
    ///
    /// The account is still the URI's.
    pub fn identity(mut self, chain: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.identity = Some((chain.into(), key.into()));
        self
    }

    /// For all connections of a transport.
    pub(crate) fn config(&self) -> Result<Arc<ClientConfig>, InvalidTls> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(InvalidTls::new)?
            .with_root_certificates(self.roots()?);
        let config = match &self.identity {
            None => config.with_no_client_auth(),
            Some((chain, key)) => {
                let key = PrivateKeyDer::from_pem_slice(key)
                    .map_err(|_| InvalidTls("the private key can't be read as PEM".to_owned()))?;
                config
                    .with_client_auth_cert(certificates(chain)?, key)
                    .map_err(InvalidTls::new)?
            }
        };
        Ok(Arc::new(config))
    }

    fn roots(&self) -> Result<RootCertStore, InvalidTls> {
        let mut roots = RootCertStore::empty();
        match &self.trusted {
            Some(pem) => {
                for certificate in certificates(pem)? {
                    roots.add(certificate).map_err(InvalidTls::new)?;
                }
            }
            None => {
                let found = rustls_native_certs::load_native_certs();
                let (usable, _) = roots.add_parsable_certificates(found.certs);
                if usable == 0 {
                    return Err(InvalidTls("the system has no certificates to trust".to_owned()));
                }
            }
        }
        Ok(roots)
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, InvalidTls> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(InvalidTls("there is no certificate in the PEM".to_owned())),
    }
}

/// Without the key, and without certificates, whose length says nothing.
impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("trusts_the_system", &self.trusted.is_none())
            .field("shows_a_certificate", &self.identity.is_some())
            .finish()
    }
}

/// Certificates or a key that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("TLS can't be set up like this: {0}")]
pub struct InvalidTls(String);

impl InvalidTls {
    fn new(error: rustls::Error) -> Self {
        Self(error.to_string())
    }
}

/// Whether a failed TLS handshake will fail again: a certificate doesn't become good by waiting, a cut connection does.
pub fn is_refused(error: &io::Error) -> bool {
    error
        .get_ref()
        .is_some_and(|cause| cause.downcast_ref::<rustls::Error>().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_not_be_read_is_refused_without_being_quoted() {
        for tls in [
            Tls::new().trust("canary"),
            Tls::new().trust(""),
            Tls::new().identity("canary", "canary"),
        ] {
            let shown = format!("{:?} {tls:?}", tls.config().map(drop));
            assert!(shown.starts_with("Err(") && !shown.contains("canary"), "{shown}");
        }
    }
}
