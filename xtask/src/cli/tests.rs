use super::command;

#[test]
fn the_command_line_is_consistent() {
    command().debug_assert();
}

#[test]
fn every_sub_command_parses_and_nonsense_is_refused() {
    for line in [
        "setup --no-install",
        "build",
        "load --config a.yaml",
        "unload",
        "demo --keep --no-install",
        "lab",
        "test",
        "test lab",
        "tidy",
        "bench packet --json out.json",
        "bench tables",
        "bench scrape --json out.json",
        "bench kube --json out.json",
    ] {
        let words = std::iter::once("xtask").chain(line.split(' '));
        assert!(command().try_get_matches_from(words).is_ok(), "{line}");
    }
    for line in [
        "",
        "load",
        "bench",
        "bench nothing",
        "test a b c",
        "cluster",
    ] {
        let words = std::iter::once("xtask").chain(line.split_whitespace());
        assert!(command().try_get_matches_from(words).is_err(), "{line}");
    }
}
