//! The output of a task, from CloudWatch Logs.

use jiff::Timestamp;

use super::Fleet;
use crate::error::{Error, Result, says};

/// GetLogEvents answers at most this many events.
const EVENTS_MAX: i32 = 10_000;
/// What a page may take, as JSON: well under Lambda's 6 MB for an answer, its escapes included.
const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Calls of GetLogEvents for one page at most.
const FETCHES_MAX: usize = 5;
/// What one line may take. CloudWatch Logs takes events of up to 1 MB.
const LINE_BYTES_MAX: usize = 1024 * 1024;

/// Where in a stream a page begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogPosition {
    /// At the first line.
    Start,
    /// The last lines.
    Tail,
    /// Where an earlier page ended.
    After(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    pub timestamp: Timestamp,
    pub message: String,
    /// Whether the message was longer than an answer has room for, and was cut.
    pub truncated: bool,
}

/// Some lines, and where the next ones begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPage {
    pub lines: Vec<LogLine>,
    /// `None` for a stream that does not exist (yet).
    pub next: Option<String>,
    /// Whether CloudWatch Logs had nothing more at this moment.
    pub at_end: bool,
}

impl Fleet {
    /// Up to `limit` lines of a stream. A stream that does not exist has none.
    pub async fn logs(
        &self,
        group: &str,
        stream: &str,
        position: &LogPosition,
        limit: i32,
    ) -> Result<LogPage> {
        let mut whole = self.page_within(group, stream, position, limit).await?;
        // CloudWatch Logs answers less than it has, even nothing, before the end of a stream.
        for _ in 1..FETCHES_MAX {
            let room = limit - i32::try_from(whole.lines.len()).unwrap_or(limit);
            let Some(token) = whole.next.clone().filter(|_| room > 0 && !whole.at_end) else {
                break;
            };
            let more = self
                .page_within(group, stream, &LogPosition::After(token), room)
                .await?;
            if size_of(&whole.lines) + size_of(&more.lines) > PAGE_BYTES_MAX {
                break;
            }
            whole.lines.extend(more.lines);
            whole.next = more.next;
            whole.at_end = more.at_end;
        }
        Ok(whole)
    }

    /// One page, of so many lines as an answer has room for.
    async fn page_within(
        &self,
        group: &str,
        stream: &str,
        position: &LogPosition,
        limit: i32,
    ) -> Result<LogPage> {
        let mut limit = limit;
        loop {
            let page = self.log_page(group, stream, position, limit).await?;
            if size_of(&page.lines) <= PAGE_BYTES_MAX || limit == 1 {
                return Ok(page);
            }
            // GetLogEvents counts bytes before they are escaped: fewer lines, then.
            limit = (limit.min(i32::try_from(page.lines.len()).unwrap_or(limit)) / 2).max(1);
        }
    }

    async fn log_page(
        &self,
        group: &str,
        stream: &str,
        position: &LogPosition,
        limit: i32,
    ) -> Result<LogPage> {
        let token = match position {
            LogPosition::After(token) => Some(token.clone()),
            LogPosition::Start | LogPosition::Tail => None,
        };
        let answer = self
            .logs
            .get_log_events()
            .log_group_name(group)
            .log_stream_name(stream)
            .start_from_head(*position != LogPosition::Tail)
            .limit(limit.clamp(1, EVENTS_MAX))
            .set_next_token(token.clone())
            .send()
            .await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) if says(&error, |error| error.is_resource_not_found_exception()) => {
                return Ok(LogPage {
                    lines: Vec::new(),
                    next: None,
                    at_end: true,
                });
            }
            Err(error) => return Err(Error::aws("logs:GetLogEvents", error)),
        };
        let lines: Vec<LogLine> = answer
            .events()
            .iter()
            .map(|event| {
                let (message, truncated) = cut(event.message().unwrap_or_default());
                LogLine {
                    timestamp: Timestamp::from_millisecond(event.timestamp().unwrap_or(0))
                        .unwrap_or(Timestamp::UNIX_EPOCH),
                    message,
                    truncated,
                }
            })
            .collect();
        // CloudWatch Logs API Reference, GetLogEvents: at the end of the stream it answers the
        // token that it was given. A page can be empty before that.
        let next = answer.next_forward_token;
        let at_end = *position == LogPosition::Tail || (token.is_some() && next == token);
        Ok(LogPage {
            lines,
            next,
            at_end,
        })
    }
}

/// What `lines` take in an answer, their timestamps and punctuation included.
fn size_of(lines: &[LogLine]) -> usize {
    lines.iter().map(|line| json_size(&line.message) + 80).sum()
}

/// The bytes of `text` as a JSON string, without its quotes.
fn json_size(text: &str) -> usize {
    text.bytes()
        .map(|byte| match byte {
            b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 8 | 12 => 2,
            0..=31 => 6,
            _ => 1,
        })
        .sum()
}

/// `text`, cut to what a line may take as JSON, and whether it was.
fn cut(text: &str) -> (String, bool) {
    if json_size(text) <= LINE_BYTES_MAX {
        return (text.to_owned(), false);
    }
    let mut kept = String::new();
    let mut size = 0;
    for character in text.chars() {
        let mut bytes = [0; 4];
        size += json_size(character.encode_utf8(&mut bytes));
        if size > LINE_BYTES_MAX {
            break;
        }
        kept.push(character);
    }
    (kept, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_is_that_of_the_json() {
        for text in [
            "plain",
            "quo\"te\\",
            "\u{1}\u{8}\n\r\t\u{c}\u{1f}\u{7f}",
            "grün",
            "",
        ] {
            let json = serde_json::to_string(text).unwrap();
            assert_eq!(json_size(text), json.len() - 2, "{text:?}");
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_cut_between_characters() {
        let long = "ü\u{1}".repeat(LINE_BYTES_MAX / 8 + 1);
        let (kept, truncated) = cut(&long);
        assert!(truncated && json_size(&kept) <= LINE_BYTES_MAX && long.starts_with(&kept));
        assert_eq!(cut("short"), ("short".to_owned(), false));
    }
}
