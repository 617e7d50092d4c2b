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
    /// Up to `limit` lines of a stream, oldest first. A stream that does not exist has none.
    ///
    /// Errors: `NotFound` for a position that CloudWatch Logs does not know (any more: a token
    /// lives for 24 hours).
    pub async fn logs(
        &self,
        group: &str,
        stream: &str,
        position: &LogPosition,
        limit: i32,
    ) -> Result<LogPage> {
        let stream = Stream { logs: &self.logs, group, stream };
        let first = match position {
            LogPosition::Start => stream.fetch_fitting(None, true, limit).await?,
            LogPosition::Tail => stream.fetch_fitting(None, false, limit).await?,
            LogPosition::After(token) => stream.fetch_fitting(Some(token), true, limit).await?,
        };
        match position {
            LogPosition::Tail => stream.tail(first, limit).await,
            LogPosition::Start | LogPosition::After(_) => stream.forward(first, limit).await,
        }
    }
}

/// One log stream.
struct Stream<'a> {
    logs: &'a aws_sdk_cloudwatchlogs::Client,
    group: &'a str,
    stream: &'a str,
}

/// What one call of GetLogEvents answered.
struct Fetched {
    lines: Vec<LogLine>,
    forward: Option<String>,
    backward: Option<String>,
    /// Whether the token that was given came back: there is nothing more in its direction.
    at_end: bool,
}

impl Stream<'_> {
    /// Goes on behind `first`: CloudWatch Logs answers less than it has, even nothing, before the
    /// end of a stream.
    async fn forward(&self, first: Fetched, limit: i32) -> Result<LogPage> {
        let mut page = LogPage { lines: first.lines, next: first.forward, at_end: first.at_end };
        for _ in 1..FETCHES_MAX {
            let room = limit - count(&page.lines);
            let Some(token) = page.next.clone().filter(|_| room > 0 && !page.at_end) else {
                break;
            };
            let more = self.fetch_fitting(Some(&token), true, room).await?;
            if size_of(&page.lines) + size_of(&more.lines) > PAGE_BYTES_MAX {
                break;
            }
            page.lines.extend(more.lines);
            page.next = more.forward;
            page.at_end = more.at_end;
        }
        Ok(page)
    }

    /// Goes on before `first`, which holds the newest lines.
    async fn tail(&self, first: Fetched, limit: i32) -> Result<LogPage> {
        let mut page = LogPage { lines: first.lines, next: first.forward, at_end: true };
        let mut backward = first.backward.filter(|_| !first.at_end);
        for _ in 1..FETCHES_MAX {
            let room = limit - count(&page.lines);
            let Some(token) = backward.take().filter(|_| room > 0) else {
                break;
            };
            let more = self.fetch_fitting(Some(&token), false, room).await?;
            if size_of(&page.lines) + size_of(&more.lines) > PAGE_BYTES_MAX {
                break;
            }
            backward = more.backward.filter(|_| !more.at_end);
            page.lines.splice(0..0, more.lines);
        }
        Ok(page)
    }

    /// One call, for so many lines as an answer has room for.
    async fn fetch_fitting(
        &self,
        token: Option<&str>,
        from_head: bool,
        limit: i32,
    ) -> Result<Fetched> {
        let mut limit = limit;
        loop {
            let fetched = self.fetch(token, from_head, limit).await?;
            if size_of(&fetched.lines) <= PAGE_BYTES_MAX || limit == 1 {
                return Ok(fetched);
            }
            // GetLogEvents counts bytes before they are escaped: fewer lines, then.
            limit = (limit.min(count(&fetched.lines)) / 2).max(1);
        }
    }

    async fn fetch(&self, token: Option<&str>, from_head: bool, limit: i32) -> Result<Fetched> {
        let answer = self
            .logs
            .get_log_events()
            .log_group_name(self.group)
            .log_stream_name(self.stream)
            .start_from_head(from_head)
            .limit(limit.clamp(1, EVENTS_MAX))
            .set_next_token(token.map(str::to_owned))
            .send()
            .await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) if says(&error, |error| error.is_resource_not_found_exception()) => {
                return Ok(Fetched {
                    lines: Vec::new(),
                    forward: None,
                    backward: None,
                    at_end: true,
                });
            }
            // All else that is asked for is of our making.
            Err(error)
                if token.is_some()
                    && says(&error, |error| error.is_invalid_parameter_exception()) =>
            {
                return Err(Error::NotFound("this place in the log".to_owned()));
            }
            Err(error) => return Err(Error::aws("logs:GetLogEvents", error)),
        };
        let lines = answer.events().iter().map(line).collect();
        let (forward, backward) = (answer.next_forward_token, answer.next_backward_token);
        // CloudWatch Logs API Reference, GetLogEvents: at the end of the stream it answers the
        // token that it was given. A page can be empty before that.
        let same_way = if from_head { &forward } else { &backward };
        let at_end = token.is_some() && same_way.as_deref() == token;
        Ok(Fetched { lines, forward, backward, at_end })
    }
}

fn line(event: &aws_sdk_cloudwatchlogs::types::OutputLogEvent) -> LogLine {
    let (message, truncated) = cut(event.message().unwrap_or_default());
    LogLine {
        timestamp: Timestamp::from_millisecond(event.timestamp().unwrap_or(0))
            .unwrap_or(Timestamp::UNIX_EPOCH),
        message,
        truncated,
    }
}

fn count(lines: &[LogLine]) -> i32 {
    i32::try_from(lines.len()).unwrap_or(i32::MAX)
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
        for text in ["plain", "quo\"te\\", "\u{1}\u{8}\n\r\t\u{c}\u{1f}\u{7f}", "grün", ""] {
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
