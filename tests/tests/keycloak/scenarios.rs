//! The stand-in is held to a real Keycloak: each scenario runs against both, and both must say the same.
//!
//! `docs/keycloak.md` is the readable form of what these show.

use keycloak_double::UserConfig;
use tokenvault_tests::harness::Result;
use tokenvault_tests::scenario::{
    VAULT, agree, endings, exchange, folio, impersonation, lightweight, people, privilege, probe, realm, refusals,
    rotation,
};

/// One test a scenario, named alike.
macro_rules! scenarios {
    ($($name:ident: $realm:expr, $scenario:path;)*) => {
        $(#[tokio::test] async fn $name() -> Result<()> { agree($realm, $scenario).await })*
    };
}

scenarios! {
    old_access_tokens_stay_valid: realm(), rotation::old_access_tokens_stay_valid;
    reuse_detaches_the_client_session: realm(), rotation::reuse_detaches_the_client_session;
    reuse_leaves_an_empty_session: realm(), rotation::reuse_leaves_an_empty_session;
    bookkeeping_is_in_whole_seconds: realm(), rotation::bookkeeping_is_in_whole_seconds;
    an_ancestor_is_stale: realm(), rotation::an_ancestor_is_stale;
    max_reuse_counts_further_sends: realm(), rotation::max_reuse_counts_further_sends;
    without_rotation_tokens_come_back: realm(), rotation::without_rotation_tokens_come_back;
    a_foreign_token_survives: realm(), rotation::a_foreign_token_survives;
    simultaneous_refreshes_kill_the_winner: realm(), rotation::simultaneous_refreshes_kill_the_winner;
    chains_rotate_independently: realm(), rotation::chains_rotate_independently;
    a_spare_chain_survives_a_lost_answer: realm(), rotation::a_spare_chain_survives_a_lost_answer;

    the_probe_tells_and_books_nothing: realm(), probe::the_probe_tells_and_books_nothing;
    the_probe_needs_its_hint_and_its_owner: realm(), probe::the_probe_needs_its_hint_and_its_owner;
    access_tokens_are_described_to_their_audience: realm(), probe::access_tokens_are_described_to_their_audience;
    with_reuse_allowed_active_is_not_unspent: realm(), probe::with_reuse_allowed_active_is_not_unspent;

    a_pair_of_ones_own_in_the_same_session: realm(), exchange::a_pair_of_ones_own_in_the_same_session;
    a_subject_token_has_a_longest_length: realm(), exchange::a_subject_token_has_a_longest_length;
    mappers_of_the_exchanging_client_count: unmapped(), exchange::mappers_of_the_exchanging_client_count;
    ones_own_exchange_consumes_nothing: realm(), exchange::ones_own_exchange_consumes_nothing;
    a_stale_token_ends_the_session: realm(), exchange::a_stale_token_ends_the_session;
    a_stale_token_of_another_clients_ends_the_session_too: exchange::with_a_second_interface(realm()),
        exchange::a_stale_token_of_another_clients_ends_the_session_too;
    a_missing_client_session_does_no_harm: realm(), exchange::a_missing_client_session_does_no_harm;
    access_tokens_alone_leave_no_trace: realm(), exchange::access_tokens_alone_leave_no_trace;
    client_sessions_time_out_by_themselves: realm(), exchange::client_sessions_time_out_by_themselves;
    lives_are_cut_to_the_sessions_end: realm(), exchange::lives_are_cut_to_the_sessions_end;
    expired_tokens_are_invalid: realm(), exchange::expired_tokens_are_invalid;
    refusals_do_no_harm: realm(), exchange::refusals_do_no_harm;
    only_the_audience_may_exchange: realm(), exchange::only_the_audience_may_exchange;
    the_legacy_exchange_takes_over: realm(), exchange::the_legacy_exchange_takes_over;
    offline_sessions_give_access_tokens_only: realm(), exchange::offline_sessions_give_access_tokens_only;

    every_impersonation_is_a_session_of_its_own: realm(),
        impersonation::every_impersonation_is_a_session_of_its_own;
    impersonation_grants_what_the_service_account_has: realm(),
        impersonation::impersonation_grants_what_the_service_account_has;
    impersonation_is_denied_in_the_same_words: realm(), impersonation::impersonation_is_denied_in_the_same_words;
    the_role_is_looked_up_at_each_use: realm(), impersonation::the_role_is_looked_up_at_each_use;
    impersonation_does_not_ask_for_a_login: realm(), impersonation::impersonation_does_not_ask_for_a_login;
    names_come_before_ids: trap(), impersonation::names_come_before_ids;
    a_detached_session_of_ones_own_looks_alive: realm(), impersonation::a_detached_session_of_ones_own_looks_alive;
    revocation_ends_a_session_of_ones_own: realm(), impersonation::revocation_ends_a_session_of_ones_own;
    a_plain_service_account_may_not: impersonation::plain(realm()), impersonation::a_plain_service_account_may_not;

    lightweight_tokens: realm(), lightweight::lightweight_tokens;
    mapped_lightweight_tokens_can_be_exchanged: lightweight::mapped_interface(realm()),
        lightweight::mapped_lightweight_tokens_can_be_exchanged;
    mappers_say_where_they_count: lightweight::mappers_of_all_kinds(realm()),
        lightweight::mappers_say_where_they_count;
    lightweight_tokens_of_the_vaults_hide_roles: lightweight::lightweight_vault(realm()),
        lightweight::lightweight_tokens_of_the_vaults_hide_roles;
    a_name_for_sub_hides_a_service_account: lightweight::lightweight_accounts(realm()),
        lightweight::a_name_for_sub_hides_a_service_account;
    folios_realm_serves_the_vault: folio(), lightweight::folios_realm_serves_the_vault;

    sub_is_up_to_each_clients_mappers: people::name_for_sub(realm()), people::sub_is_up_to_each_clients_mappers;
    a_rename_changes_nothing_but_names: people::name_for_sub(realm()), people::a_rename_changes_nothing_but_names;
    no_attribute_hides_a_property: people::attributes(realm()), people::no_attribute_hides_a_property;
    pairwise_subjects_differ_by_client: people::pairwise(realm()), people::pairwise_subjects_differ_by_client;

    introspection_shows_roles_however_they_are_held: privilege::people(realm()),
        privilege::introspection_shows_roles_however_they_are_held;
    clients_without_full_scope_hide_roles: privilege::people(realm()),
        privilege::clients_without_full_scope_hide_roles;
    introspection_tells_of_now: privilege::people(realm()), privilege::introspection_tells_of_now;
    impersonation_needs_the_role_in_scope: privilege::people(realm()),
        privilege::impersonation_needs_the_role_in_scope;
    users_with_the_role_may_impersonate: privilege::people(realm()), privilege::users_with_the_role_may_impersonate;

    logout_ends_it_for_everybody: realm(), endings::logout_ends_it_for_everybody;
    revocation_takes_the_client_session: realm(), endings::revocation_takes_the_client_session;
    revocation_reaches_what_was_exchanged: realm(), endings::revocation_reaches_what_was_exchanged;
    revocation_of_an_expired_token: realm(), endings::revocation_of_an_expired_token;
    a_disabled_user_comes_back: realm(), endings::a_disabled_user_comes_back;
    a_deleted_user_leaves_nothing: realm(), endings::a_deleted_user_leaves_nothing;
    administrators_end_sessions: realm(), endings::administrators_end_sessions;
    not_before_deletes_nothing: realm(), endings::not_before_deletes_nothing;
    an_idle_session_is_over: realm(), endings::an_idle_session_is_over;
    signing_keys_come_and_go: realm(), endings::signing_keys_come_and_go;
    missing_consent_is_a_matter_of_scope: realm(), endings::missing_consent_is_a_matter_of_scope;
    a_disabled_client_is_unknown: realm(), endings::a_disabled_client_is_unknown;
    offline_tokens_outlive_logins: realm(), endings::offline_tokens_outlive_logins;

    clients_prove_themselves: realm(), refusals::clients_prove_themselves;
    forms_are_checked: realm(), refusals::forms_are_checked;
    logins_are_refused: realm(), refusals::logins_are_refused;
    there_is_nothing_elsewhere: realm(), refusals::there_is_nothing_elsewhere;
    discovery_leads_to_the_keys: realm(), refusals::discovery_leads_to_the_keys;
}

/// The vault's client maps nothing, the user interface's does.
fn unmapped() -> keycloak_double::RealmConfig {
    let vault = keycloak_double::ClientConfig::new(VAULT, "tokenvault-secret").token_exchange();
    realm().client(vault)
}

/// A user's name is another user's id.
fn trap() -> keycloak_double::RealmConfig {
    realm()
        .user(UserConfig::new("carol", "carol-password").id(impersonation::TRAP_ID))
        .user(UserConfig::new(impersonation::TRAP_ID, "mallory-password"))
}

/// The page that strangers read names every scenario, and no scenario that is not there.
#[test]
fn the_page_about_keycloak_names_every_scenario() {
    let page = include_str!("../../../docs/explain/keycloak.md");
    let (_, rest) = include_str!("scenarios.rs").split_once("\nscenarios! {").expect("the list is above");
    let (list, _) = rest.split_once("\n}").expect("the list ends");
    let listed: Vec<&str> = list
        .lines()
        .filter_map(|line| line.split_once(": ").or_else(|| line.split_once(":\n")))
        .map(|(name, _)| name.trim())
        .filter(|name| !name.contains(['(', ' ']))
        .collect();
    assert!(listed.len() > 50, "the list was read");
    for name in &listed {
        assert!(page.contains(&format!("`{name}`")), "docs/keycloak.md does not name {name}");
    }
    let named = page.lines().filter(|line| line.ends_with("` |")).filter_map(|line| line.rsplit('|').nth(1));
    for name in named.flat_map(|cell| cell.split('`').skip(1).step_by(2)) {
        assert!(listed.contains(&name), "docs/keycloak.md names {name}, which is not there");
    }
}
