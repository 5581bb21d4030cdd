//! Fits the sizes that are not set into the memory limit of the container or the systemd unit.

use std::{collections::BTreeMap, fs, num::NonZero, path::Path, thread};

use bytesize::MIB;

use super::{Config, ValueSource, bounded};

impl Config {
    /// Lowers every size that is not set to its part of the memory limit, if it is less than the
    /// default, and the number of serving threads likewise. What is set stays.
    pub(super) fn fitted(mut self, limit: Option<u64>) -> Self {
        self.memory_limit = limit;
        let Some(limit) = limit else { return self };
        let fitting = usize::try_from(limit / 12 / self.thread_bytes()).unwrap_or(usize::MAX).max(1);
        if self.workers == 0 && fitting < self.threads() {
            self.workers = fitting;
            self.value_sources.insert("workers".to_owned(), ValueSource::MemoryLimit(limit));
        }
        let parts = [
            ("cache.max_token_bytes", &mut self.cache.max_token_bytes, limit / 8),
            ("cache.max_absent_bytes", &mut self.cache.max_absent_bytes, limit / 64),
            ("limits.memory", &mut self.limits.memory, (limit / 16 * 3).max(LEAST_OF_CONNECTIONS)),
        ];
        for (key, size, part) in parts {
            lower(&mut self.value_sources, limit, (key, size), part);
        }
        // Users get what is left.
        let rest = self.most_memory() - self.cache.max_bytes;
        let size = &mut self.cache.max_bytes;
        lower(&mut self.value_sources, limit, ("cache.max_bytes", size), limit.saturating_sub(rest));
        self
    }

    /// Returns the number of serving threads.
    pub fn threads(&self) -> usize {
        match self.workers {
            // Heeds the CPU limit of a container.
            0 => thread::available_parallelism().map_or(1, NonZero::get),
            count => count,
        }
    }

    /// Returns the memory that the process may take at most, in bytes: full caches, connections, threads,
    /// audit buffers, and the log of changes if a caller watches.
    pub fn most_memory(&self) -> u64 {
        let threads = u64::try_from(self.threads()).unwrap_or(u64::MAX);
        let cache = &self.cache;
        let sizes = [
            BASE_BYTES,
            cache.max_bytes,
            cache.max_token_bytes,
            cache.max_absent_bytes,
            self.revocation.max_bytes,
            self.limits.memory,
            if self.has_watchers() { CHANGE_LOG_BYTES } else { 0 },
            threads.saturating_mul(self.thread_bytes()),
        ];
        sizes.into_iter().fold(0, u64::saturating_add)
    }

    /// Returns what does not fit into the memory limit, if anything does not.
    pub fn memory_excess(&self) -> Option<String> {
        let (limit, most) = (self.memory_limit?, self.most_memory());
        let [limit_text, most_text] = [limit, most / MIB * MIB].map(bounded::format);
        (most > limit).then(|| {
            format!(
                "the caches, revocations, changes for watchers, connections (limits.memory), and {} serving threads \
                 with their audit buffers may take {most_text}, more than the memory limit of {limit_text}: lower \
                 cache.max_bytes or workers, or raise the limit",
                self.threads()
            )
        })
    }

    /// Returns what one serving thread may keep, in bytes.
    fn thread_bytes(&self) -> u64 {
        THREAD_BYTES + self.audit.max_bytes
    }
}

/// Lowers a size that is not set to `most` bytes, in whole MiB, as a person would write it.
fn lower(
    value_sources: &mut BTreeMap<String, ValueSource>,
    limit: u64,
    (key, size): (&str, &mut u64),
    most: u64,
) {
    let most = (most / MIB).max(1) * MIB;
    if most < *size && !value_sources.contains_key(key) {
        *size = most;
        value_sources.insert(key.to_owned(), ValueSource::MemoryLimit(limit));
    }
}

/// Returns the memory limit of this process's control group, in bytes: the least of its own and those
/// above it. None if there is none.
pub(super) fn of_process() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    lowest(&groups, Path::new("/sys/fs/cgroup"))
}

/// Reads the limits of these groups (cgroups(7)) in the file systems at `root`.
fn lowest(groups: &str, root: &Path) -> Option<u64> {
    let lines = groups.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        match controllers {
            "" => Some((root.to_owned(), "memory.max", path)),
            _ if controllers.split(',').any(|name| name == "memory") => {
                Some((root.join("memory"), "memory.limit_in_bytes", path))
            }
            _ => None,
        }
    });
    let limits = lines.flat_map(|(root, file, path)| {
        let groups = Path::new(path.trim_start_matches('/')).ancestors();
        groups.filter_map(move |group| {
            fs::read_to_string(root.join(group).join(file)).ok()?.trim().parse().ok()
        })
    });
    // The first version writes "no limit" as a number near that of a page less than 2^63.
    limits.filter(|limit: &u64| *limit < UNLIMITED).min()
}

// What the program takes without calls, on one thread.
const BASE_BYTES: u64 = 20 * MIB;
// What a serving thread keeps for its next calls (`.cargo/config.toml`).
const THREAD_BYTES: u64 = 17 * MIB;
/// The most that the log of changes takes, in bytes.
pub const CHANGE_LOG_BYTES: u64 = 32 * MIB;
// The least that `limits.memory` may be.
const LEAST_OF_CONNECTIONS: u64 = 8 * MIB;
const UNLIMITED: u64 = 1 << 60;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::CallerSettings;

    #[test]
    fn sizes_that_are_not_set_fit_into_the_limit() {
        let default = Config::default();
        for (mib, cache, memory, workers) in [(4096, 256, 96, 0), (512, 256, 96, 2), (256, 115, 48, 1)] {
            let config = Config { workers: if mib == 4096 { 2 } else { 0 }, ..Config::default() };
            let fitted = config.fitted(Some(mib * MIB));
            assert_eq!((fitted.cache.max_bytes, fitted.limits.memory), (cache * MIB, memory * MIB), "{mib}");
            assert!(mib == 4096 || fitted.threads() <= workers, "{mib}: {}", fitted.threads());
            assert_eq!(fitted.memory_excess(), None, "{mib}");
        }
        let unlimited = Config::default().fitted(None);
        assert_eq!(unlimited.cache.max_bytes, default.cache.max_bytes);
        assert_eq!(unlimited.memory_excess(), None);
    }

    #[test]
    fn the_log_of_changes_has_its_part_if_a_caller_watches() {
        let callers = vec![CallerSettings { watch: true, ..CallerSettings::default() }];
        let fitted = |config: Config| Config { workers: 1, ..config }.fitted(Some(256 * MIB));
        let (without, with) = (fitted(Config::default()), fitted(Config { callers, ..Config::default() }));
        assert_eq!(with.cache.max_bytes, without.cache.max_bytes - CHANGE_LOG_BYTES);
        assert_eq!(with.memory_excess(), None);
    }

    #[test]
    fn what_is_set_stays_and_is_named_if_it_does_not_fit() {
        let mut config = Config::default();
        config.cache.max_bytes = 1024 * MIB;
        config.value_sources.insert("cache.max_bytes".to_owned(), ValueSource::Flag("--x".to_owned()));
        let fitted = config.fitted(Some(512 * MIB));
        assert_eq!(fitted.cache.max_bytes, 1024 * MIB);
        let excess = fitted.memory_excess().unwrap();
        assert!(excess.contains("more than the memory limit of 512MiB"), "{excess}");
    }

    #[test]
    fn the_lowest_limit_of_the_groups_counts() {
        let root = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| {
            let file = root.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        };
        let second = "0::/system.slice/lookup.service\n";
        assert_eq!(lowest(second, root.path()), None, "no such files");
        write("system.slice/lookup.service/memory.max", "max\n");
        write("system.slice/memory.max", "1073741824\n");
        assert_eq!(lowest(second, root.path()), Some(1 << 30));
        write("system.slice/lookup.service/memory.max", "536870912\n");
        assert_eq!(lowest(second, root.path()), Some(1 << 29));
        let first = "9:cpu,cpuacct:/\n8:memory:/docker/x\n";
        write("memory/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(lowest(first, root.path()), None);
        write("memory/docker/x/memory.limit_in_bytes", "268435456\n");
        assert_eq!(lowest(first, root.path()), Some(1 << 28));
    }
}
