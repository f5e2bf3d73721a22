//! What of a recording could not be read, told in a few lines however much it is.

use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// By kind: how often, and the first of them in words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Losses(BTreeMap<&'static str, (usize, String)>);

impl Losses {
    pub fn add(&mut self, kind: &'static str, detail: impl Into<String>) {
        self.0.entry(kind).or_insert_with(|| (0, detail.into())).0 += 1;
    }

    pub fn extend(&mut self, other: &Self) {
        for (kind, (count, detail)) in &other.0 {
            self.0.entry(kind).or_insert_with(|| (0, detail.clone())).0 += count;
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One line a kind.
    pub fn lines(&self) -> Vec<String> {
        let line = |(kind, (count, detail)): (&&str, &(usize, String))| match count {
            1 => format!("{kind}: {detail}"),
            count => format!("{kind} ({count} times), the first: {detail}"),
        };
        self.0.iter().map(line).collect()
    }
}

impl fmt::Display for Losses {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.lines().join("; "))
    }
}
