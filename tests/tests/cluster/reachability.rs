//! Who reaches a VIP, and whom the pod sees: the client behind the router, a machine on the nodes' LAN, nodes with and
//! without a route to announce, and pods, by ping and by TCP, in both families and with either traffic policy. From the
//! outside it is our data path that answers, with the asker's own address; on nodes and in pods it is kube-proxy.

use std::{fmt::Write as _, net::IpAddr};

use anyhow::{Result, ensure};
use lb_lab::{ClusterOptions, Proxy, topology, wait_until};

use crate::installed::{Installed, SOON};

#[test]
#[ignore = "soak: a cluster of its own"]
fn everybody_reaches_a_vip_beside_nftables() -> Result<()> {
    everybody(Proxy::Nftables)
}

#[test]
#[ignore = "soak: a cluster of its own"]
fn everybody_reaches_a_vip_beside_iptables() -> Result<()> {
    everybody(Proxy::Iptables)
}

/// One pod on node 2 that answers, and one on every node that asks.
const PODS: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      nodeSelector: {kubernetes.io/hostname: node2}
      containers:
        - name: web
          image: AGNHOST
          args: [netexec, --http-port=8080, --udp-port=8080]
          readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: host}
spec:
  replicas: 1
  selector: {matchLabels: {app: host}}
  template:
    metadata: {labels: {app: host}}
    spec:
      hostNetwork: true
      nodeSelector: {kubernetes.io/hostname: node3}
      containers:
        - name: host
          image: AGNHOST
          args: [netexec, --http-port=8090, --udp-port=8090]
          readinessProbe: {httpGet: {path: /healthz, port: 8090}, periodSeconds: 1}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: ask}
spec:
  selector: {matchLabels: {app: ask}}
  template:
    metadata: {labels: {app: ask}}
    spec:
      containers: [{name: ask, image: AGNHOST, args: [pause]}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: LoadBalancer
  loadBalancerClass: fairlead.io/load-balancer
  ipFamilyPolicy: RequireDualStack
  selector: {app: web}
  ports:
    - {name: http, port: 80, targetPort: 8080}
    - {name: udp, protocol: UDP, port: 80, targetPort: 8080}
---
apiVersion: v1
kind: Service
metadata: {name: host}
spec:
  type: LoadBalancer
  loadBalancerClass: fairlead.io/load-balancer
  selector: {app: host}
  ports: [{port: 80, targetPort: 8090}]
";

/// Somebody who asks.
struct Asker {
    name: String,
    /// The words that run a command there.
    words: String,
    /// What a pod may see of a request: its own addresses, or where kube-proxy is between also its node's.
    seen_as: Vec<IpAddr>,
}

fn everybody(proxy: Proxy) -> Result<()> {
    let options = ClusterOptions {
        proxy: Some(proxy),
        ..ClusterOptions::default()
    };
    let (installed, _bird) = Installed::up(&options, "")?;
    let manifests = PODS.replace("AGNHOST", lb_lab::AGNHOST);
    installed.cluster.server().apply(&manifests)?;
    installed.shell(
        "for pods in deployment/web deployment/host daemonset/ask; do kubectl rollout status $pods --timeout=60s; done",
    )?;
    let vips = installed.vips("web")?;
    let askers = askers(&installed)?;
    let mut table = String::new();
    for (policy, announcing) in [("Cluster", &[1, 2, 3][..]), ("Local", &[2])] {
        let patch = format!("{{\"spec\": {{\"externalTrafficPolicy\": \"{policy}\"}}}}");
        installed
            .cluster
            .kubectl(&["patch", "service", "web", "--patch", &patch])?;
        for &vip in &vips {
            installed.wait_gateways(vip, announcing)?;
            for asker in &askers {
                let seen = asks(&installed, asker, vip)?;
                writeln!(
                    table,
                    "{policy:8} {:8} {vip:12} pinged, TCP as {seen}",
                    asker.name
                )?;
            }
        }
    }
    println!("beside {proxy:?}:\n{table}");
    hosts_pods_answer(&installed)?;
    only_ranges_get_in(&installed, vips[0])
}

/// Ping, then TCP; the address that the pod saw.
fn asks(installed: &Installed, asker: &Asker, vip: IpAddr) -> Result<IpAddr> {
    let Asker { name, words, .. } = asker;
    let host = match vip {
        IpAddr::V4(vip) => vip.to_string(),
        IpAddr::V6(vip) => format!("[{vip}]"),
    };
    let seen: IpAddr = wait_until(SOON, &format!("{name} reaches {vip}"), || {
        let said = installed.cluster.shell(&format!(
            "{words} busybox ping -c 1 -W 3 {vip} > /dev/null\n{words} curl -sS --max-time 5 http://{host}/clientip"
        ))?;
        let address: std::net::SocketAddr = said.trim().parse()?;
        Ok(Some(address.ip()))
    })?;
    ensure!(
        asker.seen_as.contains(&seen),
        "the pod saw {name} as {seen} and not {:?}",
        asker.seen_as
    );
    Ok(seen)
}

fn askers(installed: &Installed) -> Result<Vec<Asker>> {
    let lab = installed.cluster.lab();
    let mut askers = vec![
        Asker {
            name: "client".to_owned(),
            words: "client".to_owned(),
            seen_as: topology::client().both().to_vec(),
        },
        Asker {
            name: "LAN".to_owned(),
            words: String::new(),
            seen_as: topology::router(0).both().to_vec(),
        },
    ];
    let pods = installed.pods("app=ask")?;
    for node in lab.nodes() {
        let number = node.number();
        // The node's own, and its ends of the pods' links.
        let gateways = topology::pod_networks(number).map(|(network, _)| first(network));
        let of_node = [node.addresses().both(), gateways].concat();
        askers.push(Asker {
            name: node.name(),
            words: node.name(),
            seen_as: of_node.clone(),
        });
        for (pod, _) in pods.iter().filter(|(_, on)| **on == number) {
            let path = "jsonpath={.status.podIPs[*].ip}";
            let own = installed
                .cluster
                .kubectl(&["get", "pod", pod, "-o", path])?;
            let own = own.split_whitespace().map(str::parse);
            let own: Vec<IpAddr> = own.collect::<Result<_, _>>()?;
            askers.push(Asker {
                name: format!("pod on {number}"),
                words: installed.in_pod(pod, number)?,
                seen_as: [own, of_node.clone()].concat(),
            });
        }
    }
    Ok(askers)
}

/// The first address of a network, which the CNI gives to the node.
fn first(network: IpAddr) -> IpAddr {
    match network {
        IpAddr::V4(network) => IpAddr::V4((u32::from(network) + 1).into()),
        IpAddr::V6(network) => IpAddr::V6((u128::from(network) + 1).into()),
    }
}

/// A pod in its node's own network sees the client, too.
fn hosts_pods_answer(installed: &Installed) -> Result<()> {
    let vip = installed.vips("host")?[0];
    installed.wait_gateways(vip, &[1, 2, 3])?;
    let client = Asker {
        name: "client".to_owned(),
        words: "client".to_owned(),
        seen_as: topology::client().both().to_vec(),
    };
    asks(installed, &client, vip).map(drop)
}

fn only_ranges_get_in(installed: &Installed, vip: IpAddr) -> Result<()> {
    let allow = |range: &str| {
        let patch = format!("{{\"spec\": {{\"loadBalancerSourceRanges\": [\"{range}\"]}}}}");
        installed
            .cluster
            .kubectl(&["patch", "service", "web", "--patch", &patch])
    };
    let gets_in = || {
        let ask = format!("client curl -sS --max-time 1 http://{vip}/clientip");
        installed.cluster.shell(&ask).is_ok()
    };
    allow("203.0.113.0/24")?;
    wait_until(SOON, "the client is shut out", || {
        Ok((!gets_in()).then_some(()))
    })?;
    allow("198.51.100.0/24")?;
    wait_until(SOON, "the client gets in", || Ok(gets_in().then_some(())))
}
