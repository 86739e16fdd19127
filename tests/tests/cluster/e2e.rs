//! Kubernetes' own end-to-end tests of load balancers (test/e2e/network, `[Feature:LoadBalancer]`), run from the client
//! behind the router against a cluster with Fairlead: three of them here, all in soak, beside either mode of kube-proxy.

use anyhow::{Context as _, Result, ensure};
use lb_lab::{ClusterOptions, Proxy, e2e_tests};

use crate::installed::Installed;

/// What names them all, and how many there are of this version.
const ALL: (&str, usize) = ("Feature:LoadBalancer", 17);
/// Three that take seconds.
const SAMPLE: (&str, usize) = (
    "Feature:LoadBalancer.*(cleanup finalizer|without NodePort|should work for type=LoadBalancer)",
    3,
);

#[test]
fn three_of_kubernetes_own_tests_pass() -> Result<()> {
    pass(Proxy::Nftables, SAMPLE)
}

#[test]
#[ignore = "soak: a quarter of an hour"]
fn all_of_kubernetes_own_tests_pass_beside_nftables() -> Result<()> {
    pass(Proxy::Nftables, ALL)
}

#[test]
#[ignore = "soak: a quarter of an hour"]
fn all_of_kubernetes_own_tests_pass_beside_iptables() -> Result<()> {
    pass(Proxy::Iptables, ALL)
}

fn pass(proxy: Proxy, (focus, count): (&str, usize)) -> Result<()> {
    let options = ClusterOptions {
        proxy: Some(proxy),
        dns: true,
        // One of the tests asks kube-proxy for the health of an IPv4 Service at every address of every node, and
        // kube-proxy answers at those of the Service's family.
        nodes_ipv6: false,
        ..ClusterOptions::default()
    };
    // The tests' Services name no class.
    let (installed, _bird) = Installed::up(&options, "--set defaultClass=true")?;
    installed.cluster.import_agnhost_for_e2e()?;
    let program = e2e_tests()?;
    let kubectl = installed.cluster.server().kubectl_program();
    let log = installed.cluster.folder().join("e2e.log");
    let run = format!(
        "client {} --kubeconfig=\"$KUBECONFIG\" --kubectl-path={} --provider=local --dump-logs-on-failure=false \
         --ginkgo.no-color --ginkgo.focus='{focus}' > {log} 2>&1 || {{ grep -A3 -F '[FAIL' {log}; tail -n 4 {log}; exit 1; }}
         tail -n 4 {log}",
        program.display(),
        kubectl.display(),
        log = log.display(),
    );
    let said = installed.shell(&run)?;
    println!("{said}");
    let passed = said.split(" Passed").next();
    let passed = passed.and_then(|text| text.rsplit(' ').next());
    let passed: usize = passed.context("no count of tests")?.parse()?;
    ensure!(
        passed == count,
        "{passed} of {count} ran and passed: {said}"
    );
    Ok(())
}
