//! How the provider's keys are kept: rotation, outages, and how often the provider is asked.

use std::time::Instant;

use cronplane::app::StoredKeys;
use futures::future::join_all;

use super::*;
use crate::cloud::Cloud;

const MINUTE: i64 = 60;
const HOUR: i64 = 3600;

fn keys() -> [Key; 2] {
    [Key::new("a", Algorithm::EdDSA), Key::new("b", Algorithm::EdDSA)]
}

#[tokio::test]
async fn keys_are_fetched_once_and_again_after_ten_minutes() {
    let [key, _] = keys();
    let idp = Idp::start(&[&key]).await;
    let oidc = idp.verifier();
    let token = key.token(&idp.claims());
    for (second, fetches) in [(0, 1), (1, 1), (599, 1), (600, 2), (1199, 2), (1200, 3)] {
        is_in(oidc.verify(&token, at(second)).await);
        assert_eq!(idp.fetches(), fetches, "at {second}");
    }
    // A function can be frozen for long in between, and a connection that was kept be dead.
    let connections = idp.behaviour.lock().unwrap().connections;
    assert_eq!(connections, idp.requests(), "no connection is used again");
    let clone = oidc.clone();
    is_in(clone.verify(&token, at(1201)).await);
    assert_eq!(idp.fetches(), 3, "clones share what they know");
}

#[tokio::test]
async fn a_new_key_is_found_at_once_and_one_that_was_taken_away_is_refused() {
    let [old, new] = keys();
    let idp = Idp::start(&[&old]).await;
    let oidc = idp.verifier();
    let [with_old, with_new] = [&old, &new].map(|key| key.token(&idp.claims()));
    is_in(oidc.verify(&with_old, at(0)).await);

    idp.has(&[&old, &new]);
    is_in(oidc.verify(&with_new, at(MINUTE)).await);
    assert_eq!(idp.fetches(), 2, "one fetch finds it");
    is_in(oidc.verify(&with_old, at(MINUTE)).await);

    idp.has(&[&new]);
    is_in(oidc.verify(&with_old, at(11 * MINUTE - 1)).await);
    is_refused(oidc.verify(&with_old, at(11 * MINUTE)).await);
    is_in(oidc.verify(&with_new, at(11 * MINUTE)).await);
    assert_eq!(idp.fetches(), 3);

    // None is left: the provider's word, not an outage.
    idp.has(&[]);
    is_refused(oidc.verify(&with_new, at(30 * MINUTE)).await);
}

#[tokio::test]
async fn tokens_with_unknown_keys_cost_one_fetch_in_30_seconds() {
    let [key, new] = keys();
    let idp = Idp::start(&[&key]).await;
    let oidc = idp.verifier();
    is_in(oidc.verify(&key.token(&idp.claims()), at(0)).await);
    let unknown = |number: usize| {
        let header = json!({"alg": "EdDSA", "kid": format!("unknown-{number}")});
        new.token_with(&header, &idp.claims())
    };
    let many = |from: usize, second: i64| {
        let tokens: Vec<String> = (from..from + 100).map(&unknown).collect();
        let oidc = oidc.clone();
        async move { join_all(tokens.iter().map(|token| oidc.verify(token, at(second)))).await }
    };
    for (second, fetches) in [(29, 1), (30, 2), (45, 2), (59, 2), (60, 3)] {
        for outcome in many(1000, second).await {
            is_refused(outcome);
        }
        assert_eq!(idp.fetches(), fetches, "at {second}");
    }
    // Not with a provider that is away either; and nobody else is disturbed.
    idp.is(Mood::Broken);
    let before = idp.requests();
    for outcome in many(2000, 100).await {
        is_refused(outcome);
    }
    is_in(oidc.verify(&key.token(&idp.claims()), at(101)).await);
    assert_eq!(idp.requests(), before + 1);
}

#[tokio::test]
async fn all_who_come_at_once_wait_for_one_fetch() {
    let [key, new] = keys();
    let idp = Idp::start(&[&key]).await;
    idp.is(Mood::Slow(Duration::from_millis(200)));
    let oidc = idp.verifier();
    let token = key.token(&idp.claims());
    for outcome in join_all((0..50).map(|_| oidc.verify(&token, at(0)))).await {
        is_in(outcome);
    }
    assert_eq!(idp.requests(), 2, "the description and the keys");

    idp.has(&[&key, &new]);
    let token = new.token(&idp.claims());
    for outcome in join_all((0..50).map(|_| oidc.verify(&token, at(MINUTE)))).await {
        is_in(outcome);
    }
    assert_eq!(idp.requests(), 4);
}

/// Who has a key that is known does not wait while somebody asks for another.
#[tokio::test]
async fn a_known_key_waits_for_no_fetch() {
    let [key, unknown] = keys();
    let idp = Idp::start(&[&key]).await;
    let oidc = idp.verifier();
    let [token, other] = [&key, &unknown].map(|key| key.token(&idp.claims()));
    is_in(oidc.verify(&token, at(0)).await);
    idp.is(Mood::Slow(Duration::from_secs(1)));
    let begin = Instant::now();
    let slow = oidc.verify(&other, at(MINUTE));
    let quick = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        is_in(oidc.verify(&token, at(MINUTE)).await);
        begin.elapsed()
    };
    let (refused, taken) = tokio::join!(slow, quick);
    is_refused(refused);
    assert!(taken < Duration::from_millis(900), "{taken:?}");
}

#[tokio::test]
async fn an_outage_signs_nobody_out_for_a_day() {
    let [key, new] = keys();
    let idp = Idp::start(&[&key]).await;
    let oidc = idp.verifier();
    let token = key.token(&idp.claims());
    is_in(oidc.verify(&token, at(0)).await);

    idp.is(Mood::Broken);
    let asked = idp.requests();
    for second in [10 * MINUTE, 10 * MINUTE + 29, 10 * MINUTE + 30, HOUR, 24 * HOUR - 1] {
        is_in(oidc.verify(&token, at(second)).await);
    }
    assert_eq!(idp.requests(), asked + 4, "it is asked again every 30 s at most");
    is_unavailable(oidc.verify(&token, at(25 * HOUR)).await);

    idp.is(Mood::Well);
    idp.has(&[&new]);
    is_unavailable(oidc.verify(&token, at(25 * HOUR + 29)).await);
    is_refused(oidc.verify(&token, at(25 * HOUR + 30)).await);
    is_in(oidc.verify(&new.token(&idp.claims()), at(25 * HOUR + 30)).await);
}

#[tokio::test]
async fn a_provider_that_hangs_holds_nobody_for_long() {
    let [key, _] = keys();
    let idp = Idp::start(&[&key]).await;
    let oidc = idp.verifier();
    let token = key.token(&idp.claims());
    is_in(oidc.verify(&token, at(0)).await);
    idp.is(Mood::Hanging);
    let begin = Instant::now();
    is_in(oidc.verify(&token, at(HOUR)).await);
    let taken = begin.elapsed();
    assert!(taken < Duration::from_secs(6), "{taken:?}");
    let begin = Instant::now();
    is_in(oidc.verify(&token, at(HOUR + 1)).await);
    assert!(begin.elapsed() < Duration::from_secs(1), "only whoever asks waits");
}

#[tokio::test]
async fn without_keys_nobody_is_let_in_until_the_provider_is_back() {
    let [key, _] = keys();
    let idp = Idp::start(&[&key]).await;
    idp.is(Mood::Broken);
    let oidc = idp.verifier();
    let token = key.token(&idp.claims());
    is_unavailable(oidc.verify(&token, at(0)).await);
    is_unavailable(oidc.verify(&token, at(29)).await);
    assert_eq!(idp.requests(), 1);
    // What is wrong with a token whatever the keys are is told all the same.
    is_refused(oidc.verify("a.b.c", at(29)).await);
    idp.is(Mood::Well);
    is_in(oidc.verify(&token, at(30)).await);
}

#[tokio::test]
async fn an_instance_that_starts_in_an_outage_has_the_shared_keys() {
    let [key, new] = keys();
    let idp = Idp::start(&[&key]).await;
    let cache = Arc::new(Shared::default());
    let [token, other] = [&key, &new].map(|key| key.token(&idp.claims()));
    is_in(idp.verifier_sharing(&cache).verify(&token, at(0)).await);

    idp.is(Mood::Broken);
    let oidc = idp.verifier_sharing(&cache);
    is_in(oidc.verify(&token, at(HOUR)).await);
    is_refused(oidc.verify(&other, at(HOUR)).await);
    is_in(idp.verifier_sharing(&cache).verify(&token, at(24 * HOUR - 1)).await);
    // No longer than the instance that fetched them would.
    is_unavailable(idp.verifier_sharing(&cache).verify(&token, at(24 * HOUR)).await);
    is_unavailable(oidc.verify(&token, at(24 * HOUR)).await);
    // From a clock that is far ahead: they would be used for ever.
    cache.keys.lock().unwrap().as_mut().unwrap().fetched_at = at(240 * HOUR);
    is_unavailable(idp.verifier_sharing(&cache).verify(&token, at(HOUR)).await);

    idp.is(Mood::Well);
    idp.has(&[&new]);
    is_in(oidc.verify(&other, at(25 * HOUR)).await);
    is_refused(oidc.verify(&token, at(25 * HOUR)).await);
}

#[tokio::test]
async fn shared_keys_spare_a_fetch_and_are_no_fresher_for_it() {
    let [old, new] = keys();
    let idp = Idp::start(&[&old]).await;
    let cache = Arc::new(Shared::default());
    let [with_old, with_new] = [&old, &new].map(|key| key.token(&idp.claims()));
    is_in(idp.verifier_sharing(&cache).verify(&with_old, at(0)).await);

    let oidc = idp.verifier_sharing(&cache);
    is_in(oidc.verify(&with_old, at(9 * MINUTE)).await);
    assert_eq!(idp.fetches(), 1, "they are ten minutes old at most");
    idp.has(&[&new]);
    is_refused(oidc.verify(&with_old, at(10 * MINUTE)).await);
    assert_eq!(idp.fetches(), 2, "from when the provider was asked, not from when they were read");

    // A key that is not among them is asked for at once.
    let [third, _] = keys();
    let third = Key { kid: "c", ..third };
    idp.has(&[&new, &third]);
    let oidc = idp.verifier_sharing(&cache);
    is_in(oidc.verify(&third.token(&idp.claims()), at(11 * MINUTE)).await);
    is_in(oidc.verify(&with_new, at(11 * MINUTE)).await);
    assert_eq!(*cache.gets.lock().unwrap(), 3, "only an instance without keys reads it");
}

#[tokio::test]
async fn keys_are_shared_when_they_changed_or_are_ten_minutes_old() {
    let [key, new] = keys();
    let idp = Idp::start(&[&key]).await;
    let cache = Arc::new(Shared::default());
    let oidc = idp.verifier_sharing(&cache);
    let [token, other] = [&key, &new].map(|key| key.token(&idp.claims()));
    is_in(oidc.verify(&token, at(0)).await);
    assert_eq!(cache.puts(), 1);
    is_refused(oidc.verify(&other, at(MINUTE)).await);
    assert_eq!((idp.fetches(), cache.puts()), (2, 1), "fetched, and the same as before");
    idp.has(&[&key, &new]);
    is_in(oidc.verify(&other, at(2 * MINUTE)).await);
    assert_eq!((idp.fetches(), cache.puts()), (3, 2), "changed");
    is_in(oidc.verify(&other, at(12 * MINUTE)).await);
    assert_eq!((idp.fetches(), cache.puts()), (4, 3), "ten minutes old");
    assert_eq!(cache.keys.lock().unwrap().as_ref().unwrap().fetched_at, at(12 * MINUTE));
}

#[tokio::test]
async fn a_cache_that_fails_keeps_nobody_out() {
    let [key, _] = keys();
    let idp = Idp::start(&[&key]).await;
    let token = key.token(&idp.claims());
    let broken = Arc::new(Shared { broken: true, ..Shared::default() });
    is_in(idp.verifier_sharing(&broken).verify(&token, at(0)).await);
    let shared = CachedKeys { jwks: "garbage".to_owned(), fetched_at: at(0) };
    let garbage = Arc::new(Shared { keys: Mutex::new(Some(shared)), ..Shared::default() });
    is_in(idp.verifier_sharing(&garbage).verify(&token, at(0)).await);
}

/// The keys in the table: what was fetched last stays, and each issuer has its own.
#[tokio::test]
async fn the_table_keeps_the_keys() {
    let [key, _] = keys();
    let idp = Idp::start(&[&key]).await;
    let token = key.token(&idp.claims());
    let cloud = Cloud::default();
    let instance = || {
        let stored = StoredKeys { store: cloud.store(), issuer: idp.issuer.clone() };
        Oidc::new(idp.config(), https_connector(), Some(Arc::new(stored)))
    };
    is_in(instance().verify(&token, at(0)).await);
    idp.is(Mood::Broken);
    is_in(instance().verify(&token, at(HOUR)).await);

    let store = cloud.store();
    let kept = store.keys_get(&idp.issuer).await.unwrap().unwrap();
    assert_eq!(kept.fetched_at, at(0));
    let later = CachedKeys { jwks: r#"{"keys":[]}"#.to_owned(), fetched_at: at(1) };
    store.keys_put(&idp.issuer, &later).await.unwrap();
    store.keys_put(&idp.issuer, &kept).await.unwrap();
    assert_eq!(store.keys_get(&idp.issuer).await.unwrap(), Some(later), "an older set came late");
    assert_eq!(store.keys_get("https://id.example.com").await.unwrap(), None);

    let state = cloud.state();
    let items = state.table.partition("OIDC");
    assert_eq!(items.len(), 1);
    assert_eq!(items[0]["expires_at"].as_n().unwrap(), &at(24 * HOUR + 1).as_second().to_string());
}
