//! One request to the kernel's configuration, and its acknowledgement.

use futures_util::StreamExt;
use netlink_packet_route::RouteNetlinkMessage;
use rtnetlink::{
    Handle,
    packet_core::{
        NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage,
        NetlinkPayload,
    },
};

/// What is to happen to the object of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Intent {
    /// It is made; one that is there is an error.
    Make,
    /// It is made, or changed.
    Put,
    /// It goes.
    Remove,
}

/// Why the kernel refused: what it says, and its number (errno(3)).
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) message: String,
    pub(crate) errno: Option<i32>,
}

/// Sends a request and waits for the kernel's word.
pub(crate) async fn acknowledged(
    handle: &Handle,
    request: RouteNetlinkMessage,
    intent: Intent,
) -> Result<(), Refusal> {
    let mut request = NetlinkMessage::from(request);
    request.header.flags = NLM_F_REQUEST
        | NLM_F_ACK
        | match intent {
            Intent::Make => NLM_F_CREATE | NLM_F_EXCL,
            Intent::Put => NLM_F_CREATE | NLM_F_REPLACE,
            Intent::Remove => 0,
        };
    let answers = handle.clone().request(request);
    let mut answers = answers.map_err(|error| Refusal {
        message: error.to_string(),
        errno: None,
    })?;
    while let Some(answer) = answers.next().await {
        if let NetlinkPayload::Error(error) = answer.payload
            && error.code.is_some()
        {
            let error = error.to_io();
            return Err(Refusal {
                message: error.to_string(),
                errno: error.raw_os_error(),
            });
        }
    }
    Ok(())
}
