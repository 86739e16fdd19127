use clap::{CommandFactory, Parser};

use lb_common::flow::State;
use lb_core::model::Prefix;

use super::{
    Cli, Command, DEFAULT_SOCKET, FlowArgs, FlowProtocol, LogFormat, OutputFormat, ShowWhat,
};

#[test]
fn the_definition_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn run_has_the_documented_defaults() {
    let cli = Cli::parse_from(["lb-agent", "run", "--config", "a.yaml"]);
    let Command::Run(args) = cli.command else {
        panic!("not run: {cli:?}")
    };
    assert_eq!(args.socket.to_str(), Some(DEFAULT_SOCKET));
    assert_eq!((args.once, args.log_format), (false, LogFormat::Text));
}

#[test]
fn drain_is_undone_at_once_and_waits_only_on_the_way_out() {
    let cli = Cli::parse_from(["lb-agent", "drain", "node1", "--wait"]);
    let Command::Drain(args) = cli.command else {
        panic!("not drain: {cli:?}")
    };
    assert_eq!((args.node.as_deref(), args.wait), (Some("node1"), true));
    assert_eq!((args.undo, args.flows_wait), (false, 60));
    assert!(Cli::try_parse_from(["lb-agent", "drain", "--undo", "--wait"]).is_err());
}

#[test]
fn show_takes_json() {
    let cli = Cli::parse_from(["lb-agent", "show", "bgp", "-o", "json"]);
    let Command::Show(args) = cli.command else {
        panic!("not show: {cli:?}")
    };
    assert_eq!(
        (args.what, args.output),
        (ShowWhat::Bgp, OutputFormat::Json)
    );
}

#[test]
fn show_flows_takes_filters() {
    let filters = [
        "--client",
        "10.0.0.0/24",
        "--state",
        "established",
        "--protocol",
        "udp",
    ];
    let words = ["lb-agent", "show", "flows"].into_iter().chain(filters);
    let Command::Show(args) = Cli::parse_from(words).command else {
        panic!("not show")
    };
    let client = Prefix::new("10.0.0.0".parse().unwrap(), 24);
    let wanted = FlowArgs {
        client,
        state: Some(State::Established),
        protocol: Some(FlowProtocol::Udp),
        ..FlowArgs::default()
    };
    assert_eq!((args.what, args.flows), (ShowWhat::Flows, wanted));
}

#[test]
fn nothing_is_guessed() {
    for wrong in [
        &["lb-agent"][..],
        &["lb-agent", "run"],
        &["lb-agent", "check"],
        &["lb-agent", "show", "flow"],
        &["lb-agent", "show", "flows", "--client", "10.0.0.1/24"],
        &["lb-agent", "show", "flows", "--client", "10.0.0.0/33"],
        &["lb-agent", "show", "flows", "--client", "10.0.0.0/"],
        &["lb-agent", "show", "flows", "--state", "free"],
        &["lb-agent", "run", "--config", "a", "--on-term", "stay"],
    ] {
        assert!(Cli::try_parse_from(wrong).is_err(), "{wrong:?} is taken");
    }
}
