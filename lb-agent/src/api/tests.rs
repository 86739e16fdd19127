use std::{path::PathBuf, sync::Arc};

use lb_core::snapshot::Drain;

use super::{
    client,
    metrics::{ClusterFigures, Scrape},
    rows::{
        Answer, BgpRow, DrainPhase, DrainRow, EndpointRow, ExplainRow, NodeRow, RouteRow,
        ServiceRow, TcpRow, UplinkRow, VerdictRow,
    },
    server::{Error, Socket, Tell, serve},
};
use crate::engine::feedback::{Figures, SessionState};

/// A folder of this test's own, gone when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("lb-agent-api-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("run").join("agent.sock")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(super) struct Fixed;

fn answer<Row>(rows: Vec<Row>) -> Answer<Row> {
    Answer {
        node: "n1".to_owned(),
        generation: 7,
        warnings: vec!["mind the gap".to_owned()],
        rows,
    }
}

fn session() -> BgpRow {
    BgpRow {
        peer: "fd00::1".to_owned(),
        asn: 65001,
        state: Some(SessionState::Established),
        since: Some(1_700_000_000),
        hold_time_seconds: Some(9),
        agreed: vec!["IPv6 unicast".to_owned()],
        figures: Figures {
            routes_sent: 2,
            ..Figures::default()
        },
        ..BgpRow::default()
    }
}

impl Tell for Fixed {
    async fn scrape(&self) -> Option<Scrape> {
        Some(Scrape {
            services: answer(vec![]),
            verdicts: answer(vec![]),
            nodes: answer(vec![]),
            uplinks: answer(vec![]),
            bgp: answer(vec![session()]),
            cluster: ClusterFigures::default(),
        })
    }
    async fn services(&self) -> Option<Answer<ServiceRow>> {
        None
    }
    async fn verdicts(&self) -> Option<Answer<VerdictRow>> {
        Some(answer(vec![]))
    }
    async fn endpoints(&self) -> Option<Answer<EndpointRow>> {
        Some(answer(vec![]))
    }
    async fn nodes(&self) -> Option<Answer<NodeRow>> {
        Some(answer(vec![]))
    }
    async fn uplinks(&self) -> Option<Answer<UplinkRow>> {
        Some(answer(vec![]))
    }
    async fn explain(&self, subject: &str) -> Option<Answer<ExplainRow>> {
        let steps = Vec::new();
        let subject = subject.to_owned();
        Some(answer(vec![ExplainRow { subject, steps }]))
    }
    async fn accept(&self) -> Result<(), String> {
        Err("nothing is held".to_owned())
    }
    async fn unready(&self) -> Option<Vec<String>> {
        Some(vec!["the lists are not complete".to_owned()])
    }
    async fn bgp(&self) -> Option<Answer<BgpRow>> {
        Some(answer(vec![session()]))
    }
    async fn bgp_routes(&self) -> Option<Answer<RouteRow>> {
        Some(answer(vec![]))
    }
    async fn drain(&self) -> Option<Answer<DrainRow>> {
        Some(answer(vec![DrainRow {
            phase: DrainPhase::Marked,
            flows: None,
            flows_wait_seconds: 60,
        }]))
    }
    async fn set_drain(&self, drain: Option<Drain>) -> Result<(), String> {
        match drain {
            Some(drain) if drain.flows_wait.as_secs() == 60 => Ok(()),
            _ => Err("no such drain".to_owned()),
        }
    }
    async fn bgp_tcp(&self) -> Option<Answer<TcpRow>> {
        Some(answer(vec![]))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_agent_tells_arrives_whole() {
    let folder = Folder::new("round-trip");
    let path = folder.socket();
    let server = tokio::spawn(serve(Socket::bind(&path).unwrap(), Arc::new(Fixed)));
    let asked = path.clone();
    let (bgp, unknown, leaving) = tokio::task::spawn_blocking(move || {
        let get = |path| client::get::<Answer<BgpRow>>(&asked, path);
        (get("/v1/bgp"), get("/v1/nothing"), get("/v1/services"))
    })
    .await
    .unwrap();
    assert_eq!(bgp.unwrap(), answer(vec![session()]));
    assert!(matches!(unknown, Err(client::Error::Status { status, .. }) if status.contains("404")));
    assert!(matches!(leaving, Err(client::Error::Status { status, .. }) if status.contains("503")));
    server.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_is_asked_for_and_undone() {
    let folder = Folder::new("drain");
    let path = folder.socket();
    let server = tokio::spawn(serve(Socket::bind(&path).unwrap(), Arc::new(Fixed)));
    tokio::task::spawn_blocking(move || {
        let state = client::get::<Answer<DrainRow>>(&path, "/v1/drain").unwrap();
        assert_eq!(state.rows[0].phase, DrainPhase::Marked);
        client::put(&path, "/v1/drain/60").unwrap();
        assert!(client::put(&path, "/v1/drain/soon").is_err());
        let refused = client::delete(&path, "/v1/drain").unwrap_err();
        assert!(refused.to_string().contains("500"), "{refused}");
    })
    .await
    .unwrap();
    server.abort();
}

#[test]
fn the_socket_is_its_owners_alone_and_goes_with_the_agent() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new("mode");
    let socket = Socket::bind(&folder.socket()).unwrap();
    let mode = std::fs::metadata(folder.socket())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    drop(socket);
    assert!(!folder.socket().exists());
}

#[test]
fn a_live_agents_socket_is_refused_and_a_dead_ones_taken() {
    let folder = Folder::new("taken");
    let alive = Socket::bind(&folder.socket()).unwrap();
    assert!(matches!(
        Socket::bind(&folder.socket()),
        Err(Error::Taken(_))
    ));
    assert!(
        folder.socket().exists(),
        "a refusal must not remove the socket"
    );
    // As after kill -9: the file stays, nobody listens.
    let dead = folder.0.join("dead.sock");
    drop(std::os::unix::net::UnixListener::bind(&dead).unwrap());
    assert!(dead.exists());
    assert!(Socket::bind(&dead).is_ok());
    drop(alive);
}

#[test]
fn a_file_in_the_way_stays() {
    let folder = Folder::new("file");
    let path = folder.0.join("agent.sock");
    std::fs::write(&path, "mine").unwrap();
    assert!(matches!(Socket::bind(&path), Err(Error::NotASocket(_))));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
}

#[test]
fn without_an_agent_one_sentence_says_so() {
    let folder = Folder::new("none");
    let error = client::get::<Answer<BgpRow>>(&folder.socket(), "/v1/bgp").unwrap_err();
    assert!(
        error.to_string().starts_with("no agent runs here"),
        "{error}"
    );
}

#[tokio::test]
async fn a_subject_with_a_slash_is_explained_and_a_refusal_is_a_sentence() {
    let folder = Folder::new("explain");
    let socket = Socket::bind(&folder.socket()).unwrap();
    let server = tokio::spawn(serve(socket, Arc::new(Fixed)));
    let path = folder.socket();
    let asked = tokio::task::spawn_blocking(move || {
        let explained: Answer<ExplainRow> = client::get(&path, "/v1/explain/default/web").unwrap();
        (
            explained,
            client::put(&path, "/v1/accept").unwrap_err().to_string(),
        )
    });
    let (explained, refusal) = asked.await.unwrap();
    assert_eq!(explained.rows[0].subject, "default/web");
    assert!(refusal.contains("/v1/accept"), "{refusal}");
    server.abort();
}
