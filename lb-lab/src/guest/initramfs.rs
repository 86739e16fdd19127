//! A RAM disk for the kernel to start from, in the format "newc" (Documentation/driver-api/early-userspace/
//! buffer-format.rst): files and the folders they need, uncompressed, since nothing is read from a disk.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

/// Files by their path without the leading slash.
#[derive(Default)]
pub(super) struct Initramfs {
    files: BTreeMap<String, (Vec<u8>, bool)>,
}

const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const PLAIN: u32 = 0o100_644;

impl Initramfs {
    pub(super) fn add_file(&mut self, path: &str, bytes: Vec<u8>, is_program: bool) {
        self.files.insert(path.to_owned(), (bytes, is_program));
    }

    /// A program of the host with the libraries that its loader would take.
    pub(super) fn add_program(&mut self, host: &Path, path: &str) -> Result<()> {
        for library in libraries(host)? {
            let inside = library.to_string_lossy();
            let bytes =
                fs::read(&library).with_context(|| format!("reading {}", library.display()))?;
            self.add_file(inside.trim_start_matches('/'), bytes, true);
        }
        let bytes = fs::read(host).with_context(|| format!("reading {}", host.display()))?;
        self.add_file(path, bytes, true);
        Ok(())
    }

    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let file = File::create(path).with_context(|| format!("creating {}", path.display()))?;
        let mut out = BufWriter::new(file);
        self.write_to(&mut out)?;
        out.flush()?;
        Ok(())
    }

    fn write_to(&self, out: &mut impl Write) -> std::io::Result<()> {
        for (number, folder) in (1u32..).zip(self.folders()) {
            entry(out, number, &folder, FOLDER, &[])?;
        }
        for (number, (path, (bytes, is_program))) in (10_000u32..).zip(&self.files) {
            let mode = if *is_program { PROGRAM } else { PLAIN };
            entry(out, number, path, mode, bytes)?;
        }
        entry(out, 0, "TRAILER!!!", 0, &[])
    }

    /// Every folder above a file, outer ones first.
    fn folders(&self) -> Vec<String> {
        let mut folders: Vec<String> = self
            .files
            .keys()
            .flat_map(|path| Path::new(path).ancestors().skip(1))
            .map(|folder| folder.to_string_lossy().into_owned())
            .filter(|folder| !folder.is_empty())
            .collect();
        folders.sort();
        folders.dedup();
        folders
    }
}

/// Header of thirteen numbers in hexadecimal, name, data; name and data each end at a multiple of four.
fn entry(
    out: &mut impl Write,
    number: u32,
    name: &str,
    mode: u32,
    data: &[u8],
) -> std::io::Result<()> {
    const HEADER_BYTES: usize = 110;
    let name_bytes = name.len() + 1;
    write!(
        out,
        "070701{number:08x}{mode:08x}{:08x}{:08x}{:08x}",
        0, 0, 1
    )?;
    write!(out, "{:08x}{:08x}{:032x}", 0, data.len(), 0)?;
    write!(out, "{name_bytes:08x}{:08x}{name}\0", 0)?;
    pad(out, HEADER_BYTES + name_bytes)?;
    out.write_all(data)?;
    pad(out, data.len())
}

fn pad(out: &mut impl Write, written: usize) -> std::io::Result<()> {
    out.write_all(&[0; 3][..written.wrapping_neg() % 4])
}

/// What ldd(1) finds; nothing for a program without a loader.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("ldd")
        .arg(program)
        .output()
        .context("starting ldd")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let words = text.lines().filter_map(|line| {
        line.split_whitespace()
            .find(|word| word.starts_with('/'))
            .map(PathBuf::from)
    });
    Ok(words.filter(|path| path.is_file()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_format_is_met_byte_for_byte() {
        let mut disk = Initramfs::default();
        disk.add_file("a/b", b"hello".to_vec(), true);
        let mut bytes = Vec::new();
        disk.write_to(&mut bytes).expect("memory takes all");
        let text = String::from_utf8(bytes).expect("only ASCII here");
        let folder = [
            "070701",
            "00000001",
            "000041ed",
            &"0".repeat(16),
            "00000001",
        ]
        .concat();
        let folder = [&folder, &"0".repeat(48), "00000002", "00000000", "a\0"].concat();
        assert_eq!(&text[..folder.len()], folder);
        assert!(
            text.contains(&["a/b", "\0\0\0", "hello", "\0\0\0", "070701"].concat()),
            "{text:?}"
        );
        assert!(
            text.contains("TRAILER!!!\0") && text.len().is_multiple_of(4),
            "{text:?}"
        );
    }
}
