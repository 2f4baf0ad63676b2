//! What every store must do, said once and asked of each: the one in memory and the one on a real Redis.
//!
//! The rules never look at which store they talk to. `tests/store_contract.rs` runs them, and what can only be asked of
//! Redis itself (that it goes away, restarts, keeps its data) stands there. Instants lie far in the future, so that no
//! key expires while it is looked at; the rules about expiry alone live in the present.
#![allow(missing_docs, reason = "the name of a rule is what it says")]

pub mod bench;
pub mod creation;
pub mod entries;
pub mod expiry;
pub mod fleet;
pub mod history;
pub mod leases;
pub mod samples;
pub mod writes;

/// Calls a macro with every rule, as `module::rule`. A rule that is not listed here is not asked.
#[macro_export]
macro_rules! for_each_store_rule {
    ($run:ident) => {
        $run! {
            creation::a_created_record_is_read_back_as_it_was,
            creation::a_record_that_was_never_created_is_not_found,
            creation::repeating_a_creation_changes_nothing,
            creation::a_name_that_is_taken_is_answered_with_what_stands_there,
            creation::only_an_ended_record_of_the_expected_generation_is_replaced,
            creation::fences_and_attempts_go_on_in_a_replacement,
            writes::a_write_changes_the_fields_it_names_and_no_others,
            writes::an_intent_that_takes_the_place_of_another_is_written_whole,
            writes::repeating_a_write_changes_nothing,
            writes::the_last_sixteen_attempts_are_remembered,
            writes::a_refused_attempt_may_be_made_again,
            writes::a_write_to_nothing_is_gone,
            writes::a_guard_that_does_not_hold_changes_nothing,
            writes::an_intent_commits_after_the_lease_moved_on,
            writes::an_intent_does_not_commit_after_a_release,
            writes::a_released_job_is_not_revived,
            leases::a_due_record_is_claimed_once,
            leases::the_longest_due_are_claimed_first_up_to_the_limit,
            leases::a_claim_reaches_one_shard_only,
            leases::one_claim_reaches_all_shards_that_it_names,
            leases::two_claimers_never_hold_the_same_record,
            leases::the_records_of_a_vanished_holder_come_up_again,
            leases::an_old_fence_cannot_write,
            leases::a_writer_without_a_lease_can_insist_that_nobody_claimed_since,
            leases::a_lease_is_held_until_it_is_given_back_or_succeeded,
            leases::a_kept_lease_keeps_the_due_entry_at_its_end,
            leases::a_write_beside_a_lease_leaves_the_due_entry_at_its_end,
            leases::a_release_beside_a_lease_is_due_now_and_ends_the_lease,
            leases::a_holder_who_begins_a_release_keeps_its_lease,
            leases::a_tombstone_is_never_due,
            leases::hastening_makes_a_record_due_now,
            leases::hastening_for_a_look_leaves_the_renewal_to_a_time_of_its_own,
            leases::hastening_never_postpones,
            leases::hastening_a_leased_record_is_heard_of_by_whoever_claims_it_next,
            leases::an_announced_end_is_noted_and_takes_a_lease_back,
            leases::hastening_leaves_ended_and_absent_records_alone,
            leases::a_write_that_had_not_seen_a_hastening_does_not_undo_it,
            entries::a_job_is_joining_its_session_until_it_is_settled,
            entries::a_withdrawn_attempt_leaves_nothing_behind,
            entries::a_withdrawn_attempt_takes_nothing_from_another_one,
            entries::who_leaves_while_another_attempt_joins_stays_in_for_that,
            entries::so_many_join_a_session_at_a_time,
            entries::a_session_takes_so_many_jobs,
            entries::a_renewal_sees_whether_somebody_has_joined_or_is_joining,
            entries::newcomers_wait_for_a_renewal_that_waits_and_are_let_in_after_it,
            entries::a_session_gathers_its_jobs,
            entries::a_session_outlives_its_jobs,
            entries::a_session_that_everybody_has_left_leaves_no_entry,
            entries::a_session_is_superseded_once_for_each_life,
            entries::a_lost_session_is_superseded_all_the_same,
            entries::sessions_with_colons_do_not_run_into_each_other,
            entries::a_users_jobs_are_listed_in_order_and_in_pages,
            entries::a_user_takes_so_many_jobs,
            entries::users_of_two_tenants_do_not_meet,
            entries::a_parent_takes_so_many_children,
            entries::a_module_takes_so_many_records_and_gets_them_back,
            expiry::a_record_expires_and_its_due_entry_goes_with_the_next_claim,
            expiry::a_write_moves_the_expiry,
            expiry::an_entry_lives_as_long_as_its_longest_member,
            expiry::children_expire_with_their_parent,
            fleet::replicas_are_known_while_they_tell_of_themselves,
            fleet::a_key_is_promoted_when_every_live_replica_holds_it,
            fleet::a_key_is_vouched_for_once,
            fleet::an_unused_key_is_not_vouched_for_while_a_live_replica_holds_another_one,
            fleet::of_two_that_vouch_at_once_one_is_first_and_both_are_told_which,
            fleet::a_key_is_not_promoted_that_is_another_one_than_was_vouched_for,
            fleet::a_replica_that_fell_silent_holds_up_no_promotion,
            fleet::a_pause_ends_when_it_is_lifted_and_by_itself,
            fleet::a_resealing_under_way_is_not_started_again,
            fleet::a_resealing_has_one_worker_and_is_taken_up_where_it_was_left,
            fleet::a_walk_comes_by_every_record,
            fleet::a_walk_shows_what_is_asked_for,
            fleet::records_are_counted_by_state_and_the_count_is_shared,
            fleet::events_are_told_in_order_from_any_place,
        }
    };
}
