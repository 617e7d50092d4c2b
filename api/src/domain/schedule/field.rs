//! One field of a cron expression: what its values are called, and the set of values that it means.

use super::shortened;

pub(super) const YEARS: (u32, u32) = (1970, 2199);
pub(super) const MONTH_NAMES: [&str; 12] =
    ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
pub(super) const DAY_NAMES: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// Fewer values of a run are written one by one.
const RUN_MIN: usize = 3;

/// The values of a field, as bits counted from the field's smallest value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Set {
    range: (u32, u32),
    bits: [u64; 4],
}

/// Values that are `step` apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) step: u32,
}

impl Set {
    /// Those of `values` that are in `range`.
    pub(super) fn of(range: (u32, u32), values: impl IntoIterator<Item = u32>) -> Set {
        let mut set = Set { range, bits: [0; 4] };
        values.into_iter().for_each(|value| set.put(value, true));
        set
    }

    pub(super) fn full(range: (u32, u32)) -> Set {
        Set::of(range, range.0..=range.1)
    }

    fn put(&mut self, value: u32, present: bool) {
        if !(self.range.0..=self.range.1).contains(&value) {
            return;
        }
        let bit = (value - self.range.0) as usize;
        if let Some(word) = self.bits.get_mut(bit / 64) {
            let mask = 1 << (bit % 64);
            *word = if present { *word | mask } else { *word & !mask };
        }
    }

    pub(super) fn contains(&self, value: u32) -> bool {
        value.checked_sub(self.range.0).is_some_and(|bit| {
            self.bits.get(bit as usize / 64).is_some_and(|word| word >> (bit % 64) & 1 == 1)
        })
    }

    /// The values, the smallest first.
    pub(super) fn values(&self) -> impl Iterator<Item = u32> {
        (self.range.0..=self.range.1).filter(move |value| self.contains(*value))
    }

    pub(super) fn is_full(&self) -> bool {
        self.values().count() == (self.range.1 - self.range.0 + 1) as usize
    }

    /// The values as ranges, each as long as can be.
    pub(super) fn ranges(&self) -> Vec<(u32, u32)> {
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for value in self.values() {
            match ranges.last_mut() {
                Some((_, to)) if *to + 1 == value => *to = value,
                _ => ranges.push((value, value)),
            }
        }
        ranges
    }

    /// The whole set as one run, if it has two values or more and is one.
    pub(super) fn as_run(&self) -> Option<Run> {
        let values: Vec<u32> = self.values().collect();
        let (from, to) = (*values.first()?, *values.last()?);
        let step = *values.get(1)? - from;
        values.windows(2).all(|pair| pair[1] - pair[0] == step).then_some(Run { from, to, step })
    }

    /// The set as AWS writes it: `*`, values, ranges and, where they are allowed, steps. Equal sets are
    /// written alike.
    pub(super) fn text(&self, steps: bool) -> String {
        if self.is_full() {
            return "*".to_owned();
        }
        let texts: Vec<String> = self
            .runs(if steps { self.range.1 } else { 1 })
            .into_iter()
            .map(|Run { from, to, step }| match step {
                _ if from == to => from.to_string(),
                1 => format!("{from}-{to}"),
                _ if to + step > self.range.1 => format!("{from}/{step}"),
                _ => format!("{from}-{to}/{step}"),
            })
            .collect();
        texts.join(",")
    }

    /// Few runs that together are the set, by their first values: again and again the one that brings the most of
    /// the values that are missing, as long as one brings enough.
    fn runs(&self, largest_step: u32) -> Vec<Run> {
        let mut missing = self.clone();
        let mut runs = Vec::new();
        while let Some(run) = self.best_run(&missing, largest_step) {
            (run.from..=run.to)
                .step_by(run.step as usize)
                .for_each(|value| missing.put(value, false));
            runs.push(run);
        }
        runs.extend(missing.values().map(|value| Run { from: value, to: value, step: 1 }));
        runs.sort_by_key(|run| run.from);
        runs
    }

    fn best_run(&self, missing: &Set, largest_step: u32) -> Option<Run> {
        let largest = self.range.1;
        let mut best = (None, RUN_MIN - 1);
        for from in missing.values() {
            for step in 1..=largest_step.min(largest - from) {
                if ((largest - from) / step + 1) as usize <= best.1 {
                    break;
                }
                let (mut to, mut brings) = (from, 0);
                for value in (from..=largest).step_by(step as usize) {
                    if !self.contains(value) {
                        break;
                    }
                    to = value;
                    brings += usize::from(missing.contains(value));
                }
                if brings > best.1 {
                    best = (Some(Run { from, to, step }), brings);
                }
            }
        }
        best.0
    }
}

/// One of the fields: what its values are called and may be.
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) range: (u32, u32),
    pub(super) names: &'static [&'static str],
    /// `a/b` and `*/b`: all of AWS's fields but the day of the week.
    pub(super) steps: bool,
    /// Ranges such as `20-2` go around: all of AWS's fields but the year.
    pub(super) wraps: bool,
}

pub(super) const MINUTES: Field =
    Field { name: "minutes", range: (0, 59), names: &[], steps: true, wraps: true };
pub(super) const HOURS: Field =
    Field { name: "hours", range: (0, 23), names: &[], steps: true, wraps: true };
pub(super) const DAY_OF_MONTH: Field =
    Field { name: "day-of-month", range: (1, 31), names: &[], steps: true, wraps: true };
pub(super) const MONTH: Field =
    Field { name: "month", range: (1, 12), names: &MONTH_NAMES, steps: true, wraps: true };
pub(super) const DAY_OF_WEEK: Field =
    Field { name: "day-of-week", range: (1, 7), names: &DAY_NAMES, steps: false, wraps: true };
pub(super) const YEAR: Field =
    Field { name: "year", range: YEARS, names: &[], steps: true, wraps: false };

impl Field {
    /// A list of values, ranges and steps.
    pub(super) fn parse(&self, text: &str) -> Result<Set, String> {
        let mut set = Set::of(self.range, []);
        for part in text.split(',') {
            self.parse_part(part, &mut set)?;
        }
        Ok(set)
    }

    fn parse_part(&self, part: &str, set: &mut Set) -> Result<(), String> {
        let (smallest, largest) = self.range;
        let (values, step) = match part.split_once('/') {
            Some((values, step)) => (values, Some(self.step(step)?)),
            None => (part, None),
        };
        let (from, to) = if values == "*" {
            (smallest, largest)
        } else if let Some((from, to)) = values.split_once('-') {
            (self.value(from)?, self.value(to)?)
        } else {
            let from = self.value(values)?;
            (from, if step.is_some() { largest } else { from })
        };
        if from > to && !self.wraps {
            return Err(format!("{}: the range `{values}` goes backwards", self.name));
        }
        let size = largest - smallest + 1;
        let length = if from <= to { to - from } else { to + size - from };
        for offset in (0..=length).step_by(step.unwrap_or(1) as usize) {
            set.put((from - smallest + offset) % size + smallest, true);
        }
        Ok(())
    }

    fn step(&self, text: &str) -> Result<u32, String> {
        if !self.steps {
            return Err(format!(
                "{}: AWS takes values, ranges and lists here, and no steps such as `/{}`",
                self.name,
                shortened(text)
            ));
        }
        // AWS refuses `*/60` in the minutes, as Quartz does: github.com/aws/aws-sdk-js, issue 4212.
        let most = self.range.1.min(self.range.1 - self.range.0 + 1);
        number(text).filter(|step| (1..=most).contains(step)).ok_or_else(|| {
            format!("{}: a step is a number from 1 to {most}, not `{}`", self.name, shortened(text))
        })
    }

    pub(super) fn value(&self, text: &str) -> Result<u32, String> {
        let (smallest, largest) = self.range;
        let named = self.names.iter().position(|name| name.eq_ignore_ascii_case(text));
        let value = named.map(|at| at as u32 + smallest).or_else(|| number(text));
        value.filter(|value| (smallest..=largest).contains(value)).ok_or_else(|| {
            let names = match (self.names.first(), self.names.last()) {
                (Some(first), Some(last)) => format!(" or {first} to {last}"),
                _ => String::new(),
            };
            format!(
                "{}: allowed are {smallest} to {largest}{names}, not `{}`",
                self.name,
                shortened(text)
            )
        })
    }
}

/// A number of at most four digits and no sign.
pub(super) fn number(text: &str) -> Option<u32> {
    let digits = (1..=4).contains(&text.len()) && text.bytes().all(|one| one.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_written_short() {
        for (text, expected) in [
            ("0-59", "*"),
            ("0/1", "*"),
            ("*/5", "0/5"),
            ("5/15", "5/15"),
            ("0,1", "0,1"),
            ("2,1,0", "0-2"),
            ("0,30", "0,30"),
            ("0,20,40", "0/20"),
            ("0-30/10", "0-30/10"),
            ("58-1", "0,1,58,59"),
            ("0/3,0/7", "0/3,7/7"),
            ("0/10,31,32", "0/10,31,32"),
        ] {
            assert_eq!(MINUTES.parse(text).unwrap().text(true), expected, "{text}");
        }
        assert_eq!(DAY_OF_WEEK.parse("2,4,6").unwrap().text(false), "2,4,6");
        assert_eq!(DAY_OF_WEEK.parse("FRI-MON").unwrap().text(false), "1,2,6,7");
    }
}
