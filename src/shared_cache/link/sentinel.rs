//! Sentinels: which server is the primary at present.

use redis::{Value, cmd};

use super::{
    super::{
        fault::{Fault, FaultKind},
        target::Address,
    },
    connection::Connection,
    credentials::Credentials,
    server::Dialer,
};

/// Asks the sentinels for the address of a primary, in random order, because one of them may be out
/// of date. Returns the first answer.
pub(super) async fn primary(
    dialer: impl Fn() -> Dialer,
    sentinels: &[Address],
    name: &str,
    credentials: Option<&Credentials>,
) -> Result<Address, Fault> {
    let mut order: Vec<_> = sentinels.iter().collect();
    fastrand::shuffle(&mut order);
    let mut last = Fault::new(FaultKind::Settings, "shared_cache.urls is empty");
    for sentinel in order {
        match ask(&dialer(), sentinel, name, credentials).await {
            Ok(address) => return Ok(address),
            Err(fault) => last = fault,
        }
    }
    Err(last)
}

async fn ask(
    dialer: &Dialer,
    sentinel: &Address,
    name: &str,
    credentials: Option<&Credentials>,
) -> Result<Address, Fault> {
    let connection = dialer.connect(sentinel, None).await?;
    let answer = match dialer.first(address_of(&connection, name)).await {
        // Most sentinels have no password, even where the servers have one.
        Err(fault) if fault.kind == FaultKind::Credentials && credentials.is_some() => {
            let connection = dialer.connect(sentinel, credentials).await?;
            dialer.first(address_of(&connection, name)).await
        }
        answer => answer,
    };
    answer.map_err(|fault| Fault { cause: format!("sentinel {sentinel}: {fault}"), ..fault })
}

async fn address_of(connection: &Connection, name: &str) -> Result<Address, Fault> {
    let answer = connection.send(cmd("SENTINEL").arg("get-master-addr-by-name").arg(name)).await?;
    let unknown = || {
        Fault::new(FaultKind::Settings, "it knows no primary of this name: check shared_cache.sentinel_name")
    };
    let Value::Array(parts) = answer else { return Err(unknown()) };
    let mut parts = parts.into_iter().filter_map(|part| match part {
        Value::BulkString(bytes) => String::from_utf8(bytes).ok(),
        _ => None,
    });
    let host = parts.next().ok_or_else(unknown)?;
    let port = parts.next().and_then(|port| port.parse().ok()).ok_or_else(unknown)?;
    Ok(Address::Tcp { host, port })
}
