//! Patterns of image references.
//!
//! A reference is compared as it is written, and as ECS gets it: `busybox` and
//! `docker.io/library/busybox` are different texts, though they name the same image. `*` stands for any
//! characters, with two exceptions that keep a pattern from letting in more than it says:
//!
//! - The registry of an image is matched by what stands before the first `/` of the pattern:
//!   `123.dkr.ecr.*.amazonaws.com/*` lets in no `123.dkr.ecr.example.com/x.amazonaws.com/y`, and
//!   `busybox*` no `busybox.example.com/x`.
//! - Of a reference with a tag and a digest only the digest counts: what says nothing of a digest must
//!   match without the tag too. `app:1.*` lets in no `app:1.0@sha256:…`, which can be any image.

use crate::domain::deployment::matches_pattern;

/// Whether the image `reference` matches `pattern`.
pub(super) fn matches_image(pattern: &str, reference: &str) -> bool {
    matches_pattern(pattern, reference)
        && matches_registry(pattern, reference)
        && (pattern.contains('@')
            || without_ignored_tag(reference).is_none_or(|rest| matches_pattern(pattern, &rest)))
}

fn matches_registry(pattern: &str, reference: &str) -> bool {
    // What the OCI distribution takes for a registry.
    let registry = reference
        .split_once('/')
        .map(|(first, _)| first)
        .filter(|first| first.contains(['.', ':']) || *first == "localhost");
    let Some(registry) = registry else {
        // A name of one part is Docker's own; anybody can have `<name>-evil/x`.
        return pattern.contains('/') || pattern.starts_with('*') || !reference.contains('/');
    };
    match pattern.split_once('/') {
        Some((first, _)) => matches_pattern(first, registry),
        None => pattern.starts_with('*'),
    }
}

/// A reference with a tag and a digest, without the tag; `None` of one that has not both.
fn without_ignored_tag(reference: &str) -> Option<String> {
    let (named, digest) = reference.split_once('@')?;
    let (name, tag) = named.rsplit_once(':')?;
    // A colon before the last slash is the port's.
    (!tag.contains('/')).then(|| format!("{name}@{digest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_lets_in_what_it_says_and_no_more() {
        let ecr = "1234.dkr.ecr.eu-west-1.amazonaws.com";
        let digest = format!("sha256:{}", "0f".repeat(32));
        for (pattern, reference) in [
            ("*", "busybox"),
            ("*", "example.com:443/a/b:1"),
            ("busybox", "busybox"),
            ("busybox:*", "busybox:1"),
            ("busybox*", "busybox:1.37"),
            (&format!("{ecr}/app/*"), &*format!("{ecr}/app/report:1")),
            (&format!("{ecr}/app/*"), &format!("{ecr}/app/a/b@{digest}")),
            (&format!("{ecr}/app/*"), &format!("{ecr}/app/a:1@{digest}")),
            ("1234.dkr.ecr.*.amazonaws.com/app/*", &format!("{ecr}/app/report:1")),
            ("*/app/*", &format!("{ecr}/app/report:1")),
            ("*.amazonaws.com/*", &format!("{ecr}/app/report:1")),
            ("*:stable", &format!("{ecr}/app/report:stable")),
            ("library/*", "library/busybox:1"),
            ("app:1@*", &format!("app:1@{digest}")),
            (&format!("app:1@{digest}"), &format!("app:1@{digest}")),
            ("localhost:5000/*", "localhost:5000/a"),
            ("app*", &format!("app:1@{digest}")),
        ] {
            assert!(matches_image(pattern, reference), "{pattern} {reference}");
        }
        for (pattern, reference) in [
            ("", "busybox"),
            ("busybox", "busybox:1"),
            ("busybox", "docker.io/library/busybox"),
            ("busybox*", "busybox.example.com/x"),
            ("busybox*", "busybox:5000/x"),
            ("busybox*", "busybox-other/x:1"),
            ("busybox*", "busybox/x"),
            (&format!("{ecr}/app/*"), &*format!("{ecr}/other/report:1")),
            (&format!("{ecr}/app/*"), &format!("{ecr}/application:1")),
            (&format!("{ecr}/app/*"), &format!("example.com/{ecr}/app/report:1")),
            (&format!("{ecr}/app/*"), &format!("{ecr}.example.com/app/report:1")),
            (&format!("{ecr}*"), &format!("{ecr}.example.com/app/report:1")),
            ("1234.dkr.ecr.*.amazonaws.com/app/*", "1234.dkr.ecr.x.com/y.amazonaws.com/app/z"),
            ("*.amazonaws.com/*", "example.com/x.amazonaws.com/y"),
            // The digest is what is pulled.
            ("app:1.*", &format!("app:1.0@{digest}")),
            ("app:*", &format!("app:1.0@{digest}")),
            ("app:1@sha256:00*", &format!("app:1@{digest}")),
        ] {
            assert!(!matches_image(pattern, reference), "{pattern} {reference}");
        }
    }
}
