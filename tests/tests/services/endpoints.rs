//! Endpoints that are not ready, terminate, are all gone, and come back: who gets new connections, what happens to those that
//! there are, and where a bound client goes.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use anyhow::{Context as _, Result, ensure};
use fairlead_tests::{
    steered::{ANSWER, Steered, node_of},
    steering::datagrams_are_answered,
};
use lb_lab::{Connection, Pod, Profile, Request, per_pod, vip};

use crate::{ECHO, HTTP, Service, answered, here, take};

const ENDING: &str = ", ready: false, serving: true, terminating: true";
const ENDED: &str = ", ready: false, serving: false, terminating: true";
const NOT_READY: &str = ", ready: false, serving: false, terminating: false";

/// Of connections that there are, those to a row that moves to another node end, whatever their pods: so far, a node asks
/// for its own flows first only where the policy is Local.
#[test]
fn endpoints_are_used_as_their_conditions_say() -> Result<()> {
    let mut steered = Steered::start_hostile(&Profile::default())?;
    new_connections_go_to_whom_they_may(&mut Web::new(&mut steered, "cluster", ""))?;
    let local = "externalTrafficPolicy: Local";
    open_connections_stay(&mut Web::new(&mut steered, "local", local))
}

fn new_connections_go_to_whom_they_may(web: &mut Web<'_>) -> Result<()> {
    web.become_all(6, |_| "")?;
    web.new_ones_go_to_all_but(&[])?;
    web.become_all(5, |pod| match pod {
        "pod1-1" => ENDING,
        _ => "",
    })?;
    web.new_ones_go_to_all_but(&["pod1-1"])?;
    web.become_all(4, |pod| match pod {
        "pod1-1" => ENDED,
        "pod2-1" => NOT_READY,
        _ => "",
    })?;
    web.new_ones_go_to_all_but(&["pod1-1", "pod2-1"])?;
    web.become_all(6, |_| ENDING)?;
    web.new_ones_go_to_all_but(&[])?;
    web.become_all(0, |_| ENDED)?;
    web.new_ones_are_refused()?;
    web.become_all(6, |_| "")?;
    web.new_ones_go_to_all_but(&[])
}

fn open_connections_stay(web: &mut Web<'_>) -> Result<()> {
    web.become_all(6, |_| "")?;
    let mut open = web.one_connection_to_each()?;
    let [target, _] = Steered::targets();
    let flows = web.datagrams_by_node1(target)?;
    web.become_all(5, |pod| match pod {
        "pod1-1" => ENDING,
        _ => "",
    })?;
    web.all_are_answered(&mut open)?;
    web.datagrams_have_moved(target, &flows)?;
    web.become_all(4, |pod| match pod {
        "pod1-1" => ENDED,
        "pod2-1" => NOT_READY,
        _ => "",
    })?;
    web.new_ones_go_to_all_but(&["pod1-1", "pod2-1"])?;
    web.all_are_answered(&mut open)
}

/// A Service whose endpoints become this and that.
struct Web<'a> {
    steered: &'a mut Steered,
    service: Service<'static>,
}

impl<'a> Web<'a> {
    fn new(steered: &'a mut Steered, name: &'static str, field: &'static str) -> Self {
        let service = Service {
            name,
            field,
            ports: &[HTTP, ECHO],
        };
        Self { steered, service }
    }

    /// Every agent gives new connections to so many of the endpoints, each of which has these fields.
    fn become_all(&mut self, used: u64, fields: impl Fn(&str) -> &'static str) -> Result<()> {
        let of_pod = |pod: &Pod| Some(format!("{}{}", here(pod), fields(pod.name())));
        let text = self.service.text(self.steered, of_pod);
        take(self.steered, &text, self.service.name, 4)?;
        self.steered.wait_used(used)
    }

    /// A connection to each pod, in both families, by the pod's own node: any other follows its table, which changes.
    fn one_connection_to_each(&self) -> Result<Vec<(String, Connection)>> {
        let mut open = Vec::new();
        for target in Steered::targets() {
            for node in 1..=3 {
                self.steered.enter_by(target.ip(), &[node])?;
                let mut pods = BTreeSet::new();
                for port in 20_000..20_200 {
                    let request = Request::to(target).from_port(port + 200 * u16::from(node));
                    let mut connection = self.steered.lab.client().open(&request)?;
                    let pod = connection.get(0)?.pod;
                    if node_of(&pod)? == node && pods.insert(pod.clone()) {
                        open.push((pod, connection));
                    }
                    if pods.len() == 2 {
                        break;
                    }
                }
                ensure!(pods.len() == 2, "by node{node} to {pods:?} only");
            }
            self.steered.enter_by(target.ip(), &[1, 2, 3])?;
        }
        Ok(open)
    }

    fn all_are_answered(&self, open: &mut [(String, Connection)]) -> Result<()> {
        for (pod, connection) in open {
            let vip = vip(1).like(connection.source().ip());
            self.steered.enter_by(vip, &[node_of(pod)?])?;
            let seen = connection
                .get(100)
                .with_context(|| format!("an open connection to {pod}"))?;
            ensure!(seen.pod == *pod, "was {pod}'s, is {}'s", seen.pod);
            self.steered.enter_by(vip, &[1, 2, 3])?;
        }
        Ok(())
    }

    fn new_ones_go_to_all_but(&self, without: &[&str]) -> Result<()> {
        for target in Steered::targets() {
            let pods = per_pod(&answered(self.steered, target, 30_000..30_200)?);
            let is_one = pods.keys().any(|pod| without.contains(&pod.as_str()));
            ensure!(
                pods.len() == 6 - without.len() && !is_one,
                "{target}, without {without:?}: {pods:?}"
            );
        }
        Ok(())
    }

    /// By port, the pods that datagrams reach.
    fn datagrams_by_node1(&self, target: SocketAddr) -> Result<BTreeMap<u16, String>> {
        self.steered.enter_by(target.ip(), &[1])?;
        let pods = datagrams_are_answered(self.steered, target, 23_000..23_060)?;
        self.steered.enter_by(target.ip(), &[1, 2, 3])?;
        Ok(pods)
    }

    /// Those of the first pod go to another with their next datagram; all others stay.
    fn datagrams_have_moved(
        &self,
        target: SocketAddr,
        flows: &BTreeMap<u16, String>,
    ) -> Result<()> {
        let now = self.datagrams_by_node1(target)?;
        for (port, pod) in flows {
            let has_moved = now[port] != *pod;
            ensure!(
                has_moved == (pod == "pod1-1"),
                "from port {port}: was {pod}'s, is {}'s",
                now[port]
            );
        }
        let moved = flows.values().filter(|pod| *pod == "pod1-1").count();
        ensure!(moved > 0, "no datagram went to pod1-1");
        Ok(())
    }

    /// As a host without a listener would, by each node.
    fn new_ones_are_refused(&self) -> Result<()> {
        for target in Steered::targets() {
            for node in 1..=3 {
                self.steered.enter_by(target.ip(), &[node])?;
                let counted = self.steered.verdict(node, "no-endpoint")?;
                let client = self.steered.lab.client();
                let by_tcp = client.http(&Request::to(target)).result.map(drop);
                let by_udp = client.udp(target, 24_000, 10, ANSWER).map(drop);
                for refused in [by_tcp, by_udp] {
                    let error = format!("{:#}", refused.expect_err("nobody serves it"));
                    ensure!(error.contains("refused"), "by node{node}: {error}");
                }
                self.steered
                    .wait_verdict(node, "no-endpoint", counted + 2)?;
            }
            self.steered.enter_by(target.ip(), &[1, 2, 3])?;
        }
        Ok(())
    }
}

#[test]
fn a_bound_client_stays_while_others_come_and_go() -> Result<()> {
    let mut steered = Steered::start_hostile(&Profile::default())?;
    let bound = Service {
        name: "bound",
        field: "sessionAffinity: ClientIP",
        ports: &[HTTP, ECHO],
    };
    let without = |steered: &mut Steered, gone: &[&str]| -> Result<()> {
        let is_there = |pod: &Pod| !gone.contains(&pod.name());
        let text = bound.text(steered, |pod| is_there(pod).then(|| here(pod)));
        take(steered, &text, bound.name, 4)?;
        steered.wait_used(6 - gone.len() as u64)
    };
    without(&mut steered, &[])?;
    for target in Steered::targets() {
        let own = its_pod(&steered, target)?;
        let all: Vec<String> = steered
            .lab
            .pods()
            .map(|pod| pod.name().to_owned())
            .collect();
        for other in all.iter().filter(|pod| **pod != own) {
            without(&mut steered, &[other])?;
            let now = its_pod(&steered, target)?;
            // So that it is seen when the next one is gone: there are five again then.
            without(&mut steered, &[])?;
            ensure!(
                now == own,
                "{target}: {own} is there, but without {other} it is {now}"
            );
        }
        without(&mut steered, &[&own])?;
        let next = its_pod(&steered, target)?;
        ensure!(next != own, "{target}: {own} is gone and still served");
        without(&mut steered, &[])?;
        its_pod(&steered, target)?;
    }
    Ok(())
}

/// The one pod that the client has, whatever its ports and by whatever node.
fn its_pod(steered: &Steered, target: SocketAddr) -> Result<String> {
    let mut pods = BTreeSet::new();
    for node in 1..=3 {
        steered.enter_by(target.ip(), &[node])?;
        let first = 27_000 + u16::from(node) * 100;
        pods.extend(per_pod(&answered(steered, target, first..first + 10)?).into_keys());
    }
    let pod = pods.pop_first().context("nobody answered")?;
    ensure!(
        pods.is_empty(),
        "{target}: one client at {pod} and {pods:?}"
    );
    Ok(pod)
}
