//! How large the data path's maps are made: `dataplane.servicePorts`, `.endpoints` and `.flows`. Their memory is taken
//! when the maps are made, so that nothing fails for want of it later; what does not fit then is left out and said.

use lb_common::{limits::Capacity, row::Shape};
use serde_saphyr::Spanned;

use super::{error::Problem, schema};

/// Service ids and row units are numbers of 16 bits, and a unit in eight is to spare.
const SERVICE_PORTS_MAX: u32 = 58_000;
/// The lines of an endpoint arena are numbers of 20 bits.
const ENDPOINTS_MAX: u32 = 1 << 21;
/// Some 3 GiB.
const FLOWS_MAX: u32 = 1 << 24;
/// Of so many established flows one embryonic one has room.
const FLOWS_PER_EMBRYONIC: u32 = 4;
/// Of so many service ports one may want a second unit of rows.
const PORTS_PER_SPARE_UNIT: u32 = 8;

/// The sizes that a file asks for.
pub(super) fn capacity(
    section: Option<&schema::Dataplane>,
    problems: &mut Vec<Problem>,
) -> Capacity {
    let default = Capacity::DEFAULT;
    let Some(section) = section else {
        return default;
    };
    let mut sized = |value: Option<&Spanned<u32>>, name: &str, least: u32, most: u32| {
        let value = value?;
        if !(least..=most).contains(&value.value) {
            let message = format!("it is a number from {least} to {most}");
            problems.push(Problem::at(value, format!("dataplane.{name}"), &message));
        }
        Some(value.value.clamp(least, most))
    };
    let ports = sized(
        section.service_ports.as_ref(),
        "servicePorts",
        16,
        SERVICE_PORTS_MAX,
    );
    let endpoints = sized(section.endpoints.as_ref(), "endpoints", 16, ENDPOINTS_MAX);
    let flows = sized(section.flows.as_ref(), "flows", 1024, FLOWS_MAX);
    let established = flows.map(u32::next_power_of_two);
    Capacity {
        services: ports.unwrap_or(default.services),
        row_units: ports.map_or(default.row_units, |ports| {
            // One service of the largest shape fits in any case.
            (ports + ports / PORTS_PER_SPARE_UNIT).max(Shape::Large.units())
        }),
        endpoints: endpoints.map_or(default.endpoints, |count| count.next_multiple_of(2)),
        established_flows: established.unwrap_or(default.established_flows),
        embryonic_flows: established
            .map_or(default.embryonic_flows, |flows| flows / FLOWS_PER_EMBRYONIC),
        ..default
    }
}
