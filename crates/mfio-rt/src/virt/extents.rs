//! A set of numbers, as the ranges that they form.

use alloc::{collections::BTreeMap, vec::Vec};
use core::ops::Range;

/// Numbers, of which many follow upon each other. Ranges neither overlap nor touch.
#[derive(Debug, Default)]
pub(super) struct Extents {
    /// Start to end.
    ranges: BTreeMap<u64, u64>,
    total: u64,
}

impl Extents {
    /// How many numbers there are.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// How many of `range` are there.
    pub(super) fn count(&self, range: &Range<u64>) -> u64 {
        self.overlaps(range).map(|(start, end)| end.min(range.end) - start.max(range.start)).sum()
    }

    pub(super) fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let _was_there = self.remove(range.clone());
        self.total += range.end - range.start;
        let Range { mut start, mut end } = range;
        if let Some((&before, &stop)) = self.ranges.range(..start).next_back()
            && stop == start
        {
            self.ranges.remove(&before);
            start = before;
        }
        if let Some(stop) = self.ranges.remove(&end) {
            end = stop;
        }
        self.ranges.insert(start, end);
    }

    /// Takes `range` out, and says how many of it were there.
    pub(super) fn remove(&mut self, range: Range<u64>) -> u64 {
        let cut: Vec<(u64, u64)> = self.overlaps(&range).collect();
        let mut removed = 0;
        for (start, end) in cut {
            self.ranges.remove(&start);
            if start < range.start {
                self.ranges.insert(start, range.start);
            }
            if end > range.end {
                self.ranges.insert(range.end, end);
            }
            removed += end.min(range.end) - start.max(range.start);
        }
        self.total -= removed;
        removed
    }

    fn overlaps(&self, range: &Range<u64>) -> impl Iterator<Item = (u64, u64)> {
        let Range { start, end } = *range;
        let before = self.ranges.range(..start).next_back();
        let from = before.filter(|(_, stop)| **stop > start).map_or(start, |(first, _)| *first);
        // The end may lie before the start: then nothing is between.
        self.ranges.range(from..end.max(from)).map(|(start, end)| (*start, *end))
    }
}

#[cfg(all(test, feature = "std"))]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn as_a_set_of_single_numbers() {
        let (mut extents, mut set) = (Extents::default(), BTreeSet::new());
        let mut seed = 1_u64;
        for _ in 0..4000 {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let (start, len, insert) = (seed >> 58, (seed >> 40) % 9, seed >> 39 & 1 == 0);
            let range = start..start + len;
            let had = range.clone().filter(|number| set.contains(number)).count();
            assert_eq!(extents.count(&range), u64::try_from(had).unwrap());
            if insert {
                extents.insert(range.clone());
                set.extend(range);
            } else {
                assert_eq!(extents.remove(range.clone()), u64::try_from(had).unwrap());
                set.retain(|number| !range.contains(number));
            }
            assert_eq!(extents.total(), u64::try_from(set.len()).unwrap());
            let listed: Vec<u64> = extents.ranges.iter().flat_map(|(s, e)| *s..*e).collect();
            assert_eq!(listed, set.iter().copied().collect::<Vec<_>>());
        }
    }
}
