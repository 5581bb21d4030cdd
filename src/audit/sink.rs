//! Where records are written: standard output, or a file that can be rotated.

use std::{
    fmt,
    fs::{File, Metadata, OpenOptions},
    io::{self, Seek as _},
    os::{
        fd::AsFd as _,
        unix::fs::{FileTypeExt as _, OpenOptionsExt as _, PermissionsExt as _},
    },
    path::{Path, PathBuf},
};

use tracing::warn;

/// Where records are written.
#[derive(Clone, Debug)]
pub(super) enum Sink {
    /// Standard output.
    Stdout,
    /// Appends to this file. A new file is readable by its owner only.
    File(PathBuf),
}

impl Sink {
    /// Opens the sink, without the buffer of the standard library. Warns if others can read the
    /// file: one that exists keeps its mode.
    pub(super) fn open(&self) -> io::Result<File> {
        let Self::File(path) = self else { return Ok(io::stdout().as_fd().try_clone_to_owned()?.into()) };
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        let is_readable = |found: Metadata| found.is_file() && found.permissions().mode() & 0o044 != 0;
        if file.metadata().is_ok_and(is_readable) {
            warn!("users other than its owner can read the audit file");
        }
        Ok(file)
    }
}

/// Removes the last bytes of a file, which this process has appended as a part of a line. Fails if
/// anyone has written to it since, and for anything but a file.
pub(super) fn take_back(mut file: &File, bytes: usize) -> io::Result<()> {
    let (end, found) = (file.stream_position()?, file.metadata()?);
    let start = u64::try_from(bytes).ok().and_then(|bytes| end.checked_sub(bytes));
    match start.filter(|_| found.is_file() && found.len() == end) {
        Some(start) => file.set_len(start),
        None => Err(io::ErrorKind::Unsupported.into()),
    }
}

impl fmt::Display for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("standard output"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

/// Returns what is wrong with the path of a sink, without opening it.
pub(super) fn problem(path: &Path) -> Option<&'static str> {
    match path.metadata().map(|found| found.file_type()) {
        Ok(kind) if kind.is_dir() => Some("is a directory; expected a file"),
        // Opening a pipe blocks until it has a reader.
        Ok(kind) if kind.is_fifo() || kind.is_socket() => Some("is a pipe or a socket; expected a file"),
        Ok(_) => None,
        Err(_) => {
            let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
            (!directory.is_none_or(Path::is_dir)).then_some("is in a directory that does not exist")
        }
    }
}
