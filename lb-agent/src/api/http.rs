//! Health and metrics over HTTP for kubelet and Prometheus, on an address of the operator's choice: the agent's, and the
//! controller's. Nothing else is answered here, and nothing can be changed. A port that is taken costs only this: it is
//! said who holds it, and it is tried again.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{
        HeaderMap, StatusCode,
        header::{ACCEPT, CONTENT_TYPE},
    },
    routing::get,
};
use tokio::{net::TcpListener, time::timeout};

use super::{
    metrics::{self, Format},
    server::Tell,
};
use crate::announce::bgp::port_holder;

/// Time between two attempts to listen.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);
/// An engine that takes longer for a word is stuck.
const ALIVE_WITHIN: Duration = Duration::from_secs(3);

/// Who is asked how it is.
pub trait Probed: Send + Sync + 'static {
    /// Why it has to be started anew; `None`: it lives.
    fn unhealthy(&self) -> impl Future<Output = Option<String>> + Send;
    /// Why it is not ready, a sentence each; nothing: it is.
    fn unready(&self) -> impl Future<Output = Vec<String>> + Send;
    /// Its metrics with their content type, in a format that `accept` has; `None`: it is leaving.
    fn metrics(&self, accept: &str) -> impl Future<Output = Option<(&'static str, String)>> + Send;
}

impl<T: Tell> Probed for T {
    async fn unhealthy(&self) -> Option<String> {
        match timeout(ALIVE_WITHIN, Tell::unready(self)).await {
            Ok(Some(_)) => None,
            Ok(None) => Some("the agent is leaving".to_owned()),
            Err(_) => Some("the engine does not answer".to_owned()),
        }
    }

    async fn unready(&self) -> Vec<String> {
        match timeout(ALIVE_WITHIN, Tell::unready(self)).await {
            Ok(Some(reasons)) => reasons,
            Ok(None) => vec!["the agent is leaving".to_owned()],
            Err(_) => vec!["the engine does not answer".to_owned()],
        }
    }

    async fn metrics(&self, accept: &str) -> Option<(&'static str, String)> {
        let format = Format::accepted(accept);
        let scrape = self.scrape().await?;
        Some((format.content_type(), metrics::text(&scrape, format)))
    }
}

/// Answers until dropped.
pub async fn serve<T: Probed>(address: SocketAddr, probed: Arc<T>) {
    let mut is_told = false;
    loop {
        let served = match TcpListener::bind(address).await {
            Ok(listener) => {
                tracing::info!(%address, "answering /healthz, /readyz and /metrics");
                is_told = false;
                axum::serve(listener, router(Arc::clone(&probed))).await
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

fn router<T: Probed>(probed: Arc<T>) -> Router {
    type Asked<T> = State<Arc<T>>;
    let healthy = |State(probed): Asked<T>| async move {
        match probed.unhealthy().await {
            None => (StatusCode::OK, "ok\n".to_owned()),
            Some(reason) => unavailable(&reason),
        }
    };
    let ready = |State(probed): Asked<T>| async move {
        let reasons = Probed::unready(&*probed).await;
        if reasons.is_empty() {
            (StatusCode::OK, "ready\n".to_owned())
        } else {
            unavailable(&reasons.join("\n"))
        }
    };
    let metrics = |State(probed): Asked<T>, headers: HeaderMap| async move {
        let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
        let (content, text) = probed
            .metrics(accept.unwrap_or_default())
            .await
            .ok_or(StatusCode::SERVICE_UNAVAILABLE)?;
        Ok::<_, StatusCode>(([(CONTENT_TYPE, content)], text))
    };
    Router::new()
        .route("/healthz", get(healthy))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(probed)
}

fn unavailable(reason: &str) -> (StatusCode, String) {
    (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n"))
}

#[cfg(test)]
mod tests;
