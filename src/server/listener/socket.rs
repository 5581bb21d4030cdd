//! The file of a Unix socket: there with its mode or not at all, and gone with the server.

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

/// The file of a socket that this process listens on. Dropping it removes the file, if it still is this one.
#[derive(Debug)]
pub(in crate::server) struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl SocketFile {
    /// Listens on `path`, for those whom `mode` lets in. A socket that nobody listens on any more is replaced; anything
    /// else that is there is left alone, and the failure says what it is.
    pub(super) fn bind(path: &Path, mode: u32) -> io::Result<(UnixListener, Self)> {
        ensure_free_or_stale(path)?;
        // Made temporary and moved into place: nobody finds it with another mode, and there is no moment without a socket.
        let temporary = path.with_added_extension(process::id().to_string());
        drop(fs::remove_file(&temporary));
        let listener = UnixListener::bind(&temporary)?;
        let moved = fs::set_permissions(&temporary, Permissions::from_mode(mode))
            .and_then(|()| fs::metadata(&temporary))
            .and_then(|made| fs::rename(&temporary, path).map(|()| made.ino()));
        match moved {
            Ok(inode) => Ok((listener, Self { path: path.to_owned(), inode })),
            Err(error) => {
                drop(fs::remove_file(&temporary));
                Err(error)
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode);
        if ours {
            // Left behind it is stale, and the next server replaces it.
            drop(fs::remove_file(&self.path));
        }
    }
}

fn ensure_free_or_stale(path: &Path) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !found.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is no socket"));
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens there")),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_has_its_mode_and_goes_with_its_server() {
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
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "one that lives");
        UnixStream::connect(&path).unwrap();
        drop((listener, file));
        fs::write(&path, "precious").unwrap();
        let error = SocketFile::bind(&path, 0o600).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists, "no socket");
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        assert_eq!(names(folder.path()), ["grpc.sock"]);
    }

    #[tokio::test]
    async fn a_successors_socket_is_left() {
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
