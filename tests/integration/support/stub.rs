use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    task::JoinSet,
};

/// An HTTP server that answers every request with the same body, which a test can change.
pub(crate) struct Stub {
    pub(crate) address: SocketAddr,
    /// The body, and the number of requests.
    state: Arc<Mutex<(String, usize)>>,
    _serving: JoinSet<()>,
}

impl Stub {
    pub(crate) async fn start(body: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new((body.to_owned(), 0)));
        let mut serving = JoinSet::new();
        let shared = Arc::clone(&state);
        serving.spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                drop(stream.read(&mut [0; 65_536]).await);
                let body = {
                    let mut state = shared.lock().unwrap();
                    state.1 += 1;
                    state.0.clone()
                };
                let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close";
                let response = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                drop(stream.write_all(response.as_bytes()).await);
            }
        });
        Self { address, state, _serving: serving }
    }

    pub(crate) fn set_response(&self, body: &str) {
        self.state.lock().unwrap().0 = body.to_owned();
    }

    pub(crate) fn requests(&self) -> usize {
        self.state.lock().unwrap().1
    }
}
