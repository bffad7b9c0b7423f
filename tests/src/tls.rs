//! The client's side of TLS, for a certificate that no authority has signed.

use std::sync::Arc;

use futures_rustls::TlsConnector;
use futures_rustls::pki_types::CertificateDer;
use futures_rustls::rustls::{ClientConfig, RootCertStore};

/// Connects to whoever has this certificate, and to nobody else.
///
/// # Panics
///
/// If it is no certificate.
pub fn connector(trusted: CertificateDer<'_>) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.into_owned()).expect("a certificate");
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}
