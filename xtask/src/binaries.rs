//! The sub-commands that build a binary of this workspace and then become it: the demo and the lab, the
//! agent that loads once, the benchmarks. What they do is theirs; here is only how each is started.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::Context;

use crate::preflight::{self, Install, Purpose};
use crate::{privilege, process, workspace};

/// `lb-lab demo`: the whole path from a YAML file to a pod behind a real router, step by step.
pub(crate) fn demo(keep: bool, install: Install) -> anyhow::Result<ExitCode> {
    let keep: &[&str] = if keep { &["--keep"] } else { &[] };
    lab(&[&["demo"], keep].concat(), install)
}

/// `lb-lab ARGUMENTS`, which finds the agent beside itself.
pub(crate) fn lab(arguments: &[&str], install: Install) -> anyhow::Result<ExitCode> {
    preflight::prepare(Purpose::Run, install)?;
    let program = build(&["-p", "lb-agent", "-p", "lb-lab"], "debug", "lb-lab")?;
    let arguments: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
    become_root(&program, &arguments)
}

/// `lb-lab cluster ACTION`; what a cluster is made of is built first, as the user.
pub(crate) fn cluster(action: &str, options: &[String]) -> anyhow::Result<ExitCode> {
    preflight::prepare(Purpose::Test, Install::Yes)?;
    let program = build(&["-p", "lb-lab"], "debug", "lb-lab")?;
    if action == "up" {
        process::run(Command::new(&program).arg("build-kubernetes"))?;
    }
    let options = options.iter().map(String::as_str);
    let arguments = ["cluster", action].into_iter().chain(options);
    let arguments: Vec<&OsStr> = arguments.map(OsStr::new).collect();
    become_root(&program, &arguments)
}

/// `lb-agent run --once`: loads, attaches, pins and goes.
pub(crate) fn load(config: &Path) -> anyhow::Result<ExitCode> {
    let config = config
        .canonicalize()
        .with_context(|| format!("cannot open {}", config.display()))?;
    agent(&[
        "run".as_ref(),
        "--once".as_ref(),
        "--config".as_ref(),
        config.as_os_str(),
    ])
}

/// `lb-agent cleanup`: takes away what `load` left.
pub(crate) fn unload() -> anyhow::Result<ExitCode> {
    agent(&["cleanup".as_ref()])
}

/// The container image: the agent, linked with musl so that it needs no library, and nothing else. Paths of this machine
/// are kept out of it, so that another one builds the same bytes.
pub(crate) fn image() -> anyhow::Result<()> {
    let folder = workspace::target_dir().join("image");
    std::fs::create_dir_all(&folder)?;
    let home = std::env::var("HOME").unwrap_or_default();
    let root = workspace::root().display();
    let remap = format!("--remap-path-prefix={root}=fairlead --remap-path-prefix={home}=.");
    let mut command = workspace::cargo();
    command.env("RUSTFLAGS", remap);
    command.args([
        "build",
        "--release",
        "--config",
        "profile.release.strip=true",
    ]);
    command.args(["--target", MUSL_TARGET, "-p", "lb-agent"]);
    process::run(&mut command)?;
    let agent = workspace::target_dir()
        .join(MUSL_TARGET)
        .join("release/lb-agent");
    let program = build(&["-p", "lb-lab"], "debug", "lb-lab")?;
    let mut command = Command::new(program);
    command.arg("image").arg("--agent").arg(agent);
    command.arg("--output").arg(folder.join("fairlead.tar"));
    process::run(&mut command)
}

/// What the image's program is built for.
const MUSL_TARGET: &str = "x86_64-unknown-linux-musl";

/// The manifests of `deploy/chart` that are made from the Rust types, and the chart as it renders by default.
pub(crate) fn manifests() -> anyhow::Result<ExitCode> {
    let folder = workspace::root().join("deploy/chart/files/crds");
    let mut command = workspace::cargo();
    command.args(["run", "--quiet", "--package", "lb-kube"]);
    command.args(["--example", "manifests", "--"]).arg(folder);
    process::run(&mut command)?;
    let program = build(&["-p", "lb-lab"], "debug", "lb-lab")?;
    process::run(Command::new(&program).arg("build-kubernetes"))?;
    let rendered = workspace::root().join("deploy/manifests/fairlead.yaml");
    process::run(Command::new(&program).arg("render-chart").arg(rendered))?;
    Ok(ExitCode::SUCCESS)
}

/// The benchmark `name`, in release.
pub(crate) fn bench(name: &str, json: Option<&Path>) -> anyhow::Result<ExitCode> {
    preflight::prepare(Purpose::Run, Install::Yes)?;
    let json = json.map(std::path::absolute).transpose()?;
    if name == "kube" {
        let program = build(&["-p", "lb-lab"], "debug", "lb-lab")?;
        process::run(Command::new(program).arg("build-kubernetes"))?;
    }
    // Of the benchmarks with a lab, the agent beside them is measured.
    let program = build(
        &[
            "--release",
            "-p",
            "fairlead-benches",
            "-p",
            "lb-agent",
            "--bin",
            name,
            "--bin",
            "lb-agent",
        ],
        "release",
        name,
    )?;
    let mut arguments = Vec::new();
    if let Some(file) = &json {
        arguments.extend([OsStr::new("--json"), file.as_os_str()]);
    }
    become_root(&program, &arguments)
}

fn agent(arguments: &[&OsStr]) -> anyhow::Result<ExitCode> {
    preflight::prepare(Purpose::Run, Install::Yes)?;
    let program = build(&["-p", "lb-agent"], "debug", "lb-agent")?;
    become_root(&program, arguments)
}

fn build(arguments: &[&str], profile: &str, program: &str) -> anyhow::Result<PathBuf> {
    println!("xtask: building {program}");
    process::run(workspace::cargo().arg("build").args(arguments))?;
    Ok(workspace::target_dir().join(profile).join(program))
}

fn become_root(program: &Path, arguments: &[&OsStr]) -> anyhow::Result<ExitCode> {
    let artifacts = workspace::artifacts_dir();
    let environment = [("FAIRLEAD_ARTIFACTS", artifacts.as_os_str())];
    process::become_it(privilege::raised(program, &environment).args(arguments))
}
