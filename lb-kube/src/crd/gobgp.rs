//! What OpenELB passes through to GoBGP in two places: its graceful restart settings.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Graceful restart (RFC 4724) as GoBGP is configured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GracefulRestart {
    /// Whether routers keep our routes while an agent restarts. Not given: they do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Seconds for which they keep them, up to 4095. Not given, or 0: 120.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart_time: Option<i64>,
    /// Whether they keep them longer, as a last resort (RFC 9494).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub longlived_enabled: Option<bool>,
    /// Seconds for which they keep them as a last resort. Not given, or 0: 3600.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stale_routes_time: Option<i64>,
    /// Ignored: nothing is learnt from routers, so there is nothing to help with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub helper_only: Option<bool>,
    /// Ignored: nothing is learnt from routers, so no selection is deferred.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deferral_time: Option<i64>,
    /// Ignored: the notification extension (RFC 8538) is always offered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notification_enabled: Option<bool>,
    /// Ignored: state of GoBGP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_restart_time: Option<i64>,
    /// Ignored: state of GoBGP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_restarting: Option<bool>,
    /// Ignored: state of GoBGP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_restarting: Option<bool>,
    /// Ignored: state of GoBGP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
}
