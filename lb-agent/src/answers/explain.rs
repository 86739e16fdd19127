//! Why a Service or a VIP is, or is not, served and announced: the whole chain of decisions, from what the API server
//! says to what the routers hear, each in the words of whoever decided it. It is the view of this node alone.

use std::net::IpAddr;

use lb_core::{
    desired::{PortPlan, ServicePlan},
    model::{Announce, Service},
};

use super::{announced_to, is_applied};
use crate::{
    api::rows::{Answer, ExplainRow, Step},
    engine::state::View,
};

/// What becomes of a Service (`namespace/name`) or of every Service on a VIP.
#[must_use]
pub fn explain(view: &View, subject: &str) -> Answer<ExplainRow> {
    let rows = match subject.parse::<IpAddr>() {
        Ok(vip) => of_vip(view, vip),
        Err(_) => of_service(view, subject),
    };
    super::answer(view, rows)
}

fn of_vip(view: &View, vip: IpAddr) -> Vec<ExplainRow> {
    let plans = view.desired.services.values();
    let on_it = plans.filter(|plan| plan.service.vips.contains(&vip));
    let rows: Vec<_> = on_it
        .flat_map(|plan| of_service(view, &plan.service.name))
        .collect();
    if !rows.is_empty() {
        return rows;
    }
    let sentence = match view.desired.leaving.contains_key(&vip) {
        true => "it is no VIP any more; forwarding goes on until the routers have forgotten it",
        false => "no Service that this node serves has it: see the Service's status",
    };
    vec![row(
        &vip.to_string(),
        vec![step("VIP", sentence.to_owned())],
    )]
}

fn of_service(view: &View, name: &str) -> Vec<ExplainRow> {
    let mut steps = Vec::new();
    let notes = view.told.notes.get(name).into_iter().flatten();
    steps.extend(notes.map(|note| step("Kubernetes", note.clone())));
    let Some(plan) = view.desired.services.get(name) else {
        if steps.is_empty() {
            let sentence = "this node knows no Service of this name that is of type LoadBalancer";
            steps.push(step("Service", sentence.to_owned()));
        }
        return vec![row(name, steps)];
    };
    steps.push(step("Service", summary(&plan.service)));
    steps.extend(plan.ports.iter().map(|port| of_port(view, port)));
    steps.extend(of_endpoints(plan));
    for vip in &plan.service.vips {
        steps.extend(of_announcement(view, *vip));
    }
    if let Some(own) = view
        .desired
        .cluster
        .as_ref()
        .and_then(|cluster| cluster.own())
        && let Some(unfit) = own.unfit
    {
        steps.push(step("node", format!("no next hop for others: {unfit}")));
    }
    vec![row(name, steps)]
}

fn summary(service: &Service) -> String {
    let vips: Vec<_> = service.vips.iter().map(ToString::to_string).collect();
    let by = match service.announce {
        Announce::Nobody => "nobody is told".to_owned(),
        by => format!("announced by {by}"),
    };
    format!(
        "VIPs {}; {by}; externalTrafficPolicy {:?}",
        vips.join(", "),
        service.traffic_policy
    )
}

fn of_port(view: &View, port: &PortPlan) -> Step {
    let applied = match is_applied(view, port) {
        true => "the data path has it",
        false => "the data path does not have it yet",
    };
    let used = port.targets.len();
    step(
        "data path",
        format!(
            "{}: {used} endpoints get new connections; {applied}",
            port.port
        ),
    )
}

fn of_endpoints(plan: &ServicePlan) -> impl Iterator<Item = Step> {
    plan.reasons.iter().map(|reason| {
        let (protocol, port) = reason.port;
        step(
            "endpoint",
            format!(
                "{} for {port}/{protocol}: {}",
                reason.address, reason.verdict
            ),
        )
    })
}

fn of_announcement(view: &View, vip: IpAddr) -> Vec<Step> {
    let Some(plan) = view.desired.vips.get(&vip) else {
        return Vec::new();
    };
    let mut steps = vec![step("VIP", format!("{vip}: {}", plan.reason))];
    let failed = plan.failed.iter();
    steps.extend(failed.map(|(port, why)| step("data path", format!("{port}: {why}"))));
    if !plan.is_announced() {
        return steps;
    }
    let told = announced_to(view, vip);
    if !told.is_empty() {
        steps.push(step("announced", format!("{vip} to {}", told.join(", "))));
    } else if plan.announcer == Announce::Bgp {
        let unheard = super::bgp::unheard(view, vip);
        steps.extend(
            unheard
                .into_iter()
                .map(|why| step("announced", format!("{vip} to nobody: {why}"))),
        );
    }
    steps
}

fn row(subject: &str, steps: Vec<Step>) -> ExplainRow {
    ExplainRow {
        subject: subject.to_owned(),
        steps,
    }
}

fn step(part: &str, sentence: String) -> Step {
    Step {
        part: part.to_owned(),
        sentence,
    }
}

#[cfg(test)]
mod tests;
