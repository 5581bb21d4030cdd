//! The recorded CloudTrail events.

use std::collections::VecDeque;

use serde_json::Value;

/// The last records, oldest first.
#[derive(Default)]
pub(super) struct Trail {
    records: VecDeque<Value>,
}

impl Trail {
    /// Adds a record. The oldest one goes when there are more than 10,000.
    pub(super) fn add(&mut self, record: Value) {
        if self.records.len() == CAPACITY {
            self.records.pop_front();
        }
        self.records.push_back(record);
    }

    /// Returns the records, newest first.
    pub(super) fn newest_first(&self) -> impl Iterator<Item = &Value> {
        self.records.iter().rev()
    }
}

const CAPACITY: usize = 10_000;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_oldest_records_go_first() {
        let mut trail = Trail::default();
        for n in 0..CAPACITY + 2 {
            trail.add(json!(n));
        }
        let kept: Vec<&Value> = trail.newest_first().collect();
        assert_eq!((kept.len(), kept[0], kept[CAPACITY - 1]), (CAPACITY, &json!(CAPACITY + 1), &json!(2)));
    }
}
