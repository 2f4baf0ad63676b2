//! The spike's imports, replayed in simulated time: 1 h 02, 3 h 27 and 5 h 31, with access tokens of 60 s, 180 s and
//! 3600 s, split into five hundred children. Nothing fails here but the user's access token, which simply expires.

use std::time::Duration;

use tokenvault_tests::sim::import::{Course, Import, through_the_vault, with_a_plain_token};

/// Every length with every life.
fn imports(logout: bool) -> impl Iterator<Item = Import> {
    let lengths = [(1, 2), (3, 27), (5, 31)].map(|(hours, minutes)| Duration::from_mins(hours * 60 + minutes));
    let lives = [60, 180, 3_600].map(Duration::from_secs);
    lengths.into_iter().flat_map(move |length| {
        lives.into_iter().map(move |access_life| Import { length, access_life, children: 500, logout })
    })
}

fn is_complete(import: &Import, course: &Course) {
    assert_eq!((course.unauthorized, course.without_token), (0, 0), "{import:?}: {course:?}");
    let renewals = import.length.as_secs() / import.access_life.as_secs();
    assert!(course.saved == 1_500 && course.tokens > renewals, "{import:?}: {course:?}");
}

#[test]
fn every_import_finishes_through_the_vault_without_a_single_401() {
    std::thread::scope(|scope| {
        for import in imports(false) {
            scope.spawn(move || is_complete(&import, &through_the_vault(&import)));
        }
    });
}

#[test]
fn every_import_with_a_session_of_its_own_finishes_though_the_user_logs_out_in_the_middle() {
    std::thread::scope(|scope| {
        for import in imports(true) {
            scope.spawn(move || is_complete(&import, &through_the_vault(&import)));
        }
    });
}

#[test]
fn every_import_with_a_plain_token_fails_when_that_token_ends() {
    for import in imports(false) {
        let course = with_a_plain_token(&import);
        let failed = course.first_unauthorized.expect("a 401");
        let late = failed.checked_sub(import.access_life).expect("not before the token's end");
        assert!(late <= Duration::from_mins(1), "{import:?}: {course:?}");
    }
}
