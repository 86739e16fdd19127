//! Packages of Debian's archive, unpacked into a folder and not installed, through apt with a configuration of its own:
//! own list of sources, own state and cache below `~/.cache/fairlead`; the host's apt is neither read nor changed. Needs
//! no root. A package that is not the pinned one is refused by its SHA-256; so an expired release file does no harm.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};

/// A pinned package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Package {
    pub(crate) suite: String,
    pub(crate) name: String,
    pub(crate) version: String,
    /// Lower-case hexadecimal.
    pub(crate) sha256: String,
}

/// The folder that packages lie unpacked in, below the cache's folder `kind`; fetched first if they are not there.
pub(crate) fn unpacked(kind: &str, name: &str, packages: &[Package]) -> Result<PathBuf> {
    let cache = cache_folder().join(kind);
    fs::create_dir_all(&cache).with_context(|| format!("creating {}", cache.display()))?;
    // One at a time: apt locks its folders anyway, and would fail instead of wait.
    let lock = File::create(cache.join("lock"))?;
    lock.lock()?;
    let folder = cache.join(cache_key(name, packages));
    if !folder.exists() {
        let fresh = cache.join("fresh");
        fetch(packages, &cache, &fresh)
            .with_context(|| format!("fetching {name} from Debian's archive"))?;
        fs::rename(&fresh, &folder)?;
    }
    Ok(folder)
}

/// Name of a folder that changes with every package.
pub(crate) fn cache_key(name: &str, packages: &[Package]) -> String {
    let parts: Vec<&str> = packages
        .iter()
        .map(|package| &package.sha256[..12])
        .collect();
    format!("{name}-{}", parts.join("-"))
}

fn cache_folder() -> PathBuf {
    let home = env::var_os("HOME").unwrap_or_else(|| "/root".into());
    Path::new(&home).join(".cache/fairlead")
}

fn fetch(packages: &[Package], cache: &Path, fresh: &Path) -> Result<()> {
    let apt = Apt::set_up(cache, packages)?;
    let debs = cache.join("debs");
    for folder in [fresh, &debs] {
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
        fs::create_dir_all(folder)?;
    }
    apt.run(&["update"], cache)?;
    for package in packages {
        println!("fetching {} {}", package.name, package.version);
        let wanted = format!("{}={}", package.name, package.version);
        apt.run(&["download", &wanted], &debs)?;
        let deb = only_file_starting(&debs, &package.name)?;
        verify(&deb, package)?;
        run(Command::new("dpkg-deb").arg("-x").arg(&deb).arg(fresh))?;
    }
    fs::remove_dir_all(&debs)?;
    Ok(())
}

fn verify(deb: &Path, package: &Package) -> Result<()> {
    let output = Command::new("sha256sum").arg(deb).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let found = text.split_whitespace().next().unwrap_or_default();
    ensure!(
        found == package.sha256,
        "the archive's {} {} is not the pinned one: its SHA-256 is {found}",
        package.name,
        package.version
    );
    Ok(())
}

fn only_file_starting(folder: &Path, start: &str) -> Result<PathBuf> {
    let start = format!("{start}_");
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(&start) {
            return Ok(entry.path());
        }
    }
    bail!("apt left no {start}... in {}", folder.display())
}

/// apt with a configuration of its own.
struct Apt {
    configuration: PathBuf,
}

impl Apt {
    fn set_up(cache: &Path, packages: &[Package]) -> Result<Self> {
        let root = cache.join("apt");
        for folder in ["empty", "state/lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(root.join(folder))?;
        }
        fs::write(root.join("state/status"), "")?;
        let sources: String = packages.iter().map(source).collect();
        fs::write(root.join("sources.list"), sources)?;
        let configuration = root.join("apt.conf");
        let text = CONFIGURATION.replace("ROOT", &root.to_string_lossy());
        fs::write(&configuration, text)?;
        Ok(Self { configuration })
    }

    fn run(&self, arguments: &[&str], folder: &Path) -> Result<()> {
        let mut apt = Command::new("apt-get");
        apt.env("APT_CONFIG", &self.configuration)
            .env("LC_ALL", "C")
            .arg("--quiet=2")
            .args(arguments);
        run(apt.current_dir(folder))
    }
}

/// The host's proxies and the like do count: `Dir::Etc::Parts` is left as it is.
const CONFIGURATION: &str = r#"Dir::Etc::SourceList "ROOT/sources.list";
Dir::Etc::SourceParts "ROOT/empty";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "ROOT/empty";
Dir::State "ROOT/state";
Dir::State::status "ROOT/state/status";
Dir::Cache "ROOT/cache";
APT::Architecture "amd64";
APT::Architectures "amd64";
APT::Sandbox::User "";
Acquire::Languages "none";
Acquire::Check-Valid-Until "false";
"#;

fn source(package: &Package) -> String {
    let archive = if package.suite.ends_with("-security") {
        "debian-security"
    } else {
        "debian"
    };
    format!(
        "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/{archive} {} main\n",
        package.suite
    )
}

fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .with_context(|| format!("starting {program}"))?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{program} failed with {}: {complaint}",
        output.status
    );
    Ok(())
}
