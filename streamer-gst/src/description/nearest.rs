//! What somebody may have meant by a misspelt name.

/// The candidate nearest to `name`, if one is near enough to be a misspelling of it.
pub(crate) fn nearest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let lower = name.to_lowercase();
    // Exchanged letters count once. A long beginning in common allows for one more.
    let limit = (name.chars().count() / 3).clamp(1, 3);
    let alike = |candidate: &str| {
        let pairs = lower.bytes().zip(candidate.bytes());
        pairs.take_while(|(a, b)| a.eq_ignore_ascii_case(b)).count() >= 8
    };
    let candidates: Vec<&str> = candidates.into_iter().collect();
    let misspelt = candidates
        .iter()
        .map(|&candidate| {
            let distance = strsim::damerau_levenshtein(&lower, &candidate.to_lowercase());
            (distance, candidate)
        })
        .filter(|(distance, candidate)| {
            let near = *distance <= limit.min(2) || *distance <= limit && alike(candidate);
            near && *candidate != name
        })
        .min()
        .map(|(_, candidate)| candidate);
    misspelt.or_else(|| {
        // `bitrate` for `target-bitrate`, and the other way round.
        let part = |whole: &str, part: &str| {
            let rest = whole.strip_suffix(part).and_then(|r| r.strip_suffix('-'));
            rest.is_some_and(|rest| !rest.is_empty())
        };
        let related = |candidate: &&str| part(candidate, &lower) || part(&lower, candidate);
        let candidates = candidates.into_iter().filter(related);
        candidates.min_by_key(|candidate| candidate.len().abs_diff(lower.len()))
    })
}

/// "did you mean …?" for the nearest candidate.
pub(crate) fn did_you_mean<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    nearest(name, candidates).map(|near| format!("did you mean {near}?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspellings_are_near_and_other_words_are_not() {
        let names = ["vp8enc", "vp9enc", "x264enc", "queue", "tee"];
        assert_eq!(nearest("vp8encc", names), Some("vp8enc"));
        assert_eq!(nearest("VP8ENC", names), Some("vp8enc"));
        assert_eq!(nearest("quuee", names), Some("queue"));
        assert_eq!(nearest("x246enc", names), Some("x264enc"));
        assert_eq!(nearest("videoconvert", names), None);
    }

    #[test]
    fn a_name_may_be_a_part_of_the_one_that_was_meant() {
        let names = ["max-intra-bitrate", "target-bitrate", "name"];
        assert_eq!(nearest("bitrate", names), Some("target-bitrate"));
        assert_eq!(nearest("first-name", names), Some("name"));
        assert_eq!(nearest("rate", names), None);
    }
}
