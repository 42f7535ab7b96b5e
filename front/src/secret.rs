//! Secrets: what proves that a request comes from whoever got the answer before.

/// 128 random bits as 32 hexadecimal digits.
pub(crate) fn secret() -> String {
    let mut bytes = [0u8; 16];
    // The system's generator fails only on kernels without one; nothing could be served safely.
    getrandom::fill(&mut bytes).expect("the system has a random generator");
    format!("{:032x}", u128::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_have_their_full_length_and_differ() {
        let (one, two) = (secret(), secret());
        assert_eq!(one.len(), 32);
        assert_ne!(one, two);
    }
}
