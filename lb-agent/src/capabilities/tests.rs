use super::missing_in;

fn status(effective: u64) -> String {
    format!("Name:\tlb-agent\nCapPrm:\t000001ffffffffff\nCapEff:\t{effective:016x}\nSeccomp:\t0\n")
}

#[test]
fn root_lacks_nothing() {
    assert_eq!(missing_in(&status(0x1ff_ffff_ffff)), Some(vec![]));
}

#[test]
fn each_capability_is_missed_by_name() {
    let all = 1 << 12 | 1 << 38 | 1 << 39;
    assert_eq!(missing_in(&status(all)), Some(vec![]));
    for (name, bit) in super::NEEDED {
        assert_eq!(missing_in(&status(all & !(1 << bit))), Some(vec![name]));
    }
}

#[test]
fn sys_admin_stands_in_for_bpf_and_perfmon_only() {
    assert_eq!(missing_in(&status(1 << 21)), Some(vec!["CAP_NET_ADMIN"]));
}

#[test]
fn a_status_without_the_line_is_not_taken_for_no_rights() {
    assert_eq!(missing_in("Name:\tlb-agent\n"), None);
}
