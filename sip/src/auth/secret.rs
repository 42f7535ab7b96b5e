//! What must not be seen: passwords, and what is made of them.

use std::fmt;
use subtle::ConstantTimeEq;

/// Characters of a password at least.
pub const LEAST_PASSWORD: usize = 8;

/// A text that shows nowhere, and is compared without telling by time how much of it is right.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Keeps this text.
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// Keeps a password; blanks and line ends around it are none of it.
    ///
    /// # Errors
    /// What is wrong with it, without a part of it.
    pub fn password(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        if text.chars().any(char::is_control) {
            return Err("a password is one line without control characters");
        }
        if text.chars().count() < LEAST_PASSWORD {
            return Err("a password has at least 8 characters");
        }
        Ok(Secret::new(text))
    }

    /// The text, for those who know what they do with it.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_in_its_debug_output() {
        let secret = Secret::password("correct horse").unwrap();
        assert_eq!(
            format!("{:?} {:#?}", secret, Some(&secret)).find("correct"),
            None
        );
        assert_eq!(secret, Secret::new("correct horse"));
        assert_ne!(secret, Secret::new("correct house"));
    }

    #[test]
    fn short_passwords_and_several_lines_are_none() {
        for bad in [
            "",
            "1234567",
            "ääääääa",
            "12345678\n9",
            "1234567\t8",
            " 1234567\n",
        ] {
            let error = Secret::password(bad).unwrap_err();
            assert!(bad.is_empty() || !error.contains(bad));
        }
        assert!(Secret::password("ääääääab").is_ok());
        assert_eq!(
            Secret::password(" a b c d e \r\n"),
            Ok(Secret::new("a b c d e"))
        );
    }
}
