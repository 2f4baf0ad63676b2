//! What a read is answered.

use super::*;

fn ask(min_ttl: Option<u64>) -> Ask {
    Ask { min_ttl: min_ttl.map(Duration::from_secs), default_min_ttl: Duration::from_secs(10) }
}

#[test]
fn a_token_is_served_while_it_has_the_life_that_was_asked_for() {
    let record = record(Acquisition::Exchange);
    assert_eq!(serve(&record, &ask(Some(30)), at(30)), Serve::Token(Duration::from_secs(30)));
    assert_eq!(serve(&record, &ask(Some(30)), at(31)), Serve::Renew);
    assert_eq!(serve(&record, &ask(None), at(50)), Serve::Token(Duration::from_secs(10)));
    assert_eq!(serve(&record, &ask(None), at(51)), Serve::Renew);
}

#[test]
fn no_token_is_served_expired_or_at_its_last_breath() {
    let record = record(Acquisition::Exchange);
    for now in [at(60), at(61), at(1_000), Timestamp::from_millis(at(59).as_millis() + 500)] {
        assert_eq!(serve(&record, &ask(Some(0)), now), Serve::Renew, "{now}");
    }
}

#[test]
fn more_than_any_token_lives_is_refused_with_the_most_there_can_be() {
    let record = record(Acquisition::Exchange);
    assert_eq!(serve(&record, &ask(Some(59)), at(0)), Serve::TooDemanding(Duration::from_secs(58)));
}

#[test]
fn a_token_that_a_clock_far_ahead_stamped_is_not_served() {
    let record = record(Acquisition::Exchange);
    let earlier = |seconds| Timestamp::from_secs(at(0).as_secs() - seconds);
    assert_eq!(serve(&record, &ask(None), earlier(300)), Serve::Renew);
    assert!(matches!(serve(&record, &ask(None), earlier(1)), Serve::Token(_)));
}

#[test]
fn what_has_ended_is_not_served_even_while_its_token_lives() {
    let mut record = record(Acquisition::Exchange);
    record.state = State::Releasing(EndReason::Released);
    assert_eq!(serve(&record, &ask(None), at(0)), Serve::Ended(EndReason::Released));
    record.state = State::Active;
    record.expires_at = at(5);
    assert_eq!(serve(&record, &ask(None), at(5)), Serve::Ended(EndReason::Expired));
}

#[test]
fn near_the_sessions_end_a_reader_is_told_what_is_left() {
    let mut record = record(Acquisition::Exchange);
    record.session_ends_at = Some(at(60));
    assert_eq!(serve(&record, &ask(Some(30)), at(55)), Serve::TooDemanding(Duration::from_secs(5)));
    assert_eq!(serve(&record, &ask(None), at(55)), Serve::Token(Duration::from_secs(5)));
}
