//! `import`: reads another product's objects, from files or a live cluster, and prints what they come to here. It writes
//! nothing anywhere: a person reads the plan, and applies its objects.

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use lb_kube::{
    client,
    import::{Origin, load, plan},
};
use tokio::runtime::Builder;

use crate::{
    cli::import::{ImportArgs, ImportOrigin, ImportOutput},
    failure::Failure,
};

/// The standard input, as a file.
const STDIN: &str = "-";

/// Prints the plan, or its objects.
///
/// # Errors
/// If a file cannot be read or is not understood, or the API server does not answer.
pub fn import(args: &ImportArgs) -> Result<(), Failure> {
    let origin = match args.origin {
        ImportOrigin::Openelb => Origin::OpenElb,
        ImportOrigin::Metallb => Origin::MetalLb,
    };
    let objects = match args.file.is_empty() {
        true => live(args)?,
        false => of_files(&args.file)?,
    };
    let plan = plan(origin, &objects);
    let text = match args.output {
        ImportOutput::Plan => plan.to_string(),
        ImportOutput::Yaml => load::to_yaml(&plan.objects).map_err(failed)?,
    };
    super::print(&text)
}

fn of_files(files: &[PathBuf]) -> Result<Vec<serde_json::Value>, Failure> {
    let mut objects = Vec::new();
    for file in files {
        let wrong = |why: &dyn std::fmt::Display| {
            Failure::Failed(format!("cannot import {}: {why}", file.display()))
        };
        let text = read(file).map_err(|error| wrong(&error))?;
        objects.extend(load::objects(&text).map_err(|error| wrong(&error))?);
    }
    Ok(objects)
}

fn read(file: &Path) -> io::Result<String> {
    if file != Path::new(STDIN) {
        return fs::read_to_string(file);
    }
    let mut text = String::new();
    io::stdin().read_to_string(&mut text)?;
    Ok(text)
}

fn live(args: &ImportArgs) -> Result<Vec<serde_json::Value>, Failure> {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.map_err(failed)?.block_on(async {
        let connected = client::client(args.kubeconfig.as_deref()).await;
        let (client, _) = connected.map_err(failed)?;
        load::live(&client).await.map_err(failed)
    })
}

fn failed(error: impl std::error::Error + 'static) -> Failure {
    Failure::from_error(&error)
}
