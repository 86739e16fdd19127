use std::{collections::BTreeMap, time::Instant};

use lb_kube::controller::{PoolFigures, ServiceFigures};

use super::*;

fn figures() -> Figures {
    let families = BTreeMap::from([("IPv4", (256, 3)), ("IPv6", (1 << 64, 0))]);
    let pool = PoolFigures {
        is_open: true,
        families,
        services: 2,
    };
    Figures {
        leads: true,
        pools: BTreeMap::from([("public".to_owned(), pool)]),
        services: ServiceFigures {
            addressed: 3,
            not_serving: BTreeMap::from([("NoEndpoints".to_owned(), 1)]),
            ..ServiceFigures::default()
        },
        ..Figures::default()
    }
}

#[test]
fn the_text_is_openmetrics() {
    let text = text(&figures());
    for line in [
        "fairlead_eip_addresses{eip=\"public\",family=\"IPv4\"} 256",
        "fairlead_eip_addresses{eip=\"public\",family=\"IPv6\"} 18446744073709551616",
        "fairlead_eip_addresses_in_use{eip=\"public\",family=\"IPv4\"} 3",
        "fairlead_controller_leader 1",
        "fairlead_controller_services{state=\"addressed\"} 3",
        "fairlead_controller_services_not_serving{reason=\"NoEndpoints\"} 1",
        "fairlead_controller_writes_total{kind=\"Eip\",result=\"conflict\"} 0",
        "fairlead_controller_decision_seconds_count 0",
    ] {
        assert!(
            text.lines().any(|known| known == line),
            "{line} is not in\n{text}"
        );
    }
    assert!(text.ends_with("# EOF\n"));
    // Each sample belongs to the family that was announced before it.
    let mut family = "";
    for line in text.lines() {
        match line.strip_prefix("# TYPE ") {
            Some(head) => family = head.split(' ').next().unwrap(),
            None => assert!(line.starts_with('#') || line.starts_with(family), "{line}"),
        }
    }
}

#[tokio::test]
async fn a_controller_that_does_not_move_is_unhealthy_and_one_without_lists_is_not_ready() {
    let (sender, receiver) = watch::channel(figures());
    let controller = Controller { figures: receiver };
    assert_eq!(controller.unhealthy().await, None, "it has not begun");
    assert!(controller.unready().await.is_empty());
    sender.send_modify(|figures| {
        figures.beat = Instant::now().checked_sub(STUCK_AFTER * 2);
        figures.waits_for = vec!["Services are not listed yet".to_owned()];
    });
    assert!(
        controller
            .unhealthy()
            .await
            .unwrap()
            .contains("has not moved")
    );
    assert_eq!(controller.unready().await.len(), 1);
}
