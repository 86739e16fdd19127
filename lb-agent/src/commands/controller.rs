//! `controller`: gives addresses to Services, until it is told to stop. `reassign`: asks for another address for one.

use std::{
    io,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use lb_kube::{
    client,
    controller::{self, Figures},
};
use tokio::{
    runtime::{Builder, Runtime},
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use crate::{
    api::{self, http},
    cli::controller::{ControllerArgs, ReassignArgs},
    failure::Failure,
    logging,
};

/// Runs the controller.
///
/// # Errors
/// If nothing says where the API server is. That it does not answer is none: it is asked again.
pub fn controller(args: &ControllerArgs) -> Result<(), Failure> {
    logging::init(args.log_format);
    runtime()?.block_on(async {
        let connected = client::client(args.kubeconfig.as_deref()).await;
        let (client, namespace) = connected.map_err(|error| Failure::from_error(&error))?;
        let options = args.options(namespace, identity());
        let stop = stop().map_err(|error| Failure::from_error(&error))?;
        tracing::info!(identity = options.identity, "starting");
        let (figures, told) = watch::channel(Figures::default());
        let answers = args.http.map(|address| {
            let probed = Arc::new(api::controller::Controller { figures: told });
            tokio::spawn(http::serve(address, probed))
        });
        controller::run(client, options, stop, figures).await;
        if let Some(answers) = answers {
            answers.abort();
        }
        Ok(())
    })
}

/// Has a Service leave its addresses.
///
/// # Errors
/// If there is no such Service, or it may not be changed.
pub fn reassign(args: &ReassignArgs) -> Result<(), Failure> {
    runtime()?.block_on(async {
        let connected = client::client(args.kubeconfig.as_deref()).await;
        let (client, _) = connected.map_err(|error| Failure::from_error(&error))?;
        let asked = controller::reassign(client, &args.service).await;
        let addresses = asked.map_err(|error| Failure::from_error(&error))?;
        let service = &args.service;
        super::print(&format!(
            "{service}: leaves {addresses} as soon as another address is free; `kubectl describe service` says how far it is\n"
        ))
    })
}

pub(super) fn runtime() -> Result<Runtime, Failure> {
    let mut builder = Builder::new_multi_thread();
    let built = builder.worker_threads(2).enable_all().build();
    built.map_err(|error| Failure::from_error(&error))
}

/// Unlike every other process's, also of one that had this pod's name before.
fn identity() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    format!(
        "{}_{}_{}",
        host.trim(),
        std::process::id(),
        since.as_micros()
    )
}

/// Becomes true on SIGTERM or SIGINT.
fn stop() -> io::Result<watch::Receiver<bool>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        sender.send_replace(true);
    });
    Ok(receiver)
}
