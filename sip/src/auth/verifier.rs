//! What is kept of a password: enough to judge a proof and to make one.

use super::{Algorithm, Credentials, Secret};
use crate::method::Method;

/// A user's password in one realm, hashed with each algorithm.
#[derive(Clone, Debug)]
pub struct Verifier {
    md5: Secret,
    sha256: Secret,
}

impl Verifier {
    /// Of a user of a realm.
    pub fn new(user: &str, realm: &str, password: &Secret) -> Self {
        let hash =
            |algorithm: Algorithm| Secret::new(algorithm.hash(&[user, realm, password.reveal()]));
        Verifier {
            md5: hash(Algorithm::Md5),
            sha256: hash(Algorithm::Sha256),
        }
    }

    /// Whether these credentials, for a request of this method, are by whoever has the password.
    /// It takes as long whether they are or not.
    pub fn admits(&self, credentials: &Credentials, method: &Method) -> bool {
        self.proof(credentials, method) == credentials.response
    }

    /// The proof of these credentials.
    pub(super) fn proof(&self, credentials: &Credentials, method: &Method) -> Secret {
        let user = match credentials.algorithm {
            Algorithm::Md5 => &self.md5,
            Algorithm::Sha256 => &self.sha256,
        };
        credentials.proof(method, user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(password: &str, method: &str, line: &str) -> bool {
        let credentials = Credentials::parse(line).unwrap().unwrap();
        let Ok(method) = method.parse();
        let (user, realm) = (&credentials.user, &credentials.realm);
        Verifier::new(user, realm, &Secret::new(password)).admits(&credentials, &method)
    }

    /// RFC 7616 section 3.9.1.
    const EXAMPLE: &str = "Digest username=\"Mufasa\", realm=\"http-auth@example.org\", \
         uri=\"/dir/index.html\", nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", \
         nc=00000001, cnonce=\"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ\", qop=auth, \
         opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\", ";

    #[test]
    fn the_examples_of_rfc_7616_are_right() {
        for answer in [
            "algorithm=MD5, response=\"8ca523f5e9506fed4657c9700eebdbec\"",
            "algorithm=SHA-256, response=\
             \"753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1\"",
        ] {
            let line = format!("{EXAMPLE}{answer}");
            assert!(admits("Circle of Life", "GET", &line));
            assert!(!admits("Circle of Lies", "GET", &line));
            assert!(!admits("Circle of Life", "POST", &line));
            assert!(!admits(
                "Circle of Life",
                "GET",
                &line.replace("=00000001", "=00000002")
            ));
            assert!(!admits(
                "Circle of Life",
                "GET",
                &line.replace("index", "other")
            ));
        }
    }

    #[test]
    fn answers_without_a_count_are_those_of_rfc_2069() {
        // Section 2.4, whose own figure is wrong: erratum 749.
        let line = "Digest username=\"Mufasa\", realm=\"testrealm@host.com\", \
                    nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", uri=\"/dir/index.html\", \
                    response=\"1949323746fe6a43ef61f9606e7febea\"";
        assert!(admits("CircleOfLife", "GET", line));
    }
}
