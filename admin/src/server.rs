//! The listening socket, its connections and their limits.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
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
        "admin address {address} can be reached from other machines and no token is set: \
         listen on 127.0.0.1 or set a token"
    )]
    TokenNeeded {
        /// The address asked for.
        address: SocketAddr,
    },
    /// An empty token would let everybody in.
    #[error("the admin token is empty")]
    EmptyToken,
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
    /// Listens on `address` (port 0: any free one) and shows `source` there.
    ///
    /// # Errors
    ///
    /// [`Error::TokenNeeded`] for an address beyond loopback without `token`,
    /// [`Error::EmptyToken`], and [`Error::Bind`] when the system refuses the address.
    pub async fn bind(
        address: SocketAddr,
        token: Option<String>,
        source: Arc<dyn Source>,
    ) -> Result<Self, Error> {
        match &token {
            None if !address.ip().to_canonical().is_loopback() => {
                return Err(Error::TokenNeeded { address });
            }
            Some(token) if token.trim().is_empty() => return Err(Error::EmptyToken),
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
