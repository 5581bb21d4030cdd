//! Calls `GetUser` once with the defaults of tonic, as the JSON in the first argument says
//! (tests/interop/matrix.py).
#![allow(clippy::print_stdout, reason = "its output is the result")]

use std::{env, error::Error, fs, time::Duration};

use cognito_lookup_client::{GetUserRequest, user_service_client::UserServiceClient};
use serde::Deserialize;
use tonic::{
    codec::CompressionEncoding,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

#[derive(Deserialize)]
struct Call {
    target: String,
    ca: String,
    certificate: String,
    key: String,
    sub: String,
    gzip: bool,
}

impl Call {
    async fn connect(&self) -> Result<Channel, Box<dyn Error>> {
        let mut endpoint = Endpoint::from_shared(self.target.clone())?.timeout(Duration::from_secs(20));
        if !self.ca.is_empty() {
            let ca = Certificate::from_pem(fs::read(&self.ca)?);
            let mut tls = ClientTlsConfig::new().ca_certificate(ca);
            if !self.certificate.is_empty() {
                tls = tls.identity(Identity::from_pem(fs::read(&self.certificate)?, fs::read(&self.key)?));
            }
            endpoint = endpoint.tls_config(tls)?;
        }
        Ok(endpoint.connect().await?)
    }

    async fn run(self) -> Result<String, Box<dyn Error>> {
        let mut users = UserServiceClient::new(self.connect().await?);
        if self.gzip {
            users = users.send_compressed(CompressionEncoding::Gzip);
        }
        let request = GetUserRequest { sub: self.sub, ..GetUserRequest::default() };
        let user = users.get_user(request).await?.into_inner().user.unwrap_or_default();
        Ok(user.attributes.get("name").cloned().unwrap_or_default())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let call: Call = serde_json::from_str(&env::args().nth(1).unwrap_or_default())?;
    match call.run().await {
        Ok(name) => println!("OK {name}"),
        Err(error) => println!("{error:?}"),
    }
    Ok(())
}
