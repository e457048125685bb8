//! Configurations of rustls 0.21.
use std::sync::Arc;
use std::time::SystemTime;

use rustls::client::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::{Certificate, ClientConfig, DigitallySignedStruct, Error, PrivateKey, ServerConfig, ServerName};

pub fn server(key: Vec<u8>, certificate: Vec<u8>) -> Arc<ServerConfig> {
    let builder = ServerConfig::builder().with_safe_defaults().with_no_client_auth();
    Arc::new(builder.with_single_cert(vec![Certificate(certificate)], PrivateKey(key)).unwrap())
}

pub fn client() -> Arc<ClientConfig> {
    let builder = ClientConfig::builder().with_safe_defaults();
    Arc::new(builder.with_custom_certificate_verifier(Arc::new(Anybody)).with_no_client_auth())
}

struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &Certificate,
        _: &[Certificate],
        _: &ServerName,
        _: &mut dyn Iterator<Item = &[u8]>,
        _: &[u8],
        _: SystemTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &Certificate,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &Certificate,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
}
