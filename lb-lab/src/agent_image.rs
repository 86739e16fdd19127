//! The product's image: one static program and nothing else, no shell, no library, no file that anybody can write to.
//! `cargo xtask image` builds the program and writes the archive; clusters of tests import it.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::oci::{Image, ImageFile};

/// The name that the chart looks for. No registry has it, so nobody else's is pulled by mistake.
const REPOSITORY: &str = "localhost/fairlead";
/// Below the target folder.
const ARCHIVE: &str = "image/fairlead.tar";

/// Writes the image of an agent; the digest of its manifest.
///
/// # Errors
/// A file cannot be read or written.
pub fn write_agent_image(agent: &Path, archive: &Path) -> Result<String> {
    let version = env!("CARGO_PKG_VERSION");
    let label =
        |name: &str, value: &str| (format!("org.opencontainers.image.{name}"), value.to_owned());
    let image = Image {
        name: format!("{REPOSITORY}:{version}"),
        entrypoint: vec!["/usr/bin/lb-agent".to_owned()],
        user: "0:0".to_owned(),
        files: vec![ImageFile::program("usr/bin/lb-agent", agent)],
        labels: vec![
            label("title", "Fairlead"),
            label("version", version),
            label("licenses", env!("CARGO_PKG_LICENSE")),
        ],
        ..Image::default()
    };
    image.write(archive)
}

/// Where `cargo xtask image` has put the archive: in the target folder of the running executable.
///
/// # Errors
/// It is not there.
pub fn agent_image() -> Result<PathBuf> {
    let executable = env::current_exe()?;
    let found = executable
        .ancestors()
        .map(|folder| folder.join(ARCHIVE))
        .find(|path| path.is_file());
    found.context("there is no image: run `cargo xtask image`")
}
