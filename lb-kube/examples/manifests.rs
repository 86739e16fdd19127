//! Writes the CustomResourceDefinitions into a folder; `cargo xtask manifests` runs it.

use std::{env, fs, path::PathBuf};

use lb_kube::crd;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = env::args_os().nth(1).map(PathBuf::from);
    let folder = folder.ok_or("give the folder to write to")?;
    fs::create_dir_all(&folder)?;
    for definition in crd::definitions() {
        let (name, content) = crd::manifest(&definition)?;
        fs::write(folder.join(&name), content)?;
        println!("wrote {name}");
    }
    Ok(())
}
