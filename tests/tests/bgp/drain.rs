//! A node is taken out of service by command, step by step as its router sees it, and stays out over restarts of its agent
//! until it is taken back. What clients notice of it is in `loss`.

use anyhow::{Result, ensure};
use lb_lab::{
    Agent, AgentOptions, Lab, NODE_BGP_PORT, Neighbour, Profile, ROUTER_ASN, ReceivedRoute, Router,
};
use serde_json::Value;

use crate::cells::{SESSION_LIMIT, SOON, prefixes};

#[test]
fn marks_withdraws_and_ends_the_session_until_it_is_undone() -> Result<()> {
    let lab = Lab::build(&Profile::default())?;
    let mut bird = lab.start_bird_with(&[Neighbour::of(lab.node(1))])?;
    let bgp = format!(
        "  asn: 65000
  listenPort: {NODE_BGP_PORT}
  gracefulShutdownTime: 3s
  peers:
    - {{address: {}, asn: {ROUTER_ASN}, holdTime: 9s}}
",
        lab.node(1).router().v4
    );
    let yaml = lab.agent_configuration_with(1, &bgp, &lab.web_service("web", 1));
    let mut agent = lab.start_agent(1, &yaml, &AgentOptions::default())?;
    let router: &mut dyn Router = &mut bird;
    has_routes(&lab, router, "in service", |route| !is_marked(route))?;

    let elsewhere = agent.drain(&["node2"]).expect_err("another node");
    ensure!(
        elsewhere.to_string().contains("is another node"),
        "{elsewhere}"
    );
    agent.drain(&["node1", "--flows-wait", "0"])?;
    has_routes(&lab, router, "GRACEFUL_SHUTDOWN", is_marked)?;
    says(&mut agent, "routes are marked")?;
    // The session outlives the routes: it says Hard Reset when it ends.
    for prefix in prefixes(1) {
        let from = (lab.node(1).addresses().v4.into(), prefix);
        router.wait_routes(SOON, from, "withdrawn", <[_]>::is_empty)?;
    }
    ensure!(
        router.established()?.len() == 1,
        "the session ended too early"
    );
    is_out_of_service(router, &mut agent)?;
    let log = std::fs::read_to_string(router.process().log())?;
    ensure!(log.contains("Received: Unknown error 6.9: 0602"), "{log}");

    agent.process().kill()?;
    agent.restart()?;
    is_out_of_service(router, &mut agent)?;

    agent.drain(&["--undo"])?;
    has_routes(&lab, router, "back in service", |route| !is_marked(route))?;
    let shown = agent.show("bgp")?;
    ensure!(
        shown["warnings"].as_array().is_some_and(Vec::is_empty),
        "{shown}"
    );
    Ok(())
}

fn has_routes(
    lab: &Lab,
    router: &mut dyn Router,
    what: &str,
    check: impl Fn(&ReceivedRoute) -> bool,
) -> Result<()> {
    for prefix in prefixes(1) {
        let from = (lab.node(1).addresses().v4.into(), prefix);
        let is_it = |routes: &[ReceivedRoute]| matches!(routes, [route] if check(route));
        router.wait_routes(SESSION_LIMIT, from, what, is_it)?;
    }
    Ok(())
}

fn is_marked(route: &ReceivedRoute) -> bool {
    route.communities.contains("65535:0")
}

fn is_out_of_service(router: &mut dyn Router, agent: &mut Agent) -> Result<()> {
    says(agent, "out of service")?;
    router.wait_established(SOON, &[])?;
    ensure!(router.routes()?.is_empty(), "{:?}", router.routes()?);
    Ok(())
}

/// Waits until `show bgp` warns so.
fn says(agent: &mut Agent, words: &str) -> Result<()> {
    let warns = |shown: &Value| shown["warnings"].to_string().contains(words);
    agent.wait_for(SESSION_LIMIT, "bgp", words, warns).map(drop)
}
