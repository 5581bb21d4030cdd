//! When a certificate is valid.

use std::time::{Duration, SystemTime};

// Cannot fail: certificates express the years 1970 to 9999.
use humantime::format_rfc3339_seconds as date;
use rustls::pki_types::CertificateDer;
use thiserror::Error;
use x509_cert::{Certificate, der::Decode as _};

/// A certificate is not valid now.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub(super) enum NotValid {
    #[error("does not begin with an X.509 certificate (RFC 5280)")]
    Malformed,
    #[error("is not valid before {} by this machine's clock", date(*.0))]
    NotYet(SystemTime),
    #[error("is not valid after {} by this machine's clock", date(*.0))]
    Expired(SystemTime),
}

/// Returns the last second in which a certificate is valid (RFC 5280, section 4.1.2.5). Fails if it
/// is not valid at `now`.
pub(super) fn expiry(der: &CertificateDer<'_>, now: SystemTime) -> Result<SystemTime, NotValid> {
    let [not_before, not_after] = bounds(der)?;
    if now < not_before {
        Err(NotValid::NotYet(not_before))
    } else if now >= not_after + Duration::from_secs(1) {
        Err(NotValid::Expired(not_after))
    } else {
        Ok(not_after)
    }
}

/// Returns the last second in which a certificate is valid, whether it is valid now or not.
pub(super) fn end(der: &CertificateDer<'_>) -> Result<SystemTime, NotValid> {
    bounds(der).map(|[_, not_after]| not_after)
}

fn bounds(der: &CertificateDer<'_>) -> Result<[SystemTime; 2], NotValid> {
    let certificate = Certificate::from_der(der).map_err(|_| NotValid::Malformed)?;
    let validity = certificate.tbs_certificate().validity();
    let bounds = [validity.not_before, validity.not_after];
    Ok(bounds.map(|time| SystemTime::UNIX_EPOCH + time.to_unix_duration()))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    #[test]
    fn a_certificate_is_valid_from_its_first_to_its_last_second() {
        let (from, until) = (at(1_735_689_600), at(1_767_225_600));
        let certificate = certificate(2025, 2026);
        let moment = Duration::from_nanos(1);
        for (now, expected) in [
            (from - moment, Err("is not valid before 2025-01-01T00:00:00Z by this machine's clock")),
            (from, Ok(until)),
            (until + Duration::from_millis(999), Ok(until)),
            (
                until + Duration::from_secs(1),
                Err("is not valid after 2026-01-01T00:00:00Z by this machine's clock"),
            ),
        ] {
            let expiry = expiry(&certificate, now).map_err(|error| error.to_string());
            assert_eq!(expiry, expected.map_err(ToOwned::to_owned));
        }
    }

    #[test]
    fn the_first_and_last_representable_times_are_formatted() {
        let long = certificate(1970, 9999);
        assert_eq!(expiry(&long, SystemTime::UNIX_EPOCH), Ok(at(253_370_764_800)));
        let expired = expiry(&long, at(253_370_764_801)).unwrap_err();
        assert_eq!(expired.to_string(), "is not valid after 9999-01-01T00:00:00Z by this machine's clock");
    }

    #[test]
    fn invalid_der_has_no_expiry() {
        let certificate = CertificateDer::from(vec![0x30, 0x03, 1, 2, 3]);
        assert_eq!(expiry(&certificate, SystemTime::now()), Err(NotValid::Malformed));
    }

    fn certificate(from: i32, until: i32) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(until, 1, 1));
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }
}
