//! The section `layer2`: on which uplinks this node answers for which VIPs. Ownership is static here; a VIP that is
//! nobody's, or that its Service announces otherwise, is refused.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use super::{error::Problem, names, schema};
use crate::model::{Announce, Layer2, Service};

pub(super) fn layer2(
    file: &schema::File,
    services: &[Arc<Service>],
    problems: &mut Vec<Problem>,
) -> Option<Layer2> {
    let section = &file.layer2.as_ref()?.value;
    Some(Layer2 {
        interfaces: interfaces(&section.interfaces, &file.node.uplinks, problems),
        owns: owns(&section.owns, services, problems),
    })
}

fn interfaces(
    interfaces: &[schema::Text],
    uplinks: &[schema::Text],
    problems: &mut Vec<Problem>,
) -> Vec<Arc<str>> {
    let mut seen = BTreeSet::new();
    for (index, text) in interfaces.iter().enumerate() {
        let name = &text.value;
        let is_uplink = uplinks.iter().any(|uplink| uplink.value == *name);
        let message = if !seen.insert(name) {
            format!("{name} is listed twice")
        } else if !uplinks.is_empty() && !is_uplink {
            format!("{name} is not among `node.uplinks`")
        } else {
            continue;
        };
        let field = format!("layer2.interfaces[{index}]");
        problems.push(Problem::at(text, field, &message));
    }
    let names = interfaces.iter().map(|text| text.value.as_str().into());
    names.collect()
}

fn owns(
    owns: &[schema::Text],
    services: &[Arc<Service>],
    problems: &mut Vec<Problem>,
) -> BTreeSet<IpAddr> {
    let vips = services.iter().flat_map(|service| {
        let of_service = |vip: &IpAddr| (*vip, service.announce);
        service.vips.iter().map(of_service)
    });
    let vips: BTreeMap<_, _> = vips.collect();
    let mut owned = BTreeSet::new();
    for (index, text) in owns.iter().enumerate() {
        let field = format!("layer2.owns[{index}]");
        let Some(vip) = names::address(text, &field, problems) else {
            continue;
        };
        let message = match vips.get(&vip) {
            None => format!("{vip} is no VIP of a Service"),
            Some(Announce::Layer2) if owned.insert(vip) => continue,
            Some(Announce::Layer2) => format!("{vip} is listed twice"),
            Some(_) => format!("the Service of {vip} does not say `announce: layer2`"),
        };
        problems.push(Problem::at(text, field, &message));
    }
    owned
}

#[cfg(test)]
mod tests;
