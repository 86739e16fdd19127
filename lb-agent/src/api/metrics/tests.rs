//! The text as a scraper gets it.

use super::*;

fn answer<Row>(rows: Vec<Row>) -> Answer<Row> {
    Answer {
        node: "n1".to_owned(),
        generation: 1,
        warnings: Vec::new(),
        rows,
    }
}

#[test]
fn every_sample_has_its_labels_and_every_metric_its_head() {
    let service = ServiceRow {
        service: "default/web".to_owned(),
        vip: "fd99::1".parse().unwrap(),
        protocol: "TCP".to_owned(),
        port: 80,
        endpoints_used: 5,
        endpoints_known: 6,
        applied: true,
        announced_to: Vec::new(),
        packets: 1200,
        bytes: 90_000,
        forwarded: 800,
        dropped: 3,
        new_flows: 4,
        active_flows: 2,
        reply_packets: 1100,
        reply_bytes: 80_000,
        reasons: Vec::new(),
    };
    let text = text(&Scrape {
        services: answer(vec![service]),
        verdicts: answer(vec![VerdictRow {
            verdict: "de\"liv\\ered".to_owned(),
            packets: 7,
        }]),
        nodes: answer(Vec::new()),
        bgp: answer(Vec::new()),
        cluster: ClusterFigures::default(),
    });
    let labels = "{service=\"default/web\",vip=\"fd99::1\",protocol=\"TCP\",port=\"80\"}";
    for (name, value) in [
        ("packets_total", 1200),
        ("active_flows", 2),
        ("reply_bytes_total", 80_000),
    ] {
        let line = format!("fairlead_service_{name}{labels} {value}\n");
        assert!(text.contains(&line), "{line}{text}");
    }
    assert!(
        text.contains("fairlead_packets_total{verdict=\"de\\\"liv\\\\ered\"} 7\n"),
        "{text}"
    );
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    for line in lines {
        let name = line.split(['{', ' ']).next().unwrap();
        if name.starts_with("fairlead_event_to_datapath_seconds") {
            continue;
        }
        let head = format!(
            "# TYPE {name} {}",
            if name.ends_with("_total") {
                "counter"
            } else {
                "gauge"
            }
        );
        assert!(text.contains(&head), "{head}");
    }
}
