//! The machine against the library: every schedule is survived, and runs the same way twice.

use nameko_cachetools_testkit::explore::{
    Seeds,
    machine::{Schedule, check, check_twice, shrink},
};

/// `cargo run --release --example explore` runs millions.
///
/// Proves: E1, E2, E3, E4, E5, E6, E7, E8, E9, E10, E11, E12, E13, S1, S3, S7, K3.
#[test]
fn two_thousand_schedules_break_no_invariant() {
    for seed in Seeds::default().count(2000) {
        if let Some(finding) = check(&Schedule::generate(seed)) {
            panic!("seed {seed}: {}", shrink(finding));
        }
    }
}

#[test]
fn a_schedule_runs_the_same_way_twice() {
    for seed in 0..100 {
        if let Some(finding) = check_twice(&Schedule::generate(seed)) {
            panic!("seed {seed}: {finding}");
        }
    }
}
