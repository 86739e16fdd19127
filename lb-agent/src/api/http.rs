//! Health and metrics over HTTP for kubelet and Prometheus, on an address of the operator's choice. Nothing else of the
//! agent is answered here, and nothing can be changed. A port that is taken costs the agent only this: it says who
//! holds it, and tries again.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    routing::get,
};
use tokio::{net::TcpListener, time::timeout};

use super::{metrics, server::Tell};
use crate::announce::bgp::port_holder;

/// Time between two attempts to listen.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);
/// An engine that takes longer for a word is stuck.
const ALIVE_WITHIN: Duration = Duration::from_secs(3);

/// Answers until dropped.
pub async fn serve<T: Tell>(address: SocketAddr, tell: Arc<T>) {
    let mut is_told = false;
    loop {
        let served = match TcpListener::bind(address).await {
            Ok(listener) => {
                tracing::info!(%address, "answering /healthz, /readyz and /metrics");
                is_told = false;
                axum::serve(listener, router(Arc::clone(&tell))).await
            }
            Err(error) => Err(error),
        };
        if let Err(error) = served
            && !std::mem::replace(&mut is_told, true)
        {
            tracing::warn!("{}", problem(address, &error));
        }
        tokio::time::sleep(RETRY_INTERVAL).await;
    }
}

fn problem(address: SocketAddr, error: &io::Error) -> String {
    let holder = (error.kind() == io::ErrorKind::AddrInUse)
        .then(|| port_holder::find(address))
        .flatten();
    let reason = holder.map_or_else(
        || error.to_string(),
        |holder| format!("{holder} holds the port"),
    );
    format!(
        "cannot answer /healthz, /readyz and /metrics on {address}: {reason}; free the port, or choose another with --http"
    )
}

fn router<T: Tell>(tell: Arc<T>) -> Router {
    type Told<T> = State<Arc<T>>;
    let healthy = |State(tell): Told<T>| async move {
        match timeout(ALIVE_WITHIN, tell.unready()).await {
            Ok(Some(_)) => (StatusCode::OK, "ok\n".to_owned()),
            Ok(None) => unavailable("the agent is leaving"),
            Err(_) => unavailable("the engine does not answer"),
        }
    };
    let ready = |State(tell): Told<T>| async move {
        match timeout(ALIVE_WITHIN, tell.unready()).await {
            Ok(Some(reasons)) if reasons.is_empty() => (StatusCode::OK, "ready\n".to_owned()),
            Ok(Some(reasons)) => unavailable(&reasons.join("\n")),
            Ok(None) => unavailable("the agent is leaving"),
            Err(_) => unavailable("the engine does not answer"),
        }
    };
    let metrics = |State(tell): Told<T>| async move {
        let scrape = tell.scrape().await.ok_or(StatusCode::SERVICE_UNAVAILABLE)?;
        let head = [(CONTENT_TYPE, metrics::CONTENT_TYPE)];
        Ok::<_, StatusCode>((head, metrics::text(&scrape)))
    };
    Router::new()
        .route("/healthz", get(healthy))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(tell)
}

fn unavailable(reason: &str) -> (StatusCode, String) {
    (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n"))
}

#[cfg(test)]
mod tests;
