//! What becomes of an answer that is held in memory.

use super::*;

fn at_generation(generation: u64, state: State) -> Record {
    Record { generation: Generation(generation), state, ..record(Acquisition::Adopt) }
}

fn compared_with(stored: &Record) -> Comparison {
    compare(&at_generation(5, State::Active), Some(stored), at(0))
}

#[test]
fn what_the_store_has_lost_is_written_again_and_what_was_given_up_comes_back() {
    assert_eq!(compared_with(&at_generation(5, State::Active)), Comparison::Stored);
    assert_eq!(compared_with(&at_generation(4, State::Active)), Comparison::Lost);
    for reason in [EndReason::SpendLost, EndReason::SessionLost, EndReason::SessionRecreated] {
        let given_up = compared_with(&at_generation(4, State::Ended(reason)));
        assert_eq!(given_up, Comparison::GivenUp(Some(Generation(4))));
        let ended_later = compared_with(&at_generation(5, State::Ended(reason)));
        assert_eq!(ended_later, Comparison::Superseded, "it ended after the held pair");
    }
    assert_eq!(compare(&at_generation(5, State::Active), None, at(0)), Comparison::GivenUp(None));
}

#[test]
fn what_somebody_decided_stays() {
    for reason in [EndReason::Released, EndReason::Revoked, EndReason::Expired, EndReason::SessionNotActive] {
        assert_eq!(compared_with(&at_generation(4, State::Ended(reason))), Comparison::Superseded);
        assert_eq!(compared_with(&at_generation(4, State::Releasing(reason))), Comparison::Superseded);
    }
    assert_eq!(compared_with(&at_generation(6, State::Active)), Comparison::Superseded);
    let registered_anew = Record { created_at: at(1), ..at_generation(1, State::Active) };
    assert_eq!(compared_with(&registered_anew), Comparison::Superseded);
    let over = compare(&at_generation(5, State::Active), None, at(100_000));
    assert_eq!(over, Comparison::Superseded);
}
