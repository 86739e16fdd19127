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
    let scrape = Scrape {
        services: answer(vec![service]),
        verdicts: answer(vec![VerdictRow {
            verdict: "de\"liv\\ered".to_owned(),
            packets: 7,
        }]),
        nodes: answer(Vec::new()),
        uplinks: answer(vec![UplinkRow {
            interface: "eth0".to_owned(),
            xdp: Some("tc".to_owned()),
            egress: Some("tcx".to_owned()),
            mac: String::new(),
            mtu_bytes: 1500,
            not_in_driver: None,
        }]),
        bgp: answer(Vec::new()),
        cluster: ClusterFigures::default(),
    };
    let open = text(&scrape, Format::OpenMetrics);
    let text = text(&scrape, Format::Text);
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
    let uplink = "fairlead_uplink_info{uplink=\"eth0\",xdp=\"tc\",egress=\"tcx\"} 1\n";
    assert!(text.contains(uplink), "{text}");
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
    // The same samples; only the heads of counters differ, and there is an end.
    let samples = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(str::to_owned).collect()
    };
    assert_eq!(samples(&open), samples(&text));
    assert!(open.contains("# TYPE fairlead_packets counter\n") && open.ends_with("# EOF\n"));
    assert!(!text.contains("# EOF"));
}

#[test]
fn a_scraper_gets_what_it_accepts() {
    let prometheus =
        "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3";
    for (accept, format) in [
        ("", Format::Text),
        ("*/*", Format::Text),
        ("text/plain", Format::Text),
        (prometheus, Format::OpenMetrics),
    ] {
        assert_eq!(Format::accepted(accept), format, "{accept}");
    }
}
