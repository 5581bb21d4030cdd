//! Where records end up: standard output, or a file that can be rotated.

use std::{
    fmt,
    fs::{File, Metadata, OpenOptions},
    io,
    os::{
        fd::AsFd as _,
        unix::fs::{FileTypeExt as _, OpenOptionsExt as _, PermissionsExt as _},
    },
    path::{Path, PathBuf},
};

/// Where records are to go.
#[derive(Clone, Debug)]
pub(super) enum Sink {
    /// To standard output.
    Stdout,
    /// To the end of this file, which is made, for its owner alone, where it is not there.
    File(PathBuf),
}

impl Sink {
    /// Opens the sink, past the buffer that the standard library keeps for standard output.
    pub(super) fn open(&self) -> io::Result<File> {
        match self {
            Self::Stdout => Ok(io::stdout().as_fd().try_clone_to_owned()?.into()),
            Self::File(path) => OpenOptions::new().append(true).create(true).mode(0o600).open(path),
        }
    }

    /// Returns true if and only if others than its owner may read this file, which was opened in this sink: one that was
    /// there keeps its mode.
    pub(super) fn is_readable_by_others(&self, file: &File) -> bool {
        let others = |found: Metadata| found.is_file() && found.permissions().mode() & 0o044 != 0;
        matches!(self, Self::File(_)) && file.metadata().is_ok_and(others)
    }

    /// Returns what is wrong with the sink, without touching it.
    pub(super) fn problem(&self) -> Option<&'static str> {
        let Self::File(path) = self else { return None };
        match path.metadata().map(|found| found.file_type()) {
            Ok(kind) if kind.is_dir() => Some("is a folder"),
            // Who opens a pipe waits for its reader.
            Ok(kind) if kind.is_fifo() || kind.is_socket() => Some("is no file"),
            Ok(_) => None,
            Err(_) => {
                let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
                (!folder.is_none_or(Path::is_dir)).then_some("is in no folder that is there")
            }
        }
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
