use std::{fs, path::PathBuf, sync::Arc, time::SystemTime};

use cognito_lookup::config::{ClientCertificate, Config, TlsSettings};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};
use rustls::{
    ALL_VERSIONS, ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;

pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
}

/// A certificate and its key, both in PEM.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Identity {
    pub(crate) fn der(&self) -> Vec<u8> {
        CertificateDer::from_pem_slice(self.certificate.as_bytes()).unwrap().to_vec()
    }

    /// Accepts TLS connections with this certificate and requests none of the client.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap();
        let config = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.der().into()], key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// A server's certificate for `localhost`.
    pub(crate) fn server(&self) -> Identity {
        self.sign(params("localhost", ExtendedKeyUsagePurpose::ServerAuth))
    }

    /// A server's certificate for another name than `localhost`.
    pub(crate) fn other_server(&self) -> Identity {
        self.sign(params("elsewhere.example.com", ExtendedKeyUsagePurpose::ServerAuth))
    }

    /// A server's certificate for `localhost` that expired in 2021.
    pub(crate) fn expired_server(&self) -> Identity {
        self.server_within(2020, 2021)
    }

    /// A server's certificate for `localhost`, valid from the start of one year to that of another.
    pub(crate) fn server_within(&self, from: i32, until: i32) -> Identity {
        let mut params = params("localhost", ExtendedKeyUsagePurpose::ServerAuth);
        (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(until, 1, 1));
        self.sign(params)
    }

    /// A server's certificate for `localhost` that is valid from this second on.
    pub(crate) fn server_from(&self, from: SystemTime) -> Identity {
        let mut params = params("localhost", ExtendedKeyUsagePurpose::ServerAuth);
        params.not_before = from.into();
        self.sign(params)
    }

    pub(crate) fn client(&self, name: &str) -> Identity {
        self.sign(params(name, ExtendedKeyUsagePurpose::ClientAuth))
    }

    /// A client's certificate with these subject alternative names.
    pub(crate) fn named(&self, names: Vec<SanType>) -> Identity {
        let mut params = params("billing.example.com", ExtendedKeyUsagePurpose::ClientAuth);
        params.distinguished_name.push(DnType::CommonName, "billing.example.com");
        params.subject_alt_names = names;
        self.sign(params)
    }

    /// A client's certificate that expired in 2021.
    pub(crate) fn expired(&self) -> Identity {
        let mut params = params("late", ExtendedKeyUsagePurpose::ClientAuth);
        params.not_after = date_time_ymd(2021, 1, 1);
        self.sign(params)
    }

    fn sign(&self, params: CertificateParams) -> Identity {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Identity { certificate, key: key.serialize_pem() }
    }
}

fn params(name: &str, usage: ExtendedKeyUsagePurpose) -> CertificateParams {
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.extended_key_usages = vec![usage];
    params
}

/// The certificate files of a server, in a folder that is removed on drop.
pub(crate) struct Files(TempDir);

impl Files {
    pub(crate) fn new(identity: &Identity, client_ca: &Authority) -> Self {
        let files = Self(TempDir::new().unwrap());
        files.write(identity);
        files.write_client_ca(&client_ca.pem);
        files
    }

    pub(crate) fn write(&self, Identity { certificate, key }: &Identity) {
        fs::write(self.path("server.pem"), certificate).unwrap();
        fs::write(self.path("server.key"), key).unwrap();
    }

    pub(crate) fn write_client_ca(&self, pem: &str) {
        fs::write(self.path("clients.pem"), pem).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Makes a server use these files.
    pub(crate) fn set(&self, asked: ClientCertificate) -> impl FnOnce(&mut Config) {
        let name = |name| Some(self.path(name).to_str().unwrap().to_owned());
        let tls = TlsSettings {
            certificate: name("server.pem"),
            key: name("server.key"),
            client_ca: name("clients.pem").filter(|_| asked != ClientCertificate::Off),
            client_certificate: asked,
            ..TlsSettings::default()
        };
        move |config| config.tls = tls
    }
}

/// The TLS configuration of a client that trusts `servers` and may present a certificate.
pub(crate) fn client_config(servers: &[&Authority], identity: Option<&Identity>) -> ClientConfig {
    client_config_of(ALL_VERSIONS, servers, identity)
}

pub(crate) fn client_config_of(
    versions: &[&'static SupportedProtocolVersion],
    servers: &[&Authority],
    identity: Option<&Identity>,
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for server in servers {
        roots.add(CertificateDer::from_pem_slice(server.pem.as_bytes()).unwrap()).unwrap();
    }
    let config = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match identity {
        None => config.with_no_client_auth(),
        Some(identity) => {
            let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
            config.with_client_auth_cert(vec![identity.der().into()], key).unwrap()
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}
