//! Nodes as other software leaves them: conntrack drops what it calls INVALID, a CNI masquerades what leaves the pod
//! network, the reverse path filter is strict and FORWARD drops by policy. The agent says which rules are missing and
//! changes none. Needs root.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use fairlead_tests::{
    steered::{SILENCE, Steered},
    steering::{datagrams_are_answered, pods_answer_directly, requests_are_answered},
};
use lb_lab::{Lab, Profile, Request, agent_binary, output, pod_name, topology};

#[test]
fn a_hostile_node_is_understood_and_left_as_it_is() -> Result<()> {
    // What a node's firewall says before any agent was there.
    let untouched = rulesets(&Lab::build(&hostile())?)?;
    let steered = Steered::start(&hostile())?;
    for target in Steered::targets() {
        let request = Request {
            time_limit: SILENCE,
            ..Request::to(target)
        };
        let answered = steered.lab.client().http(&request).result;
        ensure!(
            answered.is_err(),
            "{target} answered through FORWARD policy DROP"
        );
    }
    for node in 1..=3 {
        missing_rules_are_named(&steered, node)?;
    }
    ensure!(
        rulesets(&steered.lab)? == untouched,
        "an agent changed firewall rules"
    );

    for node in steered.lab.nodes() {
        node.accept_forwarding()?;
    }
    let accepting = rulesets(&steered.lab)?;
    for target in Steered::targets() {
        requests_are_answered(&steered, target, 20_000..20_200)?;
        datagrams_are_answered(&steered, target, 20_000..20_040)?;
        pods_answer_directly(&steered, target, 21_000)?;
    }
    for node in 1..=3 {
        let said = check(&steered, node)?;
        ensure!(!said.contains("FORWARD"), "named what is there: {said}");
    }
    ensure!(
        rulesets(&steered.lab)? == accepting,
        "an agent changed firewall rules"
    );
    Ok(())
}

fn hostile() -> Profile {
    Profile {
        hostile: true,
        ..Profile::default()
    }
}

/// `check` names a command that adds the missing rule, for the pods of its node, to and from them, in both families.
fn missing_rules_are_named(steered: &Steered, node: u8) -> Result<()> {
    let said = check(steered, node)?;
    let sentences: Vec<_> = said
        .lines()
        .filter(|line| line.contains("FORWARD"))
        .collect();
    for (tool, pods) in [
        (
            ": iptables -I FORWARD",
            [1, 2].map(|pod| topology::pod(node, pod).v4.to_string()),
        ),
        (
            ": ip6tables -I FORWARD",
            [1, 2].map(|pod| topology::pod(node, pod).v6.to_string()),
        ),
    ] {
        for direction in ["-d", "-s"] {
            let names = |line: &&&str| {
                line.contains(&format!("{tool} {direction} "))
                    && line.ends_with("-j ACCEPT")
                    && pods.iter().all(|pod| line.contains(pod))
            };
            let named = sentences.iter().find(names);
            let pods = [1, 2].map(|pod| pod_name(node, pod));
            named.with_context(|| format!("no `{tool} {direction}` for {pods:?}: {said}"))?;
        }
    }
    Ok(())
}

/// What `lb-agent check` says on a node; the file itself is sound.
fn check(steered: &Steered, node: u8) -> Result<String> {
    let mut command = Command::new(agent_binary()?);
    let file = steered.agents[usize::from(node) - 1].config();
    command.arg("check").arg(file);
    output(steered.lab.node(node).namespace(), command)
}

/// The whole firewall of every node, as text.
fn rulesets(lab: &Lab) -> Result<Vec<String>> {
    let list = |node: lb_lab::Node<'_>| {
        let mut command = Command::new("nft");
        command.args(["list", "ruleset"]);
        output(node.namespace(), command)
    };
    lab.nodes().map(list).collect()
}
