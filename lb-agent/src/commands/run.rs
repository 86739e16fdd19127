//! `run`: everything that can be refused is refused before anything is touched, then the agent runs.

use std::{collections::BTreeSet, sync::Arc};

use lb_core::{Snapshot, config::Config, keys::ClusterKeys, probes, snapshot::DatapathFacts};
use tokio::runtime::{Builder, Runtime};

use crate::{
    agent::{self, ClusterSource, Setup},
    api::server::Socket,
    apply::{
        Executor, Maps as _,
        kernel::{Kernel, OpenError},
    },
    capabilities,
    cli::RunArgs,
    configuration::{self, Loaded},
    drain_mark::DrainMark,
    engine::state::State,
    failure::{Failure, chain},
    logging, once, recovered,
    sources::{Change, kubernetes},
    uplinks,
};

/// Async threads; what blocks has threads of its own.
const WORKER_THREADS: usize = 2;

/// Runs the command.
///
/// # Errors
/// If anything that the agent needs is missing, taken or wrong.
pub fn run(args: &RunArgs) -> Result<(), Failure> {
    logging::init(args.log_format);
    let runtime = runtime()?;
    let setup = set_up(args, &runtime)?;
    runtime.block_on(async {
        if args.once {
            once::run(setup).await
        } else {
            agent::run(setup).await
        }
    })
}

fn set_up(args: &RunArgs, runtime: &Runtime) -> Result<Setup<Kernel>, Failure> {
    let (config, cluster) = cluster(args, runtime)?;
    refuse_without_capabilities()?;
    let uplinks = uplinks::choose(&config.uplinks).map_err(failed)?;
    uplinks::check_layer2(config.layer2.as_deref(), &uplinks).map_err(failed)?;
    let keys = configuration::keys(&config).map_err(failed)?;
    let socket = Socket::bind(&args.socket).map_err(failed)?;
    let kernel = Kernel::open(&args.pin_dir, config.uplink_mode, config.capacity)
        .map_err(refused_by_kernel)?;
    tracing::info!(
        node = %config.node, uplinks = uplinks.join(","), pins = %args.pin_dir.display(),
        adopted = kernel.adopted(), "starting"
    );
    let (facts, adopted) = (kernel.facts(), kernel.adopted());
    let executor = Executor::new(kernel);
    let mut state = first_state(&config, keys, facts, adopted.then_some(&executor))?;
    if matches!(cluster, ClusterSource::Kubernetes(_)) {
        state = state.without_cluster();
    }
    let drain_mark = DrainMark::beside(&args.socket);
    if let Some(drain) = drain_mark.read().map_err(failed)? {
        tracing::warn!(
            mark = %drain_mark.path().display(),
            "this node is out of service: nothing is announced until `lb-agent drain --undo`"
        );
        state.take(Change::Drain(Some(drain)));
    }
    Ok(Setup {
        cluster,
        config,
        uplinks: uplinks.into_iter().map(Arc::from).collect(),
        state,
        executor,
        socket,
        http: args.http,
        drain_mark,
        on_term: args.on_term,
    })
}

/// The configuration, and who tells the rest.
fn cluster(args: &RunArgs, runtime: &Runtime) -> Result<(Config, ClusterSource), Failure> {
    if !args.kubernetes {
        let path = args.config.clone().unwrap_or_default();
        let Loaded { text, config } = configuration::load(&path).map_err(failed)?;
        return Ok((config, ClusterSource::File { path, text }));
    }
    let mut config = configuration::load_settings(args.config.as_deref()).map_err(failed)?;
    config.node = kubernetes::node_name(&args.cluster, &config);
    let source = runtime.block_on(kubernetes::connect(&args.cluster, &config));
    let source = Box::new(source.map_err(failed)?);
    Ok((config, ClusterSource::Kubernetes(source)))
}

/// What is known before any source has spoken: the file, and what adopted maps remember.
fn first_state(
    config: &Config,
    keys: Option<ClusterKeys>,
    facts: DatapathFacts,
    adopted: Option<&Executor<Kernel>>,
) -> Result<State, Failure> {
    let recovered = adopted.and_then(|executor| recovered::keys(executor.maps()));
    if keys.is_some() && recovered.is_some() && keys != recovered {
        tracing::warn!(
            "the cluster key is another one than before: every map is written anew, and flows move"
        );
    }
    let keys = match keys.or(recovered) {
        Some(keys) => keys,
        None => recovered::new_keys().map_err(failed)?,
    };
    let wanted = probes::wanted(&config.services);
    let down = adopted.map_or_else(BTreeSet::new, |executor| {
        recovered::found_down(executor.maps(), &wanted)
    });
    Ok(State::new(Snapshot::new(config, keys, facts), &down))
}

fn refuse_without_capabilities() -> Result<(), Failure> {
    let missing = capabilities::missing().map_err(failed)?;
    if missing.is_empty() {
        return Ok(());
    }
    let missing = missing.join(", ");
    Err(Failure::CannotRunHere(format!(
        "missing capabilities: {missing}; run as root, or grant them"
    )))
}

fn refused_by_kernel(error: OpenError) -> Failure {
    match &error {
        OpenError::Datapath(error) if error.is_not_permitted() => {
            Failure::CannotRunHere(chain(error))
        }
        _ => Failure::from_error(&error),
    }
}

fn runtime() -> Result<Runtime, Failure> {
    let mut builder = Builder::new_multi_thread();
    builder
        .worker_threads(WORKER_THREADS)
        .enable_all()
        .build()
        .map_err(failed)
}

fn failed(error: impl std::error::Error + 'static) -> Failure {
    Failure::from_error(&error)
}
