//! The nearest name to a mistyped one.

/// The candidate that is fewest edits away, if that is few enough to be meant.
pub(crate) fn nearest<'n>(name: &str, candidates: &[&'n str]) -> Option<&'n str> {
    // Nobody types names this long by hand, and the comparison takes quadratic time.
    if name.len() > 64 {
        return None;
    }
    let bound = (name.chars().count() / 3).clamp(1, 4);
    candidates
        .iter()
        .map(|candidate| (edits(name, candidate), *candidate))
        .filter(|(edits, _)| *edits <= bound)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions, replacements and swaps of neighbours from `a` to `b`.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    let mut previous = None;
    for (i, x) in a.chars().enumerate() {
        let mut row = vec![i + 1];
        for (j, &y) in b.iter().enumerate() {
            let replace = last[j] + usize::from(x != y);
            let mut best = replace.min(last[j + 1] + 1).min(row[j] + 1);
            if j > 0 && previous == Some(y) && b[j - 1] == x && !before_last.is_empty() {
                best = best.min(before_last[j - 1] + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
        previous = Some(x);
    }
    last.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_count_swaps_once() {
        for (a, b, n) in [("", "", 0), ("a", "", 1), ("kitten", "sitting", 3)] {
            assert_eq!(edits(a, b), n, "{a} {b}");
            assert_eq!(edits(b, a), n, "{b} {a}");
        }
    }

    #[test]
    fn only_near_names_are_suggested() {
        let names = ["listen", "control", "limits"];
        assert_eq!(nearest("lisen", &names), Some("listen"));
        assert_eq!(nearest("contorl", &names), Some("control"));
        assert_eq!(nearest("quux", &names), None);
        assert_eq!(nearest(&"x".repeat(100), &names), None);
    }
}
