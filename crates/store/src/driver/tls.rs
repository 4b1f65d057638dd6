//! Encryption of connections to servers: which certificates are believed.

use super::target::{Target, Tls};
use crate::error::StoreError;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::sync::Arc;

/// How a client greets the target; none when the connection is not encrypted.
pub(super) fn client_config(target: &Target) -> Result<Option<ClientConfig>, StoreError> {
    let provider = Arc::new(ring::default_provider());
    let refused = |error: &dyn std::fmt::Display| StoreError::Other(format!("TLS: {error}"));
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| refused(&error))?;
    match target.tls {
        Tls::Off => Ok(None),
        Tls::Required => {
            let anybody = Arc::new(Anybody(provider.signature_verification_algorithms));
            Ok(Some(builder.dangerous().with_custom_certificate_verifier(anybody).with_no_client_auth()))
        }
        Tls::Verified => Ok(Some(builder.with_root_certificates(roots(target)?).with_no_client_auth())),
    }
}

/// Makes the crates below, which ask for it, use this one.
pub(super) fn install_provider() {
    if CryptoProvider::get_default().is_none() {
        // Somebody else may have been quicker; then theirs stays.
        drop(ring::default_provider().install_default());
    }
}

fn roots(target: &Target) -> Result<RootCertStore, StoreError> {
    let mut roots = RootCertStore::empty();
    let found: Vec<CertificateDer<'static>> = match &target.root_certificates {
        Some(path) => CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect)
            .map_err(|error| StoreError::Other(format!("sslrootcert {}: {error}", path.display())))?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    roots.add_parsable_certificates(found);
    if roots.is_empty() {
        return Err(StoreError::Other(
            "TLS: there is no certificate to trust; name a file as sslrootcert".into(),
        ));
    }
    Ok(roots)
}

/// Believes any certificate: what `sslmode=require` means everywhere. It keeps listeners out, not impostors.
#[derive(Debug)]
struct Anybody(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
