//! Mistakes of one line in the data path, each with the case that must notice it. A mutant is a copy of the sources with
//! that line changed; the shipped sources know nothing of it. A line that is not there any more fails the build of
//! its mutant, so that the list keeps up with the code.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

/// One mistake.
#[derive(Clone, Copy, Debug)]
pub struct Mutant {
    /// What is wrong in it.
    pub mistake: &'static str,
    /// The file, from the root of the workspace.
    pub file: &'static str,
    /// A part of one line, which occurs once.
    pub right: &'static str,
    /// What it becomes.
    pub wrong: &'static str,
    /// Who must notice.
    pub killer: Killer,
}

/// A test that must fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Killer {
    /// The case of the list ([`crate::cases`]) with this description.
    Case(&'static str),
    /// The comparison with the reference model.
    Model,
}

macro_rules! mutants {
    ($($file:literal: $mistake:literal, $right:literal => $wrong:literal, $killer:expr;)*) => {
        /// Every mistake.
        pub const MUTANTS: &[Mutant] = &[$(Mutant {
            mistake: $mistake,
            file: $file,
            right: $right,
            wrong: $wrong,
            killer: $killer,
        },)*];
    };
}

use Killer::{Case, Model};

mutants! {
    "lb-ebpf/src/forward.rs": "a hop limit of one goes on",
        "if hop_limit <= 1 {" => "if hop_limit < 1 {",
        Case("a hop limit that would reach zero");
    "lb-ebpf/src/forward.rs": "the outer header needs no room",
        "if by_gue { overhead(node) } else { 0 }" => "if by_gue { 0 } else { 0 }",
        Case("no room for an outer header");
    "lb-ebpf/src/forward.rs": "a packet that just fits is too big",
        "added as u32 > u32::from(node.mtu_bytes)" => "added as u32 >= u32::from(node.mtu_bytes)",
        Case("just room for an outer header");
    "lb-ebpf/src/forward.rs": "the header's checksum forgets the hop",
        "+ (1 << 16) - 1;" => "- 1;",
        Case("an on-link node gets it by its MAC");
    "lb-ebpf/src/forward.rs": "two hops instead of one",
        "frame.load_u8(at) - 1);" => "frame.load_u8(at) - 2);",
        Case("an on-link node gets it by its MAC");
    "lb-ebpf/src/forward.rs": "the outer header has the inner one's ECN",
        "& 0xfc" => "& 0xff",
        Model;
    "lb-ebpf/src/encapsulate.rs": "the outer checksum leaves out the ports",
        "inner + outer + ports +" => "inner + outer +",
        Case("a node behind a router gets it by GUE");
    "lb-ebpf/src/forward.rs": "one hop too many between nodes",
        "walk.hop >= most" => "walk.hop > most",
        Case("hop 1 and not here");
    "lb-common/src/gue.rs": "entropy below the dynamic ports",
        "(0xc000 |" => "(0x8000 |",
        Case("a node behind a router gets it by GUE");
    "lb-common/src/gue.rs": "any version of GUE's private data",
        "&& self.version == VERSION" => "&& self.version != 0",
        Case("version");
    "lb-common/src/packet.rs": "a transport header may be longer than its packet",
        "ETHERNET_BYTES + said <= bytes" => "ETHERNET_BYTES + said <= bytes + transport",
        Model;
    "lb-common/src/packet.rs": "an MTU below IPv6's minimum is believed",
        "word < 1280" => "word < 1279",
        Case("packet too big for what every path must carry");
    "lb-common/src/packet.rs": "an MTU below IPv4's least is believed",
        "word & 0xffff < 552" => "word & 0xffff < 551",
        Case("packet too big for what every path must carry");
    "lb-ebpf/src/answer.rs": "the other family's ICMP is answered",
        "walk.protocol == packet::icmp_protocol(V6);" => "matches!(walk.protocol, 1 | 58);",
        Case("an echo request of the other family");
    "lb-ebpf/src/reply.rs": "a reset acknowledges no SYN",
        "+ u32::from(flags & tcp::SYN != 0)" => "+ u32::from(flags & tcp::SYN != tcp::SYN)",
        Case("a SYN where nobody listens");
    "lb-ebpf/src/reply.rs": "a reset draws a reset",
        "if flags & tcp::RST != 0 ||" => "if flags & tcp::RST == 0xff ||",
        Case("a reset draws none");
    "lb-ebpf/src/deliver.rs": "a SYN does not begin anew what is over",
        "closed && flags & (tcp::SYN | tcp::ACK) == tcp::SYN" => "closed && flags & (tcp::SYN | tcp::ACK) == tcp::ACK",
        Case("a SYN on a flow that is over");
    "lb-ebpf/src/deliver.rs": "an old acknowledgement establishes",
        "acknowledges == flow.expected_ack" => "acknowledges <= flow.expected_ack",
        Case("a wrong acknowledgement");
    "lb-ebpf/src/deliver.rs": "any reset is believed",
        "|| ahead >= WINDOW_BYTES" => "|| ahead == u32::MAX",
        Model;
    "lb-ebpf/src/egress.rs": "the SYN-ACK's own number is expected",
        "tcp::SEQUENCE_AT)).wrapping_add(1);" => "tcp::SEQUENCE_AT)).wrapping_add(0);",
        Case("the right acknowledgement");
    "lb-ebpf/src/egress.rs": "the client's port is not given back",
        "packet::ports(flow.vip_port, flow.client_port)" => "packet::ports(flow.vip_port, flow.mapped_port)",
        Model;
    "lb-ebpf/src/mss.rs": "an option at an odd place is summed as at an even one",
        "at % 2 != checksum_at % 2" => "at % 2 > 1",
        Model;
    "lb-ebpf/src/clash.rs": "the port that a pod sees may be a server's",
        "const LOWEST_PORT: u16 = 0x8000" => "const LOWEST_PORT: u16 = 0x0001",
        Model;
    "lb-ebpf/src/fragment.rs": "what has come of a datagram may come again",
        "if offset < u32::from(datagram.end()) {" => "if offset + 1 < u32::from(datagram.end()) {",
        Case("what has come already");
    "lb-ebpf/src/new_flow.rs": "a flow counts as two",
        ".new_flows += 1;" => ".new_flows += 2;",
        Model;
    "lb-ebpf/src/related.rs": "an error of no flow is no loss of its service's",
        "count::drop_of(config, service.id(), Verdict::ErrorOfNoFlow)" => "count::drop(Verdict::ErrorOfNoFlow)",
        Model;
    "lb-ebpf/src/tunnel.rs": "GUE by TCP is taken",
        "frame.load_u8(ETHERNET_BYTES + 9) == UDP" => "frame.load_u8(ETHERNET_BYTES + 9) != 1",
        Case("this node's address and GUE's port by TCP");
}

/// The root of the workspace.
#[must_use]
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

impl Mutant {
    /// The file with the mistake in it.
    ///
    /// # Errors
    /// The line is not there, or more than once.
    pub fn text(&self) -> Result<String> {
        let path = workspace().join(self.file);
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let times = text.matches(self.right).count();
        ensure!(
            times == 1,
            "{}: {:?} occurs {times} times",
            self.file,
            self.right
        );
        Ok(text.replace(self.right, self.wrong))
    }
}

/// A copy of the sources in which mutants are built, one after the other.
pub struct Nursery {
    folder: PathBuf,
}

impl Nursery {
    /// A copy of what the BPF object is made of, in `folder`. What is built there stays for the next.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn new(folder: PathBuf) -> Result<Self> {
        for part in ["lb-common", "lb-ebpf", "lb-datapath"] {
            copy(&workspace().join(part), &folder.join(part))?;
        }
        fs::copy(workspace().join("Cargo.lock"), folder.join("Cargo.lock"))?;
        fs::copy(
            workspace().join("rust-toolchain.toml"),
            folder.join("rust-toolchain.toml"),
        )?;
        let manifest = fs::read_to_string(workspace().join("Cargo.toml"))?;
        fs::write(folder.join("Cargo.toml"), with_members(&manifest)?)?;
        Ok(Self { folder })
    }

    /// The object of a mutant, or (`None`) of the sources as they are.
    ///
    /// # Errors
    /// It does not build.
    pub fn object(&self, mutant: Option<&Mutant>) -> Result<PathBuf> {
        let Some(mutant) = mutant else {
            return self.build();
        };
        let path = self.folder.join(mutant.file);
        fs::write(&path, mutant.text()?)?;
        let built = self.build();
        fs::copy(workspace().join(mutant.file), &path)?;
        built
    }

    /// By the crate's own build script, so that a mutant differs from what is shipped by its line alone.
    fn build(&self) -> Result<PathBuf> {
        let target = self.folder.join("target");
        let output = Command::new(env!("CARGO"))
            .current_dir(&self.folder)
            .args([
                "build",
                "--quiet",
                "--package",
                "lb-datapath",
                "--target-dir",
            ])
            .arg(&target)
            .args(["--message-format", "json"])
            .env_remove("CARGO_TARGET_DIR")
            .output()
            .context("cannot run cargo")?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "does not build: {errors}");
        let messages = String::from_utf8(output.stdout)?;
        let mut lines = messages
            .lines()
            .map(serde_json::from_str::<serde_json::Value>);
        let script = lines.find_map(|line| {
            let line = line.ok()?;
            let is_ours = line["package_id"].as_str()?.contains("lb-datapath");
            (is_ours && line["reason"] == "build-script-executed")
                .then(|| line["out_dir"].as_str().map(PathBuf::from))?
        });
        Ok(script.context("no build script ran")?.join("fairlead.o"))
    }
}

/// The workspace's manifest for the crates that are copied alone.
fn with_members(manifest: &str) -> Result<String> {
    let (head, rest) = manifest.split_once("members = [").context("no members")?;
    let (_, tail) = rest.split_once(']').context("no end of members")?;
    Ok(format!(
        "{head}members = [\"lb-common\", \"lb-ebpf\", \"lb-datapath\"]{tail}"
    ))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let (entry, name) = entry.map(|entry| (entry.path(), entry.file_name()))?;
        if entry.is_dir() {
            copy(&entry, &to.join(name))?;
        } else {
            fs::copy(&entry, to.join(name))?;
        }
    }
    Ok(())
}
