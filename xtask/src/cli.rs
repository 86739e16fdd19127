//! The command line: which sub-commands there are and which module serves each. No work is done here.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::preflight::{self, Install, Purpose};
use crate::{binaries, process, test, tidy, workspace};

/// The whole command line, for `--help` and for parsing.
pub(crate) fn command() -> Command {
    Command::new("cargo xtask")
        .about("Builds, tests and shows Fairlead")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommands([
            Command::new("setup")
                .about("Checks this machine and installs what is missing")
                .arg(no_install()),
            Command::new("build").about("Builds the workspace, agent and BPF object"),
            Command::new("load")
                .about("Loads and attaches the data path for a file, pins it, and goes")
                .arg(file("config").required(true).help("the YAML file to load")),
            Command::new("unload").about("Removes everything that `load` left"),
            Command::new("demo")
                .about("Shows the whole path, from a YAML file to a pod behind a real router")
                .arg(flag("keep").help("leave the lab up at the end and print how to look around"))
                .arg(no_install()),
            Command::new("lab").about("Brings the demo's lab up and keeps it"),
            cluster(),
            Command::new("test")
                .about("Runs tidy, fmt, clippy and the tests")
                .arg(Arg::new("selection").value_name("TIER|FILTER").help(
                    "`unit`, `lab`, `cluster`, `kernels`, `soak`, a test binary, or a part of a test's name",
                ))
                .arg(
                    Arg::new("filter")
                        .value_name("FILTER")
                        .help("after `soak`: a part of a test's name"),
                ),
            Command::new("image")
                .about("Builds the container image, as an archive in the target folder"),
            Command::new("manifests")
                .about("Writes the Kubernetes manifests that are generated from the types"),
            Command::new("tidy").about("Checks the rules that no compiler knows"),
            bench(),
        ])
}

/// Runs the sub-command that was given.
pub(crate) fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let Some((name, given)) = matches.subcommand() else {
        unreachable!("clap requires a sub-command");
    };
    match name {
        "setup" => setup(install(given)),
        "build" => build(),
        "load" => binaries::load(path(given, "config").expect("clap requires it")),
        "unload" => binaries::unload(),
        "demo" => binaries::demo(given.get_flag("keep"), install(given)),
        "lab" => binaries::lab(&["up"], Install::Yes),
        "cluster" => {
            let (action, given) = given.subcommand().expect("clap requires it");
            let of = |name: &'static str| {
                let value = given.try_get_one::<String>(name).ok().flatten();
                value.map(|value| format!("--{name}={value}"))
            };
            let options: Vec<String> = ["proxy", "lans"].into_iter().filter_map(of).collect();
            binaries::cluster(action, &options)
        }
        "test" => test::run(word(given, "selection"), word(given, "filter")),
        "image" => {
            preflight::prepare(Purpose::Test, Install::Yes)?;
            binaries::image()?;
            Ok(ExitCode::SUCCESS)
        }
        "manifests" => binaries::manifests(),
        "tidy" => tidy::run().map(|()| ExitCode::SUCCESS),
        "bench" => {
            let (bench, given) = given.subcommand().expect("clap requires it");
            binaries::bench(bench, path(given, "json").map(PathBuf::as_path))
        }
        other => unreachable!("`{other}` is listed above and served nowhere"),
    }
}

fn cluster() -> Command {
    Command::new("cluster")
        .about("A real Kubernetes cluster of three nodes beside a router and a client")
        .subcommand_required(true)
        .subcommands([
            Command::new("up")
                .about("Brings it up and keeps it until Ctrl-C")
                .arg(
                    Arg::new("proxy")
                        .long("proxy")
                        .value_parser(["nftables", "iptables", "none"])
                        .default_value("nftables")
                        .help("the mode of kube-proxy"),
                )
                .arg(
                    Arg::new("lans")
                        .long("lans")
                        .value_parser(["1", "2"])
                        .default_value("1")
                        .help("how many LANs; with two, node3 has its own behind the router"),
                ),
            Command::new("down").about("Takes the newest one down"),
            Command::new("shell")
                .about("Opens a shell beside it: kubectl, helm, node1, client, birdc"),
        ])
}

fn bench() -> Command {
    Command::new("bench")
        .about("Measures, against a floor of the same run")
        .subcommand_required(true)
        .subcommand(
            Command::new("packet")
                .about("CPU time per packet of the XDP program")
                .arg(file("json").help("also write the rows to this file")),
        )
        .subcommand(
            Command::new("forward")
                .about("CPU time per packet of whole nodes, beside nftables and iptables")
                .arg(file("json").help("also write the rows to this file")),
        )
        .subcommand(
            Command::new("scrape")
                .about("What a scrape of the metrics of 10,000 services costs")
                .arg(file("json").help("also write the rows to this file")),
        )
        .subcommand(
            Command::new("kube")
                .about("From a change in a real API server to the data path, with 10,000 Services")
                .arg(file("json").help("also write the rows to this file")),
        )
        .subcommand(
            Command::new("bgp")
                .about("Announcing, beside BIRD and GoBGP")
                .arg(file("json").help("also write the rows to this file")),
        )
        .subcommand(
            Command::new("tables")
                .about("What tables cost and move beside Maglev, and planning at scale")
                .arg(file("json").help("also write the rows to this file")),
        )
}

fn setup(install: Install) -> anyhow::Result<ExitCode> {
    preflight::prepare(Purpose::Test, install)?;
    println!("xtask: everything is there");
    Ok(ExitCode::SUCCESS)
}

fn build() -> anyhow::Result<ExitCode> {
    preflight::prepare(Purpose::Build, Install::Yes)?;
    process::run(workspace::cargo().args(["build", "--workspace"]))?;
    Ok(ExitCode::SUCCESS)
}

fn flag(name: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue)
}

fn file(name: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
}

fn no_install() -> Arg {
    flag("no-install").help("print the commands that install what is missing, and stop")
}

fn install(given: &ArgMatches) -> Install {
    if given.get_flag("no-install") {
        Install::PrintCommands
    } else {
        Install::Yes
    }
}

fn word<'a>(given: &'a ArgMatches, name: &str) -> Option<&'a str> {
    given.get_one::<String>(name).map(String::as_str)
}

fn path<'a>(given: &'a ArgMatches, name: &str) -> Option<&'a PathBuf> {
    given.get_one(name)
}

#[cfg(test)]
mod tests;
