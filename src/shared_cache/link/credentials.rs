//! The credentials of one connection.

use std::path::Path;

use redis::cmd;
use zeroize::Zeroizing;

use super::{
    super::{
        fault::{Fault, FaultKind},
        password,
    },
    connection::Connection,
};

/// A user and its password or token.
pub(super) struct Credentials {
    /// None for the default user.
    pub(super) user: Option<String>,
    pub(super) secret: Zeroizing<String>,
}

impl Credentials {
    /// Reads the password of a user.
    pub(super) fn read(user: Option<&str>, password_file: &Path) -> Result<Self, Fault> {
        let secret = password::read(password_file)
            .map_err(|problem| Fault::new(FaultKind::Settings, format_args!("{PASSWORD_FILE}: {problem}")))?;
        Ok(Self { user: user.map(ToOwned::to_owned), secret })
    }

    /// Authenticates a connection.
    pub(super) async fn present(&self, connection: &Connection) -> Result<(), Fault> {
        let mut command = cmd("AUTH");
        if let Some(user) = &self.user {
            command.arg(user);
        }
        command.arg(self.secret.as_str());
        match connection.send(&command).await {
            Ok(_) => Ok(()),
            // Any other error reply is about the credentials too, for example that the server has none.
            Err(fault) if fault.kind == FaultKind::Script => {
                Err(Fault::new(FaultKind::Credentials, format_args!("{REFUSED}: {fault}")))
            }
            Err(fault) => Err(fault),
        }
    }
}

const PASSWORD_FILE: &str = "shared_cache.password_file";
const REFUSED: &str =
    "the server does not accept the credentials of shared_cache.password_file or shared_cache.iam";
