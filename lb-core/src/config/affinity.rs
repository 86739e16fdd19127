//! `sessionAffinity` with its `sessionAffinityConfig`, in Kubernetes' words and with its limits and default.

use std::time::Duration;

use lb_common::affinity::TIMEOUT_SECONDS_MAX;

use super::{error::Problem, schema};

/// Kubernetes' `DefaultClientIPServiceAffinitySeconds`: three hours.
const TIMEOUT_SECONDS_DEFAULT: u32 = 10_800;

/// How long a client keeps its endpoint; `None` without affinity.
pub(super) fn affinity(
    service: &schema::Service,
    path: &str,
    problems: &mut Vec<Problem>,
) -> Option<Duration> {
    let wanted = service
        .session_affinity
        .as_ref()
        .is_some_and(|word| word.value == "ClientIP");
    let config = service.session_affinity_config.as_ref();
    if let Some(config) = config.filter(|_| !wanted) {
        let message = "it means something only with `sessionAffinity: ClientIP`";
        let field = format!("{path}.sessionAffinityConfig");
        problems.push(Problem::at(config, field, message));
    }
    let client_ip = config.and_then(|config| config.value.client_ip.as_ref());
    let seconds = client_ip.and_then(|client_ip| client_ip.timeout_seconds.as_ref());
    if let Some(wrong) =
        seconds.filter(|seconds| !(1..=TIMEOUT_SECONDS_MAX).contains(&seconds.value))
    {
        let message = format!("a time-out is 1 to {TIMEOUT_SECONDS_MAX} seconds (a day)");
        let field = format!("{path}.sessionAffinityConfig.clientIP.timeoutSeconds");
        problems.push(Problem::at(wrong, field, &message));
    }
    let seconds = seconds.map_or(TIMEOUT_SECONDS_DEFAULT, |seconds| seconds.value);
    wanted.then(|| Duration::from_secs(seconds.into()))
}
