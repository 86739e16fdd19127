//! Serves the API on a Unix socket. Takes the socket over from an agent that died, never from one that lives.
//! Every answer is made when it is asked for, by whoever is behind [`Tell`]; the server keeps nothing.

use std::{
    fs, io,
    os::unix::{fs::PermissionsExt, net::UnixListener as StdListener},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{Path as UrlPath, State},
    http::{StatusCode, header::CONTENT_TYPE},
    routing::{get, put},
};
use lb_core::snapshot::Drain;
use tokio::{net::UnixListener, task::spawn_blocking};

use super::{
    client,
    metrics::{self, Format, Scrape},
    rows::{
        Answer, BgpRow, DrainRow, EndpointRow, ExplainRow, NodeRow, RouteRow, ServiceRow, TcpRow,
        UplinkRow, VerdictRow,
    },
};

/// Who knows the answers; `None` while the agent is leaving.
pub trait Tell: Send + Sync + 'static {
    /// Everything that is counted, at one instant.
    fn scrape(&self) -> impl Future<Output = Option<Scrape>> + Send;
    /// Service ports.
    fn services(&self) -> impl Future<Output = Option<Answer<ServiceRow>>> + Send;
    /// What became of packets.
    fn verdicts(&self) -> impl Future<Output = Option<Answer<VerdictRow>>> + Send;
    /// Endpoints.
    fn endpoints(&self) -> impl Future<Output = Option<Answer<EndpointRow>>> + Send;
    /// Nodes.
    fn nodes(&self) -> impl Future<Output = Option<Answer<NodeRow>>> + Send;
    /// Uplinks.
    fn uplinks(&self) -> impl Future<Output = Option<Answer<UplinkRow>>> + Send;
    /// BGP sessions.
    fn bgp(&self) -> impl Future<Output = Option<Answer<BgpRow>>> + Send;
    /// What each BGP peer is told.
    fn bgp_routes(&self) -> impl Future<Output = Option<Answer<RouteRow>>> + Send;
    /// How far this node is on its way out of service.
    fn drain(&self) -> impl Future<Output = Option<Answer<DrainRow>>> + Send;
    /// Takes this node out of service, or back; the error is a sentence.
    fn set_drain(&self, drain: Option<Drain>) -> impl Future<Output = Result<(), String>> + Send;
    /// Why a Service or a VIP is, or is not, served and announced.
    fn explain(&self, subject: &str) -> impl Future<Output = Option<Answer<ExplainRow>>> + Send;
    /// Lets removals take effect that are held; the error is a sentence.
    fn accept(&self) -> impl Future<Output = Result<(), String>> + Send;
    /// Why this agent is not ready; nothing: it is.
    fn unready(&self) -> impl Future<Output = Option<Vec<String>>> + Send;
    /// What the kernel dropped of BGP's segments.
    fn bgp_tcp(&self) -> impl Future<Output = Option<Answer<TcpRow>>> + Send;
}

/// Why the socket cannot be had. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another agent answers there.
    #[error(
        "another agent runs here: it listens on {}; stop it first, or give this one its own --socket and --pin-dir",
        .0.display()
    )]
    Taken(PathBuf),
    /// The path holds something that is no socket.
    #[error("{} is not a socket; it stays as it is, choose another path with --socket", .0.display())]
    NotASocket(PathBuf),
    /// The kernel refuses.
    #[error("cannot listen on {}", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
}

/// The bound socket; removed when dropped.
#[derive(Debug)]
pub struct Socket {
    listener: StdListener,
    path: PathBuf,
}

impl Socket {
    /// Binds the socket, mode 0600, making its folder if there is none.
    pub fn bind(path: &Path) -> Result<Self, Error> {
        let io = |source| Error::Io {
            path: path.to_owned(),
            source,
        };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(io)?;
        }
        make_way(path)?;
        let listener = StdListener::bind(path).map_err(io)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(io)?;
        listener.set_nonblocking(true).map_err(io)?;
        Ok(Self {
            listener,
            path: path.to_owned(),
        })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Answers until dropped.
pub async fn serve<T: Tell>(socket: Socket, tell: Arc<T>) -> io::Result<()> {
    let listener = UnixListener::from_std(socket.listener.try_clone()?)?;
    axum::serve(listener, router(tell)).await
}

fn router<T: Tell>(tell: Arc<T>) -> Router {
    type Told<T> = State<Arc<T>>;
    let services = |State(tell): Told<T>| async move { reply(tell.services().await) };
    let verdicts = |State(tell): Told<T>| async move { reply(tell.verdicts().await) };
    let endpoints = |State(tell): Told<T>| async move { reply(tell.endpoints().await) };
    let nodes = |State(tell): Told<T>| async move { reply(tell.nodes().await) };
    let uplinks = |State(tell): Told<T>| async move { reply(tell.uplinks().await) };
    let bgp = |State(tell): Told<T>| async move { reply(tell.bgp().await) };
    let metrics = |State(tell): Told<T>| async move {
        let scrape = tell.scrape().await.ok_or(StatusCode::SERVICE_UNAVAILABLE)?;
        let head = [(CONTENT_TYPE, Format::Text.content_type())];
        // Ten thousand services are some ten megabytes of text.
        let text = spawn_blocking(move || metrics::text(&scrape, Format::Text)).await;
        let text = text.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
        Ok::<_, StatusCode>((head, text))
    };
    let bgp_routes = |State(tell): Told<T>| async move { reply(tell.bgp_routes().await) };
    let bgp_tcp = |State(tell): Told<T>| async move { reply(tell.bgp_tcp().await) };
    let drain = |State(tell): Told<T>| async move { reply(tell.drain().await) };
    let begin_drain = |State(tell): Told<T>, UrlPath(seconds): UrlPath<u64>| async move {
        let flows_wait = Duration::from_secs(seconds);
        done(tell.set_drain(Some(Drain { flows_wait })).await)
    };
    let end_drain = |State(tell): Told<T>| async move { done(tell.set_drain(None).await) };
    let explain = |State(tell): Told<T>, UrlPath(subject): UrlPath<String>| async move {
        reply(tell.explain(&subject).await)
    };
    let accept = |State(tell): Told<T>| async move { done(tell.accept().await) };
    Router::new()
        .route("/v1/explain/{*subject}", get(explain))
        .route("/v1/accept", put(accept))
        .route("/metrics", get(metrics))
        .route("/v1/services", get(services))
        .route("/v1/verdicts", get(verdicts))
        .route("/v1/endpoints", get(endpoints))
        .route("/v1/nodes", get(nodes))
        .route("/v1/uplinks", get(uplinks))
        .route("/v1/bgp", get(bgp))
        .route("/v1/drain", get(drain).delete(end_drain))
        .route("/v1/drain/{seconds}", put(begin_drain))
        .route("/v1/bgp/routes", get(bgp_routes))
        .route("/v1/bgp/tcp", get(bgp_tcp))
        .with_state(tell)
}

fn reply<Row>(answer: Option<Answer<Row>>) -> Result<Json<Answer<Row>>, StatusCode> {
    answer.map(Json).ok_or(StatusCode::SERVICE_UNAVAILABLE)
}

fn done(result: Result<(), String>) -> (StatusCode, String) {
    match result {
        Ok(()) => (StatusCode::OK, String::new()),
        Err(sentence) => (StatusCode::INTERNAL_SERVER_ERROR, sentence),
    }
}

/// Removes the socket of an agent that is no more.
fn make_way(path: &Path) -> Result<(), Error> {
    use std::os::unix::fs::FileTypeExt;
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !metadata.file_type().is_socket() {
        return Err(Error::NotASocket(path.to_owned()));
    }
    if client::is_alive(path) {
        return Err(Error::Taken(path.to_owned()));
    }
    fs::remove_file(path).map_err(|source| Error::Io {
        path: path.to_owned(),
        source,
    })
}
