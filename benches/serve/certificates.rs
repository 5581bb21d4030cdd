//! Certificates of one authority, for both servers and their clients.

use std::{fs, path::Path, sync::Arc};

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tempfile::TempDir;

use crate::settings::CALLER;

/// The files that the servers read, and the TLS configurations of two clients.
pub(crate) struct Certificates {
    folder: TempDir,
    client: Arc<ClientConfig>,
    stranger: Arc<ClientConfig>,
}

impl Certificates {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (pem, issuer) = authority();
        let [server, key] = signed(&issuer, "localhost", ExtendedKeyUsagePurpose::ServerAuth);
        for (name, pem) in [("server.pem", &server), ("server.key", &key), ("authority.pem", &pem)] {
            fs::write(folder.path().join(name), pem).unwrap();
        }
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
        let identity = signed(&issuer, CALLER, ExtendedKeyUsagePurpose::ClientAuth);
        let [client, stranger] =
            [Some(identity), None].map(|identity| Arc::new(handshake(roots.clone(), identity)));
        Self { folder, client, stranger }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The configuration of a client that presents a certificate.
    pub(crate) fn client(&self) -> &Arc<ClientConfig> {
        &self.client
    }

    /// The configuration of a client that has no certificate.
    pub(crate) fn stranger(&self) -> &Arc<ClientConfig> {
        &self.stranger
    }
}

fn authority() -> (String, Issuer<'static, KeyPair>) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let key = KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap().pem(), Issuer::new(params, key))
}

/// Returns a certificate and its key, both in PEM.
fn signed(issuer: &Issuer<'_, KeyPair>, name: &str, usage: ExtendedKeyUsagePurpose) -> [String; 2] {
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.extended_key_usages = vec![usage];
    let key = KeyPair::generate().unwrap();
    [params.signed_by(&key, issuer).unwrap().pem(), key.serialize_pem()]
}

fn handshake(roots: RootCertStore, identity: Option<[String; 2]>) -> ClientConfig {
    let config = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match identity {
        None => config.with_no_client_auth(),
        Some([certificate, key]) => {
            let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
            config.with_client_auth_cert(vec![certificate], key).unwrap()
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}
