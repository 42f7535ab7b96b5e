//! The listening socket, its connections and their limits.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time;

use crate::Source;
use crate::router::router;

/// A request's head must be whole after this long; it bounds idle connections as well.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Age at which a connection is asked to end, whatever it does: a client that never reads its
/// answers cannot hold one for ever.
const CONNECTION_AGE: Duration = Duration::from_secs(60);
/// What a connection gets to finish its answer once it was asked to end.
const FAREWELL: Duration = Duration::from_secs(1);
/// Connections at once; a few scrapers and operators need ten. Later ones wait in the backlog.
const CONNECTIONS: usize = 64;
/// Pause after `accept` failed (out of descriptors, say), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Others could reach this address, and nothing would stop them from reading it.
    #[error(
        "--admin {address} can be reached from other machines and no token is set: \
         use 127.0.0.1, or name a file that holds a token with --admin-token-file"
    )]
    TokenNeeded {
        /// The address asked for.
        address: SocketAddr,
    },
    /// The file of the token cannot be read.
    #[error("--admin-token-file {}: {source}", path.display())]
    TokenFile {
        /// The file asked for.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Nobody could send such a token, or everybody.
    #[error("the admin token must be one word of printable ASCII")]
    BadToken,
    /// The address is taken, not ours, or not permitted.
    #[error("cannot listen for admin requests on {address}: {source}")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

/// The admin HTTP server of one role: bound, not yet answering.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    router: Router,
}

impl Server {
    /// Listens where the flags `--admin` and `--admin-token-file` say, if anywhere.
    ///
    /// # Errors
    ///
    /// [`Error::TokenFile`], and those of [`Server::bind`].
    pub async fn open(
        address: Option<SocketAddr>,
        token_file: Option<&Path>,
        source: Arc<dyn Source>,
    ) -> Result<Option<Self>, Error> {
        let Some(address) = address else {
            return Ok(None);
        };
        let token = token_file.map(read_token).transpose()?;
        Self::bind(address, token, source).await.map(Some)
    }

    /// Listens on `address` (port 0: any free one) and shows `source` there.
    ///
    /// # Errors
    ///
    /// [`Error::TokenNeeded`] for an address beyond loopback without `token`,
    /// [`Error::BadToken`], and [`Error::Bind`] when the system refuses the address.
    pub async fn bind(
        address: SocketAddr,
        token: Option<String>,
        source: Arc<dyn Source>,
    ) -> Result<Self, Error> {
        match &token {
            None if !address.ip().to_canonical().is_loopback() => {
                return Err(Error::TokenNeeded { address });
            }
            Some(token) if !is_word(token.trim()) => return Err(Error::BadToken),
            _ => {}
        }
        let bind_error = |source| Error::Bind { address, source };
        let listener = TcpListener::bind(address).await.map_err(bind_error)?;
        let address = listener.local_addr().map_err(bind_error)?;
        let token = token.map(|token| token.trim().to_owned());
        Ok(Self {
            listener,
            address,
            router: router(source, token),
        })
    }

    /// The address in use, with its real port.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `shutdown` completes, then closes the socket and gives open connections one
    /// second to finish.
    ///
    /// # Errors
    ///
    /// None today: once bound, whatever goes wrong concerns one connection alone. The result is
    /// part of the face all servers share.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
        let Self {
            listener, router, ..
        } = self;
        let permits = Arc::new(Semaphore::new(CONNECTIONS));
        let (farewell, _) = watch::channel(());
        let mut connections = JoinSet::new();
        let mut shutdown = pin!(shutdown);

        loop {
            let accepted = tokio::select! {
                () = &mut shutdown => break,
                accepted = accept(&listener, Arc::clone(&permits)) => accepted,
                Some(_) = connections.join_next() => continue,
            };
            if let Some((stream, permit)) = accepted {
                connections.spawn(serve(stream, router.clone(), farewell.subscribe(), permit));
            }
        }

        drop(listener);
        drop(farewell);
        // Each connection bounds its own farewell; the set ends with the last of them.
        while connections.join_next().await.is_some() {}
        Ok(())
    }
}

fn is_word(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic())
}

fn read_token(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(|source| Error::TokenFile {
        path: path.to_owned(),
        source,
    })
}

/// The next connection, once there is room for it; `None` when accepting failed.
async fn accept(
    listener: &TcpListener,
    permits: Arc<Semaphore>,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let permit = permits.acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, permit)),
        Err(error) => {
            tracing::warn!(%error, "cannot accept an admin connection");
            time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

async fn serve(
    stream: TcpStream,
    router: Router,
    mut farewell: watch::Receiver<()>,
    _permit: OwnedSemaphorePermit,
) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = pin!(connection);

    tokio::select! {
        ended = connection.as_mut() => return log_end(ended),
        _ = farewell.changed() => {}
        () = time::sleep(CONNECTION_AGE) => {}
    }
    connection.as_mut().graceful_shutdown();
    if let Ok(ended) = time::timeout(FAREWELL, connection).await {
        log_end(ended);
    }
}

/// A peer that broke off or sent no HTTP is its own affair: worth a line only to who looks.
fn log_end(ended: Result<(), hyper::Error>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "admin connection ended");
    }
}
