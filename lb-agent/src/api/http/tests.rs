use std::io::{Read as _, Write as _};

use super::*;
use crate::api::tests::Fixed;

fn get_of(address: SocketAddr, path: &str) -> String {
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn health_readiness_and_metrics_are_answered_and_nothing_else() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async { axum::serve(listener, router(Arc::new(Fixed))).await });
    let asked = tokio::task::spawn_blocking(move || {
        ["/healthz", "/readyz", "/metrics", "/v1/services"].map(|path| get_of(address, path))
    });
    let [healthy, ready, metrics, other] = asked.await.unwrap();
    assert!(healthy.contains("200 OK"), "{healthy}");
    assert!(
        ready.contains("503") && ready.ends_with("the lists are not complete\n"),
        "{ready}"
    );
    assert!(
        metrics.contains("fairlead_event_to_datapath_seconds_count 0\n"),
        "{metrics}"
    );
    assert!(other.contains("404"), "{other}");
    server.abort();
}

#[tokio::test]
async fn a_port_that_is_taken_is_told_with_its_holder() {
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap();
    let error = TcpListener::bind(address).await.unwrap_err();
    let problem = problem(address, &error);
    assert!(
        problem.contains(&address.to_string()) && problem.contains("holds the port"),
        "{problem}"
    );
}
