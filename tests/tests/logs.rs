//! What an agent logs for programs: one JSON object a line, whatever happens to it. Needs root.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use fairlead_tests::steered::SOON;
use lb_lab::{AgentOptions, Lab, Profile};
use serde_json::Value;

#[test]
fn every_line_is_an_object_with_time_level_and_message() -> Result<()> {
    let lab = Lab::build(&Profile::default())?;
    let yaml = lab.agent_configuration(1, 9, &lab.web_service("web", 1));
    let options = AgentOptions {
        arguments: ["--log-format", "json"].map(str::to_owned).to_vec(),
        ..AgentOptions::default()
    };
    let mut agent = lab.start_agent(1, &yaml, &options)?;
    agent.wait_for(SOON, "services", "services are shown", |shown| {
        shown["rows"].as_array().is_some_and(|rows| rows.len() == 4)
    })?;
    // A refused edit, whose reason has several lines, is one object as well.
    agent.edit(&yaml.replacen("port: 80", "port: 80000", 1))?;
    agent.wait_for(SOON, "services", "the file is refused", |shown| {
        shown["warnings"]
            .as_array()
            .is_some_and(|all| all.len() == 1)
    })?;
    agent.terminate(SOON)?;

    let log = fs::read_to_string(lab.folder().join("agent-node1.log"))?;
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).with_context(|| format!("no JSON: {line}")))
        .collect::<Result<_>>()?;
    for line in &lines {
        let is_whole = ["timestamp", "level", "message"]
            .iter()
            .all(|field| line[field].is_string());
        ensure!(is_whole, "{line}");
    }
    let refused = |line: &&Value| line["level"] == "ERROR" && line.to_string().contains("65535");
    ensure!(lines.iter().any(|line| refused(&line)), "{log}");
    Ok(())
}
