use std::{fmt, time::Duration};

use crate::replicas::fleet::Fleet;

/// The memory and the open files of each replica over time.
#[derive(Default)]
pub(super) struct Footprint(Vec<Vec<Sample>>);

#[derive(Clone, Copy)]
struct Sample {
    minutes: f64,
    resident: f64,
    files: f64,
}

impl Footprint {
    pub(super) fn sample(&mut self, fleet: &Fleet, after: Duration) {
        self.0.resize(fleet.replicas.len(), Vec::new());
        for (samples, replica) in self.0.iter_mut().zip(&fleet.replicas) {
            samples.push(Sample {
                minutes: after.as_secs_f64() / 60.0,
                resident: replica.process.resident() as f64 / 1024.0,
                files: replica.process.files() as f64,
            });
        }
    }

    /// Panics if the memory of a replica grows by more than 1 MiB a minute, or its open files by more than
    /// one, once it has run for a while. A short run says nothing.
    pub(super) fn assert_flat(&self) {
        for samples in self.0.iter().map(|samples| settled(samples)) {
            let is_long = samples.last().is_some_and(|last| last.minutes >= LONG_MINUTES);
            let (resident, files) = (slope(samples, |one| one.resident), slope(samples, |one| one.files));
            assert!(
                !is_long || (resident < 1024.0 && files < 1.0),
                "{resident} KiB and {files} files a minute"
            );
        }
    }
}

/// The second half: caches fill, and the allocator warms up.
fn settled(samples: &[Sample]) -> &[Sample] {
    &samples[samples.len() / 2..]
}

/// Returns the slope of the line of least squares, a minute.
fn slope(samples: &[Sample], value: impl Fn(&Sample) -> f64) -> f64 {
    let count = samples.len() as f64;
    let mean = |of: &dyn Fn(&Sample) -> f64| samples.iter().map(of).sum::<f64>() / count;
    let (time, level) = (mean(&|one| one.minutes), mean(&|one| value(one)));
    let (over, under) = samples.iter().fold((0.0, 0.0), |(over, under), one| {
        let away = one.minutes - time;
        (over + away * (value(one) - level), under + away * away)
    });
    if under == 0.0 { 0.0 } else { over / under }
}

impl fmt::Display for Footprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, samples) in self.0.iter().enumerate() {
            let (Some(first), Some(last)) = (samples.first(), samples.last()) else { continue };
            let half = settled(samples);
            writeln!(
                f,
                "replica {n}: {:.0} to {:.0} KiB resident, {:+.1} KiB a minute in the second half; \
                 {} to {} open files, {:+.2} a minute",
                first.resident,
                last.resident,
                slope(half, |one| one.resident),
                first.files,
                last.files,
                slope(half, |one| one.files),
            )?;
        }
        Ok(())
    }
}

const LONG_MINUTES: f64 = 10.0;

#[test]
fn a_leak_is_seen() {
    let samples = |leak: f64| {
        let sample =
            |n: u32| Sample { minutes: f64::from(n), resident: 5e4 + leak * f64::from(n), files: 30.0 };
        Footprint(vec![(0..20).map(sample).collect()])
    };
    samples(100.0).assert_flat();
    assert!(std::panic::catch_unwind(|| samples(2_000.0).assert_flat()).is_err());
}
