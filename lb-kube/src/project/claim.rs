//! Whose Service it is. A Service with a class belongs to whoever serves that class, whatever else it says
//! (KEP-1959); one without a class is ours if its annotation says so, in the spelling of either era of OpenELB,
//! or if we are the cluster's default. What is not ours is not looked at any further.

use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt;

/// `spec.loadBalancerClass` of our Services, unless the operator chose another.
pub const CLASS_DEFAULT: &str = "fairlead.io/load-balancer";
/// Annotation that claims a Service for OpenELB, or for PorterLB as it was called before.
pub const OPT_IN: &str = "lb.kubesphere.io/v1alpha1";
/// Values of [`OPT_IN`] that mean us.
pub const OPT_IN_VALUES: [&str; 2] = ["openelb", "porter"];

/// Which Services are ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassRules {
    /// Our class.
    pub class: String,
    /// Whether Services without class and annotation are ours as well.
    pub default_class: bool,
}

impl Default for ClassRules {
    fn default() -> Self {
        Self {
            class: CLASS_DEFAULT.to_owned(),
            default_class: false,
        }
    }
}

/// Whose a Service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Claim {
    /// Ours, and by what.
    Ours(ClaimedBy),
    /// It has a class that is not ours.
    OtherClass,
    /// It has no class, no annotation of ours, and we are not the default.
    Unclaimed,
    /// It is not of type `LoadBalancer`, or headless, which the API server does not let through.
    NotLoadBalancer,
}

impl Claim {
    /// Whether it is ours.
    #[must_use]
    pub const fn is_ours(self) -> bool {
        matches!(self, Self::Ours(_))
    }
}

/// What makes a Service ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum ClaimedBy {
    /// Its class.
    Class,
    /// Its annotation.
    Annotation,
    /// We are the default.
    Default,
}

/// Whose Service it is.
#[must_use]
pub fn claim(service: &Service, rules: &ClassRules) -> Claim {
    let Some(spec) = service.spec.as_ref() else {
        return Claim::NotLoadBalancer;
    };
    let is_headless = spec.cluster_ip.as_deref() == Some("None");
    if spec.type_.as_deref() != Some("LoadBalancer") || is_headless {
        return Claim::NotLoadBalancer;
    }
    if let Some(class) = &spec.load_balancer_class {
        return match *class == rules.class {
            true => Claim::Ours(ClaimedBy::Class),
            false => Claim::OtherClass,
        };
    }
    match service.annotations().get(OPT_IN) {
        Some(value) if OPT_IN_VALUES.contains(&value.trim()) => Claim::Ours(ClaimedBy::Annotation),
        _ if rules.default_class => Claim::Ours(ClaimedBy::Default),
        _ => Claim::Unclaimed,
    }
}
