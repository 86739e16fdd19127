//! The controller's figures for probes and for Prometheus (OpenMetrics 1.0): who leads, how full Eips are, how Services of
//! ours are, what was written. Every replica tells the same of Eips and Services; what was done is each one's own.

use std::{fmt::Write, time::Duration};

use lb_kube::controller::{Figures, Writes};
use tokio::sync::watch;

use super::http::Probed;

/// Content type of the text.
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// A controller that has not come round for so long is stuck: no request of its own may take longer than 30 s.
const STUCK_AFTER: Duration = Duration::from_secs(120);

/// The controller, as it is asked.
#[derive(Clone, Debug)]
pub struct Controller {
    /// What it tells.
    pub figures: watch::Receiver<Figures>,
}

impl Probed for Controller {
    async fn unhealthy(&self) -> Option<String> {
        let beat = self.figures.borrow().beat;
        let silence = beat.map(|beat| beat.elapsed())?;
        (silence > STUCK_AFTER)
            .then(|| format!("the controller has not moved for {} s", silence.as_secs()))
    }

    async fn unready(&self) -> Vec<String> {
        self.figures.borrow().waits_for.clone()
    }

    async fn metrics(&self, _accept: &str) -> Option<(&'static str, String)> {
        Some((CONTENT_TYPE, text(&self.figures.borrow())))
    }
}

/// The figures as OpenMetrics.
fn text(figures: &Figures) -> String {
    let mut text = Text::default();
    of_eips(&mut text, figures);
    of_services(&mut text, figures);
    let own = "fairlead_controller_";
    text.gauge(
        &format!("{own}leader"),
        "Whether this process gives addresses.",
    );
    text.sample("", u8::from(figures.leads));
    text.gauge(&format!("{own}listed"), "Whether every kind was listed.");
    text.sample("", u8::from(figures.waits_for.is_empty()));
    text.gauge(
        &format!("{own}api_server_away"),
        "Whether the API server leaves a watch without an answer.",
    );
    text.sample("", u8::from(figures.is_away));
    let counts = &figures.counts;
    text.counter(
        &format!("{own}terms"),
        "Times that this process began to lead.",
    );
    text.total("", counts.terms);
    text.counter(
        &format!("{own}addresses_assigned"),
        "Addresses given to Services.",
    );
    text.total("", counts.assigned);
    text.counter(
        &format!("{own}addresses_released"),
        "Addresses that Services have left.",
    );
    text.total("", counts.released);
    text.counter(
        &format!("{own}writes"),
        "Writes, by kind and by how they ended.",
    );
    let of_kind = |text: &mut Text, kind: &str, writes: &Writes| {
        let Writes {
            done,
            stale,
            failed,
        } = *writes;
        for (result, count) in [("done", done), ("conflict", stale), ("failed", failed)] {
            text.total(&format!("{{kind=\"{kind}\",result=\"{result}\"}}"), count);
        }
    };
    of_kind(&mut text, "Eip", &counts.eips);
    of_kind(&mut text, "Service", &counts.services);
    text.total(
        "{kind=\"BgpPeer\",result=\"failed\"}",
        counts.speaker_failures,
    );
    let name = format!("{own}decision_seconds");
    text.head(
        &name,
        "summary",
        "Time to decide which Service has which address.",
    );
    text.named("_sum", "", counts.deciding.as_secs_f64());
    text.named("_count", "", counts.decisions);
    text.done()
}

fn of_eips(text: &mut Text, figures: &Figures) {
    text.gauge("fairlead_eip_addresses", "Addresses of an Eip.");
    for (eip, pool) in &figures.pools {
        for (family, (total, _)) in &pool.families {
            text.sample(&format!("{{eip=\"{eip}\",family=\"{family}\"}}"), total);
        }
    }
    text.gauge("fairlead_eip_addresses_in_use", "Of these, in use.");
    for (eip, pool) in &figures.pools {
        for (family, (_, used)) in &pool.families {
            text.sample(&format!("{{eip=\"{eip}\",family=\"{family}\"}}"), used);
        }
    }
    text.gauge(
        "fairlead_eip_services",
        "Services that have an address of an Eip.",
    );
    for (eip, pool) in &figures.pools {
        text.sample(&format!("{{eip=\"{eip}\"}}"), pool.services);
    }
    text.gauge("fairlead_eip_open", "Whether an Eip gives addresses.");
    for (eip, pool) in &figures.pools {
        text.sample(&format!("{{eip=\"{eip}\"}}"), u8::from(pool.is_open));
    }
}

fn of_services(text: &mut Text, figures: &Figures) {
    let services = &figures.services;
    let name = "fairlead_controller_services";
    text.gauge(
        name,
        "Services of ours: with an address, waiting for one, or left to who gave them theirs.",
    );
    for (state, count) in [
        ("addressed", services.addressed),
        ("waiting", services.waiting),
        ("untouched", services.untouched),
    ] {
        text.sample(&format!("{{state=\"{state}\"}}"), count);
    }
    let name = "fairlead_controller_services_not_serving";
    text.gauge(
        name,
        "Services with an address that are not served, by the reason of LoadBalancerServing.",
    );
    for (reason, count) in &services.not_serving {
        text.sample(&format!("{{reason=\"{reason}\"}}"), count);
    }
}

/// Text that grows; samples belong to the family that was named last.
#[derive(Default)]
struct Text {
    text: String,
    family: String,
}

impl Text {
    fn gauge(&mut self, name: &str, help: &str) {
        self.head(name, "gauge", help);
    }

    /// Its samples end in `_total`.
    fn counter(&mut self, name: &str, help: &str) {
        self.head(name, "counter", help);
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        name.clone_into(&mut self.family);
        let _ = writeln!(self.text, "# TYPE {name} {kind}\n# HELP {name} {help}");
    }

    fn sample(&mut self, labels: &str, value: impl std::fmt::Display) {
        self.named("", labels, value);
    }

    fn total(&mut self, labels: &str, value: u64) {
        self.named("_total", labels, value);
    }

    fn named(&mut self, suffix: &str, labels: &str, value: impl std::fmt::Display) {
        let _ = writeln!(self.text, "{}{suffix}{labels} {value}", self.family);
    }

    fn done(mut self) -> String {
        self.text.push_str("# EOF\n");
        self.text
    }
}

#[cfg(test)]
mod tests;
