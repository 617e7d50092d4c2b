//! Cursors: where the next page of a list begins, opaque to the client.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The cursor of the list `list` behind the item `key`.
///
/// It names its list, so that the cursor of one list is refused by another.
pub fn encode(list: &str, key: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{list}\n{key}"))
}

/// The key in `cursor`, if it is one of the list `list`.
pub fn decode(list: &str, cursor: &str) -> Option<String> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (of, key) = text.split_once('\n')?;
    (of == list).then(|| key.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_in_its_own_list_only() {
        let cursor = encode("jobs/platform", "hello");
        assert_eq!(decode("jobs/platform", &cursor).as_deref(), Some("hello"));
        assert_eq!(decode("jobs/other", &cursor), None);
        for bad in ["", "x", "%%%", "aGVsbG8", "aGVsbG8="] {
            assert_eq!(decode("jobs/platform", bad), None, "{bad}");
        }
    }
}
