//! Pages of the manual whose commands are run as they are printed: by sections, each once, in the shell of a cluster in
//! which a checkout seems to be.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use lb_lab::Cluster;

/// The commands of a page that were not run yet, by heading.
pub(crate) struct Page {
    sections: BTreeMap<String, String>,
}

impl Page {
    /// Reads a page of `docs/`.
    pub(crate) fn read(name: &str) -> Result<Self> {
        let file = root()?.join("docs").join(name);
        let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        Ok(Self {
            sections: commands_by_section(&text),
        })
    }

    /// The commands of a section.
    pub(crate) fn section(&mut self, heading: &str) -> Result<String> {
        let commands = self.sections.remove(heading);
        commands.with_context(|| format!("the page has no commands below `{heading}`"))
    }

    /// That nothing of the page was left out.
    pub(crate) fn was_run(&self) -> Result<()> {
        let left: Vec<_> = self.sections.keys().collect();
        ensure!(left.is_empty(), "not run: {left:?}");
        Ok(())
    }
}

/// Lets the commands of pages find what they name by its place in a checkout.
pub(crate) fn check_out(cluster: &Cluster) -> Result<()> {
    let root = root()?;
    fs::create_dir_all(cluster.folder().join("tests"))?;
    for part in ["deploy", "tests/manuals"] {
        symlink(root.join(part), cluster.folder().join(part))?;
    }
    Ok(())
}

fn root() -> Result<PathBuf> {
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    Ok(above.canonicalize()?)
}

/// The blocks of shell commands below each heading of the second level.
fn commands_by_section(page: &str) -> BTreeMap<String, String> {
    let mut sections = BTreeMap::new();
    for section in page.split("\n## ").skip(1) {
        let heading = section.lines().next().unwrap_or_default().to_owned();
        let blocks = section.split("```sh\n").skip(1);
        let commands: String = blocks
            .filter_map(|block| block.split("```").next())
            .collect();
        if !commands.is_empty() {
            sections.insert(heading, commands);
        }
    }
    sections
}
