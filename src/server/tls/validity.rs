//! From when until when a certificate is good.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

// Both ends are from 1970 to 9999, as it can write them.
use humantime::format_rfc3339_seconds as date;
use rustls::pki_types::CertificateDer;
use x509_cert::{Certificate, der::Decode as _};

/// The whole seconds from which and until which a certificate is good, both among them (RFC 5280, section 4.1.2.5).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Validity {
    from: Duration,
    until: Duration,
}

impl Validity {
    /// Reads that of a certificate in DER; none where that cannot be read.
    pub(super) fn read(der: &CertificateDer<'_>) -> Option<Self> {
        let certificate = Certificate::from_der(der).ok()?;
        let validity = certificate.tbs_certificate().validity();
        Some(Self {
            from: validity.not_before.to_unix_duration(),
            until: validity.not_after.to_unix_duration(),
        })
    }

    /// Returns the last second that it is good.
    pub(super) fn until(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + self.until
    }

    /// Fails where a certificate is not good at `now`.
    pub(super) fn check(&self, now: SystemTime) -> Result<(), NotValidNow> {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        if now < self.from {
            Err(NotValidNow::NotYet(SystemTime::UNIX_EPOCH + self.from))
        } else if now.as_secs() > self.until.as_secs() {
            Err(NotValidNow::Expired(self.until()))
        } else {
            Ok(())
        }
    }
}

/// A certificate is not good now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum NotValidNow {
    /// Not before this.
    NotYet(SystemTime),
    /// Not after this.
    Expired(SystemTime),
}

impl fmt::Display for NotValidNow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotYet(from) => write!(f, "is not good before {} by this machine's clock", date(*from)),
            Self::Expired(until) => write!(f, "is not good after {} by this machine's clock", date(*until)),
        }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    #[test]
    fn both_ends_are_good() {
        let (from, until) = (at(1_735_689_600), at(1_767_225_600));
        let validity = validity(2025, 2026);
        assert_eq!(validity.until(), until);
        let moment = Duration::from_nanos(1);
        for (now, expected) in [
            (from - moment, Err("is not good before 2025-01-01T00:00:00Z by this machine's clock")),
            (from, Ok(())),
            (until + Duration::from_millis(999), Ok(())),
            (
                until + Duration::from_secs(1),
                Err("is not good after 2026-01-01T00:00:00Z by this machine's clock"),
            ),
        ] {
            assert_eq!(
                validity.check(now).map_err(|bad| bad.to_string()),
                expected.map_err(ToOwned::to_owned)
            );
        }
    }

    #[test]
    fn the_ends_of_time_can_be_told() {
        let long = validity(1970, 9999);
        assert_eq!((long.check(SystemTime::UNIX_EPOCH), long.until()), (Ok(()), at(253_370_764_800)));
        let late = long.check(at(253_370_764_801)).unwrap_err();
        assert_eq!(late.to_string(), "is not good after 9999-01-01T00:00:00Z by this machine's clock");
    }

    #[test]
    fn what_is_no_certificate_has_none() {
        assert_eq!(Validity::read(&CertificateDer::from(vec![0x30, 0x03, 1, 2, 3])), None);
    }

    fn validity(from: i32, until: i32) -> Validity {
        let mut params = CertificateParams::default();
        (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(until, 1, 1));
        Validity::read(params.self_signed(&KeyPair::generate().unwrap()).unwrap().der()).unwrap()
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }
}
