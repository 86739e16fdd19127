//! Passwords of peers as files, because that is what a session reads one from: in a folder that is its owner's alone,
//! each replaced whole, and gone when nobody wants it. Where a password is not known there is no file, and no session.

use std::{
    collections::BTreeSet,
    fs, io,
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

use super::speaker::Files;

/// Makes the folder hold these files and no other. What fails is logged: the session says what it lacks.
pub fn keep(folder: &Path, files: &Files) {
    if files.is_empty() && !folder.exists() {
        return;
    }
    if let Err(error) = kept(folder, files) {
        tracing::error!(folder = %folder.display(), %error, "passwords of BGP peers cannot be put down");
    }
}

fn kept(folder: &Path, files: &Files) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(folder)?;
    let known = files.iter().filter(|(_, content)| content.is_some());
    let wanted: BTreeSet<_> = known.map(|(path, _)| path.clone()).collect();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if !wanted.contains(&path) {
            fs::remove_file(path)?;
        }
    }
    for (path, content) in files {
        if let Some(content) = content
            && fs::read(path).ok().as_ref() != Some(content)
        {
            replace(path, content)?;
        }
    }
    Ok(())
}

fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let mut options = fs::OpenOptions::new();
    let options = options.write(true).create(true).truncate(true).mode(0o600);
    options.open(&new)?.write_all(content)?;
    fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_folder_has_what_is_known_and_nothing_else() {
        let folder =
            std::env::temp_dir().join(format!("fairlead-passwords-{}", std::process::id()));
        let file = |name: &str| folder.join(name);
        keep(&folder, &Files::new());
        assert!(!folder.exists(), "nothing is made for nothing");
        let both = [(file("one"), Some(b"secret".to_vec())), (file("two"), None)];
        keep(&folder, &Files::from(both));
        assert_eq!(fs::read(file("one")).unwrap(), b"secret");
        assert!(!file("two").exists());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&folder), mode(&file("one"))), (0o700, 0o600));
        keep(
            &folder,
            &Files::from([(file("two"), Some(b"other".to_vec()))]),
        );
        assert!(!file("one").exists());
        assert_eq!(fs::read(file("two")).unwrap(), b"other");
        fs::remove_dir_all(&folder).unwrap();
    }
}
