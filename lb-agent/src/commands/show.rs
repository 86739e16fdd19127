//! `show`: asks the running agent, or for `maps` and `flows` the kernel, and prints a table or JSON.

use std::{path::Path, time::SystemTime};

use lb_core::model::Protocol;
use lb_datapath::FlowTable;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    api::{
        client,
        rows::{Answer, MapRow},
    },
    cli::{FlowArgs, FlowProtocol, OutputFormat, ShowArgs, ShowPart, ShowWhat},
    failure::Failure,
    flows::{self, Filter, FlowsAnswer},
    show,
};

/// Flows that are shown unless more are asked for.
const FLOWS_SHOWN: usize = 100;

/// Runs the command.
///
/// # Errors
/// If no agent answers; for `maps`, if nothing is pinned.
pub fn show(args: &ShowArgs) -> Result<(), Failure> {
    if args.what != ShowWhat::Flows && args.flows != FlowArgs::default() {
        let sentence = "filters and --limit are for `show flows`";
        return Err(Failure::Failed(sentence.to_owned()));
    }
    let now = SystemTime::now();
    if args.part.is_some() && args.what != ShowWhat::Bgp {
        let message = "`routes` and `tcp` are parts of `show bgp`".to_owned();
        return Err(Failure::Failed(message));
    }
    let text = match args.what {
        ShowWhat::Services => services(args),
        ShowWhat::Endpoints => asked(args, "/v1/endpoints", |answer| show::endpoints(answer, now)),
        ShowWhat::Nodes => asked(args, "/v1/nodes", show::nodes),
        ShowWhat::Uplinks => asked(args, "/v1/uplinks", show::uplinks),
        ShowWhat::Bgp => bgp(args, now),
        ShowWhat::Flows => {
            let flows = flows(args)?;
            printed(args, &flows, show::flows)
        }
        ShowWhat::Maps => {
            let maps = maps(&args.pin_dir)?;
            printed(args, &maps, |maps| show::maps(maps, &args.pin_dir))
        }
    }?;
    super::print(&text)
}

/// The table has what became of all packets below it; for programs that is an answer of its own.
fn services(args: &ShowArgs) -> Result<String, Failure> {
    let services = asked(args, "/v1/services", show::services)?;
    if args.output == OutputFormat::Json {
        return Ok(services);
    }
    Ok(services + &asked(args, "/v1/verdicts", show::verdicts)?)
}

/// The table has what the kernel dropped below it; for programs that is an answer of its own.
fn bgp(args: &ShowArgs, now: SystemTime) -> Result<String, Failure> {
    match args.part {
        Some(ShowPart::Routes) => asked(args, "/v1/bgp/routes", show::bgp::routes),
        Some(ShowPart::Tcp) => asked(args, "/v1/bgp/tcp", show::bgp::tcp),
        None => {
            let sessions = asked(args, "/v1/bgp", |answer| show::bgp::sessions(answer, now))?;
            if args.output == OutputFormat::Json {
                return Ok(sessions);
            }
            Ok(sessions + &asked(args, "/v1/bgp/tcp", show::bgp::tcp)?)
        }
    }
}

fn asked<Row>(
    args: &ShowArgs,
    path: &str,
    table: impl Fn(&Answer<Row>) -> String,
) -> Result<String, Failure>
where
    Row: Serialize + DeserializeOwned,
{
    let answer = client::get(&args.socket, path).map_err(|error| Failure::from_error(&error))?;
    printed(args, &answer, table)
}

fn printed<T: Serialize>(
    args: &ShowArgs,
    value: &T,
    table: impl Fn(&T) -> String,
) -> Result<String, Failure> {
    match args.output {
        OutputFormat::Table => Ok(table(value)),
        OutputFormat::Json => {
            let json =
                serde_json::to_string_pretty(value).map_err(|error| Failure::from_error(&error))?;
            Ok(json + "\n")
        }
    }
}

fn flows(args: &ShowArgs) -> Result<FlowsAnswer, Failure> {
    let table = FlowTable::open(&args.pin_dir).map_err(|error| Failure::from_error(&error))?;
    let wanted = &args.flows;
    let filter = Filter {
        client: wanted.client,
        vip: wanted.vip,
        port: wanted.port,
        protocol: wanted.protocol.map(|protocol| match protocol {
            FlowProtocol::Tcp => Protocol::Tcp,
            FlowProtocol::Udp => Protocol::Udp,
        }),
        endpoint: wanted.endpoint,
        state: wanted.state,
    };
    let limit = wanted.limit.unwrap_or(FLOWS_SHOWN);
    Ok(flows::answer(table.live(), &filter, limit))
}

fn maps(pin_dir: &Path) -> Result<Vec<MapRow>, Failure> {
    let maps = lb_datapath::show_maps(pin_dir).map_err(|error| Failure::from_error(&error))?;
    Ok(maps.into_iter().map(MapRow::from).collect())
}
