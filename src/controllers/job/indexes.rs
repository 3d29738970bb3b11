//! Sets of completion indexes as Jobs write them: `1,3-5,7`. Pure.

use std::collections::BTreeSet;

/// Reads what [`format`] wrote; parts that are no numbers, or not below `completions`, are left out.
pub fn parse(text: &str, completions: i32) -> BTreeSet<i32> {
    intervals(text, completions).flat_map(|(first, last)| first..=last).collect()
}

/// The same as first and last of each part: a few letters may name two thousand million indexes.
pub fn intervals(text: &str, completions: i32) -> impl Iterator<Item = (i32, i32)> {
    let parts = text.split(',').filter_map(move |part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some((first.parse::<i32>().ok()?.max(0), last.parse::<i32>().ok()?.min(completions - 1)))
    });
    parts.filter(|(first, last)| first <= last)
}

/// Runs of two are written apart, longer ones as a range, as Kubernetes does; empty for none.
pub fn format(indexes: &BTreeSet<i32>) -> String {
    let mut parts: Vec<(i32, i32)> = Vec::new();
    for index in indexes {
        match parts.last_mut() {
            Some((_, last)) if *last + 1 == *index => *last = *index,
            _ => parts.push((*index, *index)),
        }
    }
    let words = parts.into_iter().map(|(first, last)| match last - first {
        0 => first.to_string(),
        1 => format!("{first},{last}"),
        _ => format!("{first}-{last}"),
    });
    words.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn short_runs_are_lists() {
        assert_eq!(format(&[0, 1, 3, 5, 6, 7].into()), "0,1,3,5-7");
        assert_eq!(parse("0,2-4,x,9-", 4), [0, 2, 3].into());
    }

    proptest! {
        #[test]
        fn reads_what_it_wrote(indexes in prop::collection::btree_set(0i32..40, 0..30)) {
            prop_assert_eq!(parse(&format(&indexes), 40), indexes);
        }
    }
}
