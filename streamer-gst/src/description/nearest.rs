//! What somebody may have meant by a misspelt name.

/// The candidate nearest to `name`, if one is near enough to be a misspelling of it.
pub(crate) fn nearest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    // Exchanged letters count once; a third of the name may be wrong.
    let limit = (name.chars().count() / 3).clamp(1, 3);
    let lower = name.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| {
            let distance = strsim::damerau_levenshtein(&lower, &candidate.to_lowercase());
            (distance, candidate)
        })
        .filter(|(distance, candidate)| *distance <= limit && *candidate != name)
        .min()
        .map(|(_, candidate)| candidate)
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
}
