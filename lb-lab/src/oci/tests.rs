use std::env;

use super::*;

/// An image of one file, written to a file of this name.
fn write(name: &str, content: &str) -> (PathBuf, String) {
    let folder = env::temp_dir().join(format!("lb-lab-oci-{}-{name}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let source = folder.join("source");
    fs::write(&source, content).unwrap();
    let image = Image {
        name: "example.org/one:1".to_owned(),
        entrypoint: vec!["/usr/bin/one".to_owned()],
        user: "0:0".to_owned(),
        files: vec![ImageFile::program("usr/bin/one", &source)],
        ..Image::default()
    };
    let digest = image.write(&folder.join("image.tar")).unwrap();
    (folder, digest)
}

#[test]
fn same_files_give_the_same_bytes() {
    let [(one, first), (two, second), (three, other)] =
        [("a", "x"), ("b", "x"), ("c", "y")].map(|(name, content)| write(name, content));
    let read = |folder: &Path| fs::read(folder.join("image.tar")).unwrap();
    assert_eq!(first, second);
    assert_eq!(read(&one), read(&two));
    assert_ne!(first, other);
    for folder in [one, two, three] {
        fs::remove_dir_all(folder).unwrap();
    }
}

#[test]
fn tar_and_sha256sum_understand_the_archive() {
    let (folder, digest) = write("d", "x");
    let run = |command: &mut Command| {
        let output = command.current_dir(&folder).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    run(Command::new("tar").args(["-xf", "image.tar"]));
    let manifest = digest.replace("sha256:", "blobs/sha256/");
    let sum = run(Command::new("sha256sum").arg(&manifest));
    assert!(manifest.ends_with(sum.split(' ').next().unwrap()));
    let manifest: Value =
        serde_json::from_slice(&fs::read(folder.join(&manifest)).unwrap()).unwrap();
    let layer = manifest["layers"][0]["digest"].as_str().unwrap();
    let layer = layer.replace("sha256:", "blobs/sha256/");
    let listed = run(Command::new("tar").args(["-tvf", &layer]));
    assert_eq!(listed.lines().count(), 3, "{listed}");
    assert!(listed.contains("-rwxr-xr-x 0/0"), "{listed}");
    assert!(listed.ends_with("usr/bin/one\n"), "{listed}");
    fs::remove_dir_all(folder).unwrap();
}
