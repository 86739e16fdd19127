//! Answers of the running agent: asks the engine for what it knows and the data path for what it counted,
//! when somebody asks.

use lb_core::snapshot::Drain;
use lb_kube::reflect::source::Request;
use tokio::{
    sync::{mpsc, oneshot},
    task::spawn_blocking,
};

use super::Counters;
use crate::{
    answers,
    api::{
        metrics::Scrape,
        rows::{
            Answer, BgpRow, DrainRow, EndpointRow, ExplainRow, NodeRow, RouteRow, ServiceRow,
            TcpRow, UplinkRow, VerdictRow,
        },
        server::Tell,
    },
    apply::reading::Reading,
    drain_mark::DrainMark,
    engine::state::View,
    sources::{Change, ChangeSender},
};

/// Those who are asked.
#[derive(Clone, Debug)]
pub struct Live {
    /// The engine.
    pub views: mpsc::Sender<oneshot::Sender<View>>,
    /// The data path.
    pub counters: mpsc::Sender<oneshot::Sender<Reading>>,
    /// The engine, for what is to be changed.
    pub changes: ChangeSender,
    /// What an agent that is started again goes by.
    pub mark: DrainMark,
    /// The source that reads the API server, if that is where the cluster is told.
    pub requests: mpsc::Sender<Request>,
}

impl Live {
    async fn view(&self) -> Option<View> {
        ask(&self.views).await
    }

    async fn counters(&self) -> Option<Counters> {
        let reading = ask(&self.counters).await?;
        spawn_blocking(|| reading.take()).await.ok()
    }
}

impl Tell for Live {
    async fn scrape(&self) -> Option<Scrape> {
        let view = self.view().await?;
        let reading = ask(&self.counters).await?;
        let scrape = move || {
            let counters = reading.take();
            Scrape {
                services: answers::services(&view, &counters),
                verdicts: answers::verdicts(&view, &counters),
                nodes: answers::nodes(&view, &counters),
                uplinks: answers::uplinks(&view, &counters),
                bgp: answers::bgp::sessions(&view),
                cluster: answers::ready::cluster(&view),
            }
        };
        spawn_blocking(scrape).await.ok()
    }

    async fn services(&self) -> Option<Answer<ServiceRow>> {
        let view = self.view().await?;
        Some(answers::services(&view, &self.counters().await?))
    }

    async fn verdicts(&self) -> Option<Answer<VerdictRow>> {
        let view = self.view().await?;
        Some(answers::verdicts(&view, &self.counters().await?))
    }

    async fn endpoints(&self) -> Option<Answer<EndpointRow>> {
        let view = self.view().await?;
        Some(answers::endpoints(&view, &self.counters().await?))
    }

    async fn nodes(&self) -> Option<Answer<NodeRow>> {
        let view = self.view().await?;
        Some(answers::nodes(&view, &self.counters().await?))
    }

    async fn uplinks(&self) -> Option<Answer<UplinkRow>> {
        let view = self.view().await?;
        Some(answers::uplinks(&view, &self.counters().await?))
    }

    async fn bgp(&self) -> Option<Answer<BgpRow>> {
        Some(answers::bgp::sessions(&self.view().await?))
    }

    async fn bgp_routes(&self) -> Option<Answer<RouteRow>> {
        Some(answers::bgp::routes(&self.view().await?))
    }

    async fn drain(&self) -> Option<Answer<DrainRow>> {
        Some(answers::drain::row(&self.view().await?))
    }

    async fn set_drain(&self, drain: Option<Drain>) -> Result<(), String> {
        let mark = self.mark.set(drain);
        mark.map_err(|error| format!("cannot write {}: {error}", self.mark.path().display()))?;
        let set = self.changes.send(Change::Drain(drain)).await;
        set.map_err(|_| "the agent is leaving".to_owned())
    }

    async fn explain(&self, subject: &str) -> Option<Answer<ExplainRow>> {
        Some(answers::explain::explain(&self.view().await?, subject))
    }

    async fn accept(&self) -> Result<(), String> {
        let accepted = self.requests.send(Request::Accept).await;
        accepted.map_err(|_| "this agent does not read an API server".to_owned())
    }

    async fn unready(&self) -> Option<Vec<String>> {
        Some(answers::ready::unready(&self.view().await?))
    }

    async fn bgp_tcp(&self) -> Option<Answer<TcpRow>> {
        Some(answers::bgp::tcp(&self.view().await?))
    }
}

async fn ask<T>(who: &mpsc::Sender<oneshot::Sender<T>>) -> Option<T> {
    let (sender, answer) = oneshot::channel();
    who.send(sender).await.ok()?;
    answer.await.ok()
}
