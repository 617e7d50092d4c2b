//! The layers of the crate use each other as `docs/ARCHITECTURE.md` says, and in no other way.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Who may use whom. A layer may always use itself.
const MAY_USE: [(&str, &[&str]); 11] = [
    ("domain", &[]),
    ("error", &["domain"]),
    ("store", &["domain", "error"]),
    ("provision", &["domain", "error"]),
    ("fleet", &["domain", "error"]),
    ("identity", &["domain", "error"]),
    ("app", &["domain", "error", "store", "provision", "fleet", "identity"]),
    ("http", &["app", "domain", "error", "identity"]),
    ("events", &["app", "domain", "error"]),
    ("config", &["domain"]),
    ("telemetry", &[]),
];

/// The crates that only some layers may use, and those layers: all that talks to the world outside.
/// `main` may use any.
const ONLY_IN: [(&str, &[&str]); 10] = [
    ("aws_sdk_", &["store", "provision", "fleet"]),
    ("aws_smithy_", &["store", "provision", "fleet", "identity", "error"]),
    ("aws_config", &[]),
    ("aws_lambda_events", &["events"]),
    ("axum", &["http"]),
    ("jsonwebtoken", &["identity"]),
    ("lambda_http", &["http"]),
    ("tower", &["http"]),
    ("utoipa", &["http"]),
    ("tokio", &["store", "provision", "fleet", "identity", "app", "http", "events"]),
];

/// What in `text`, a file of the module `module`, its layer may not use.
fn breaches(module: &[&str], text: &str) -> Vec<String> {
    let layer = module[0];
    let code = without_comments(text);
    let mut found = BTreeSet::new();
    for path in paths(&code) {
        let used = match path.split("::").next().unwrap_or_default() {
            "crate" | "super" => layers_of(module, &path),
            first => {
                let only = ONLY_IN.iter().find(|(name, _)| first.starts_with(name));
                if only.is_some_and(|(_, layers)| !layers.contains(&layer)) {
                    found.insert(format!("{layer} uses {first}"));
                }
                continue;
            }
        };
        let (_, allowed) = MAY_USE.iter().find(|(name, _)| *name == layer).unwrap();
        for other in used {
            let is_layer = MAY_USE.iter().any(|(name, _)| *name == other);
            if is_layer && other != layer && !allowed.contains(&&*other) {
                found.insert(format!("{layer} uses {other}"));
            }
        }
    }
    if layer != "http" && code.contains("StatusCode") {
        found.insert(format!("{layer} knows status codes"));
    }
    found.into_iter().collect()
}

fn without_comments(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Every path in the code; behind `::{` up to the end of the group.
fn paths(code: &str) -> Vec<String> {
    let is_part = |one: char| one.is_alphanumeric() || one == '_' || one == ':';
    let mut paths = Vec::new();
    let mut rest = code;
    while let Some(start) = rest.find(is_part) {
        rest = &rest[start..];
        let end = rest.find(|one| !is_part(one)).unwrap_or(rest.len());
        let mut path = rest[..end].to_owned();
        rest = &rest[end..];
        if path.ends_with("::") && rest.starts_with('{') {
            let group = &rest[..rest.find(';').unwrap_or(rest.len())];
            path.push_str(&group.split_whitespace().collect::<String>());
        }
        if path.contains("::") {
            paths.push(path);
        }
    }
    paths
}

/// The first parts below the crate of a path that starts with `crate` or `super`.
fn layers_of(module: &[&str], path: &str) -> Vec<String> {
    let mut depth = module.len();
    let mut rest = path;
    loop {
        if let Some(below) = rest.strip_prefix("crate::") {
            depth = 0;
            rest = below;
        } else if let Some(above) = rest.strip_prefix("super::") {
            depth = depth.saturating_sub(1);
            rest = above;
        } else {
            break;
        }
    }
    if depth > 0 {
        return Vec::new();
    }
    match rest.strip_prefix('{') {
        None => vec![rest.split("::").next().unwrap_or_default().to_owned()],
        Some(group) => {
            // The parts of the group itself, not of groups within it.
            let mut nesting = 0;
            let mut parts = vec![String::new()];
            for one in group.chars() {
                match one {
                    '{' => nesting += 1,
                    '}' => nesting -= 1,
                    ',' if nesting == 0 => parts.push(String::new()),
                    _ if nesting == 0 => parts.last_mut().unwrap().push(one),
                    _ => {}
                }
            }
            let firsts = parts.iter().map(|part| part.split("::").next().unwrap_or_default());
            firsts.map(str::to_owned).collect()
        }
    }
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

#[test]
fn every_layer_uses_what_it_may() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut checked = BTreeSet::new();
    let mut found = Vec::new();
    for file in files_below(&source) {
        let name = file.strip_prefix(&source).unwrap().with_extension("");
        let mut module: Vec<&str> = name.iter().map(|part| part.to_str().unwrap()).collect();
        if module.last() == Some(&"mod") {
            module.pop();
        }
        // `main` puts everything together, `lib` only names it.
        if matches!(module[0], "main" | "lib" | "bin") {
            continue;
        }
        let layer = module[0].to_owned();
        assert!(
            MAY_USE.iter().any(|(name, _)| *name == layer),
            "{} is in no layer that is known here",
            file.display()
        );
        let text = fs::read_to_string(&file).unwrap();
        let breaches = breaches(&module, &text).into_iter();
        found.extend(breaches.map(|breach| format!("{}: {breach}", file.display())));
        checked.insert(layer);
    }
    assert_eq!(found, [""; 0]);
    assert_eq!(checked.len(), MAY_USE.len(), "{checked:?}");
}

#[test]
fn a_breach_is_found() {
    for (module, code, wanted) in [
        (&["domain", "run"][..], "use crate::store::Store;", "domain uses store"),
        (&["domain"], "use super::store::Store;", "domain uses store"),
        (&["domain", "job", "x"], "use super::super::super::app::App;", "domain uses app"),
        (&["domain", "run"], "fn f() -> crate::error::Result<()> {}", "domain uses error"),
        (&["domain", "run"], "use tokio::time::sleep;", "domain uses tokio"),
        (&["domain", "run"], "#[derive(utoipa::ToSchema)]\nstruct A;", "domain uses utoipa"),
        (
            &["store", "jobs"],
            "let x = crate::provision::names::Names::of();",
            "store uses provision",
        ),
        (&["fleet", "logs"], "use crate::{\n    domain::x,\n    store,\n};", "fleet uses store"),
        (&["provision"], "use crate::{error::{A, B}, app::App};", "provision uses app"),
        (&["app", "jobs"], "use crate::http::router;", "app uses http"),
        (&["app", "jobs"], "use aws_sdk_ecs::Client;", "app uses aws_sdk_ecs"),
        (&["http", "jobs"], "use crate::store::Store;", "http uses store"),
        (&["http", "auth"], "use jsonwebtoken::decode;", "http uses jsonwebtoken"),
        (&["identity", "oidc"], "use crate::store::Store;", "identity uses store"),
        (&["identity"], "use aws_sdk_iam::Client;", "identity uses aws_sdk_iam"),
        (&["http", "runs"], "use super::super::fleet::LogLine;", "http uses fleet"),
        (&["events"], "use crate::provision::plan;", "events uses provision"),
        (&["events"], "fn f(_: axum::Router) {}", "events uses axum"),
        (&["error"], "use ::http::StatusCode;", "error knows status codes"),
        (&["config"], "use crate::app::App;", "config uses app"),
    ] {
        assert_eq!(breaches(module, code), [wanted], "{code}");
    }
}

#[test]
fn what_is_allowed_is_no_breach() {
    for (module, code) in [
        (&["domain", "run"][..], "use super::job::LastRun;\nuse crate::domain::task::Task;"),
        (&["domain", "run"], "// as crate::store does\n/// `tokio::time`"),
        (&["domain", "job"], "mod tests {\n    use super::*;\n}"),
        (&["app", "jobs"], "use super::{App, Moment};\nuse crate::store::{self, Page};"),
        (&["http", "jobs"], "use super::runs::RunStatus;\nuse axum::http::StatusCode;"),
        (&["store", "jobs"], "use aws_sdk_dynamodb::Client;\nuse crate::error::Result;"),
    ] {
        assert_eq!(breaches(module, code), [""; 0], "{code}");
    }
}
