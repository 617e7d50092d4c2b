//! The order of events, and how often they come, makes no difference.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{apply_all, run_items, with_job};
use crate::job::stored;
use crate::task::{STATES, state};

/// The events of one task up to the state with the number `last`.
fn events_of(id: &str, created: i64, last: usize, ends: Ends) -> Vec<Value> {
    let until = &STATES[..=last];
    let events = until.iter().zip(1..).map(|(status, version)| {
        let mut event = state(id, created, status, version);
        if *status == "STOPPED" {
            let detail = &mut event["detail"];
            detail["stopCode"] = json!(ends.stop_code);
            detail["containers"][0]["exitCode"] = json!(ends.exit_code);
        }
        event
    });
    events.collect()
}

#[derive(Clone, Copy, Debug)]
struct Ends {
    stop_code: &'static str,
    exit_code: Option<i32>,
}

fn ends() -> impl Strategy<Value = Ends> {
    let codes =
        ["EssentialContainerExited", "TaskFailedToStart", "UserInitiated", "SpotInterruption"];
    let exit_codes = prop_oneof![Just(None), Just(Some(0)), Just(Some(137))];
    (prop::sample::select(codes.to_vec()), exit_codes)
        .prop_map(|(stop_code, exit_code)| Ends { stop_code, exit_code })
}

/// Events of two tasks of the job, in their order.
fn history() -> impl Strategy<Value = Vec<Value>> {
    let first = (0..STATES.len(), ends());
    let second = (0..STATES.len(), ends(), 0_i64..3);
    (first, second).prop_map(|((last, ends), (second_last, second_ends, later))| {
        let mut events = events_of("0a", 0, last, ends);
        events.extend(events_of("0b", later, second_last, second_ends));
        events
    })
}

/// The same events, each at least once, in any order.
fn shuffled() -> impl Strategy<Value = (Vec<Value>, Vec<Value>)> {
    history().prop_flat_map(|events| {
        let again = prop::sample::subsequence(events.clone(), 0..=events.len());
        let all = again.prop_map({
            let events = events.clone();
            move |again| events.iter().cloned().chain(again).collect::<Vec<_>>()
        });
        (Just(events), all.prop_shuffle())
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 48,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_order_and_repetition_of_events_gives_the_same_history((events, shuffled) in shuffled()) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let (in_order, out_of_order) = runtime.block_on(async {
            let mut results = Vec::new();
            for events in [events, shuffled] {
                let (cloud, app) = with_job().await;
                apply_all(&app, &events).await;
                let shown = stored(&app).await.unwrap().recent_runs;
                let shown = (shown.runs().to_vec(), shown.last_outcome());
                results.push((run_items(&cloud), shown));
            }
            (results.remove(0), results.remove(0))
        });
        prop_assert_eq!(in_order.0.len(), 2);
        prop_assert_eq!(in_order.1.0.len(), 2);
        prop_assert_eq!(in_order, out_of_order);
    }
}
