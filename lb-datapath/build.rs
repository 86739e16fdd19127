//! Builds the BPF object with the same pinned stable toolchain as everything else: an inner cargo with its
//! own target folder, for which alone the unstable features that BPF needs are enabled.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

const TARGET: &str = "bpfel-unknown-none";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    for watched in ["../lb-ebpf", "../lb-common"] {
        println!("cargo::rerun-if-changed={watched}");
    }
    println!("cargo::rerun-if-env-changed=FAIRLEAD_BPF_LINKER");
    let out = PathBuf::from(variable("OUT_DIR"));
    build(&out, "fairlead", &[]);
    build(&out, "basic", &["basic"]);
    build(&out, "tc", &["tc"]);
    build(&out, "tc-basic", &["tc", "basic"]);
    if env::var_os("CARGO_FEATURE_BENCH").is_some() {
        build(&out, "bench-driver", &["bench-driver"]);
    }
    if env::var_os("CARGO_FEATURE_CANARIES").is_some() {
        for canary in [
            "canary-checksum",
            "canary-ttl",
            "canary-mac",
            "canary-reverse",
        ] {
            build(&out, canary, &[canary]);
        }
    }
}

/// Builds one variant and puts it at `OUT_DIR/NAME.o`. All variants, profiles and configurations of the outer build
/// share one target folder, so that `core` is built for BPF once.
fn build(out: &Path, name: &str, features: &[&str]) {
    let root = Path::new(&variable("CARGO_MANIFEST_DIR")).join("..");
    // Cargo copies the result here while it still holds the folder's lock; another variant may follow at once.
    let artifacts = out.join(name);
    let mut cargo = Command::new(variable("CARGO"));
    cargo
        .current_dir(&root)
        .args([
            "build",
            "--locked",
            "--release",
            "--package",
            "lb-ebpf",
            "--bin",
            "lb-ebpf",
        ])
        .args([
            "--target",
            TARGET,
            "-Z",
            "build-std=core",
            "--features",
            &features.join(","),
        ])
        .args(["-Z", "unstable-options", "--artifact-dir"])
        .arg(&artifacts)
        .arg("--target-dir")
        .arg(shared_target(out))
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", rustflags(&root))
        .envs([
            ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "3"),
            ("CARGO_PROFILE_RELEASE_LTO", "fat"),
            ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1"),
            ("CARGO_PROFILE_RELEASE_PANIC", "abort"),
            ("CARGO_PROFILE_RELEASE_DEBUG", "2"),
        ]);
    // What the outer cargo says about the host must not reach the inner one.
    for inherited in [
        "RUSTC",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTC_WRAPPER",
        "RUSTFLAGS",
        "CARGO_TARGET_DIR",
    ] {
        cargo.env_remove(inherited);
    }
    let status = cargo
        .status()
        .unwrap_or_else(|error| panic!("cannot run the inner cargo: {error}"));
    assert!(
        status.success(),
        "the BPF object does not build (above is why); `cargo xtask setup` installs rust-src and bpf-linker 0.10.4"
    );
    let object = artifacts.join("lb-ebpf");
    std::fs::copy(&object, out.join(format!("{name}.o")))
        .unwrap_or_else(|error| panic!("cannot copy {}: {error}", object.display()));
}

/// `TARGET/bpf`, given `OUT_DIR`, which is `TARGET/PROFILE/build/PACKAGE/out`.
fn shared_target(out: &Path) -> PathBuf {
    out.ancestors().nth(4).unwrap_or(out).join("bpf")
}

fn rustflags(root: &Path) -> OsString {
    let root = root.canonicalize().unwrap_or_else(|_| root.to_path_buf());
    let flags = [
        format!("-Clinker={}", linker().display()),
        "-Ctarget-cpu=v3".to_owned(),
        "-Cdebuginfo=2".to_owned(),
        "-Clink-arg=--btf".to_owned(),
        format!(
            "--cfg=bpf_target_arch=\"{}\"",
            variable("CARGO_CFG_TARGET_ARCH")
        ),
        format!("--remap-path-prefix={}=fairlead", root.display()),
        format!("--remap-path-prefix={}=home", variable_or_empty("HOME")),
    ];
    flags.join("\x1f").into()
}

/// The linker named by `FAIRLEAD_BPF_LINKER`, the one that `cargo xtask setup` installed, or the one on the PATH.
fn linker() -> PathBuf {
    if let Some(named) = env::var_os("FAIRLEAD_BPF_LINKER") {
        return named.into();
    }
    let cached = Path::new(&variable_or_empty("HOME")).join(".cache/fairlead/tools/bin/bpf-linker");
    if cached.exists() {
        cached
    } else {
        "bpf-linker".into()
    }
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"))
}

fn variable_or_empty(name: &str) -> String {
    env::var(name).unwrap_or_default()
}
