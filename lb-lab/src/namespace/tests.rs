use std::fs;
use std::path::Path;

use super::*;

#[test]
fn a_node_sees_its_own_links_and_files_only() {
    let namespace = Namespace::with_mounts("node").unwrap();
    let links = namespace.run(|| {
        fs::write("/run/of-the-lab", "")?;
        fs::create_dir("/sys/fs/bpf/of-the-lab")?;
        let links = fs::read_dir("/sys/class/net")?.map(|entry| Ok(entry?.file_name()));
        links.collect::<Result<Vec<_>>>()
    });
    assert_eq!(links.unwrap(), ["lo"]);
    assert!(!Path::new("/run/of-the-lab").exists());
    assert!(!Path::new("/sys/fs/bpf/of-the-lab").exists());
    let stays = namespace.run(|| Ok(Path::new("/run/of-the-lab").exists()));
    assert!(stays.unwrap());
}

#[test]
fn the_calling_thread_stays_where_it_is() {
    let here = || fs::read_link("/proc/thread-self/ns/net").unwrap();
    let before = here();
    let inside = Namespace::new("other").unwrap().run(|| Ok(here())).unwrap();
    assert_ne!(inside, before);
    assert_eq!(here(), before);
}
