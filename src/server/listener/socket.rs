//! The file of a Unix socket: created with its final mode, and removed with the server.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::{
        fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
        net::UnixStream,
    },
    path::{Path, PathBuf},
    process,
};

use tokio::net::UnixListener;

/// The file of a socket that this process listens on. Dropping it removes the file, unless another
/// process has replaced it.
#[derive(Debug)]
pub(in crate::server) struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl SocketFile {
    /// Listens on `path` with the permissions `mode`. Replaces a socket that no process listens on.
    /// Fails without touching any other file at that path.
    pub(super) fn bind(path: &Path, mode: u32) -> io::Result<(UnixListener, Self)> {
        ensure_free_or_stale(path)?;
        // The socket is created under a temporary name and renamed. So `path` never has another
        // mode, and a stale socket is replaced without a gap.
        let temporary = path.with_added_extension(process::id().to_string());
        drop(fs::remove_file(&temporary));
        let listener = UnixListener::bind(&temporary)?;
        let moved = fs::set_permissions(&temporary, Permissions::from_mode(mode))
            .and_then(|()| fs::metadata(&temporary))
            .and_then(|metadata| fs::rename(&temporary, path).map(|()| metadata.ino()));
        if moved.is_err() {
            drop(fs::remove_file(&temporary));
        }
        Ok((listener, Self { path: path.to_owned(), inode: moved? }))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|metadata| metadata.ino() == self.inode) {
            // If this fails, the next server replaces the stale socket.
            drop(fs::remove_file(&self.path));
        }
    }
}

fn ensure_free_or_stale(path: &Path) -> io::Result<()> {
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        metadata => metadata?,
    };
    if !metadata.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "the file exists and is not a socket"));
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens on it")),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_has_its_mode_and_is_removed_with_its_server() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("grpc.sock");
        let (listener, file) = SocketFile::bind(&path, 0o640).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
        assert_eq!(names(folder.path()), ["grpc.sock"]);
        UnixStream::connect(&path).unwrap();
        drop((listener, file));
        assert!(names(folder.path()).is_empty());
    }

    #[tokio::test]
    async fn only_a_stale_socket_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("grpc.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let (listener, file) = SocketFile::bind(&path, 0o600).unwrap();
        let error = SocketFile::bind(&path, 0o600).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "another process listens");
        UnixStream::connect(&path).unwrap();
        drop((listener, file));
        fs::write(&path, "precious").unwrap();
        let error = SocketFile::bind(&path, 0o600).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists, "not a socket");
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        assert_eq!(names(folder.path()), ["grpc.sock"]);
    }

    #[tokio::test]
    async fn the_socket_of_a_successor_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("grpc.sock");
        let (listener, file) = SocketFile::bind(&path, 0o600).unwrap();
        drop(listener);
        let (_successor, _file) = SocketFile::bind(&path, 0o600).unwrap();
        drop(file);
        UnixStream::connect(&path).unwrap();
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}
