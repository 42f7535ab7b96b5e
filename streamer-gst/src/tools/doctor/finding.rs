//! One line of the doctor's: what was looked at, how it is, why, and what to do.

use std::fmt::Write;

use serde::Serialize;

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    Ok,
    /// It works, but not as well as it could, or not for everybody.
    Warning,
    /// It does not work.
    Problem,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) subject: String,
    pub(super) verdict: Verdict,
    pub(super) evidence: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cure: Option<String>,
}

impl Finding {
    pub(super) fn ok(subject: &str, evidence: impl Into<String>) -> Self {
        Self {
            subject: subject.to_owned(),
            verdict: Verdict::Ok,
            evidence: evidence.into(),
            cure: None,
        }
    }

    pub(super) fn warning(
        subject: &str,
        evidence: impl Into<String>,
        cure: impl Into<String>,
    ) -> Self {
        Self {
            verdict: Verdict::Warning,
            cure: Some(cure.into()),
            ..Self::ok(subject, evidence)
        }
    }

    pub(super) fn problem(
        subject: &str,
        evidence: impl Into<String>,
        cure: impl Into<String>,
    ) -> Self {
        Self {
            verdict: Verdict::Problem,
            ..Self::warning(subject, evidence, cure)
        }
    }
}

/// All findings as text, with a last line that counts.
pub(super) fn report(findings: &[Finding]) -> String {
    let widest = findings
        .iter()
        .map(|finding| finding.subject.chars().count());
    let widest = widest.max().unwrap_or_default();
    let mut text = String::new();
    for finding in findings {
        let verdict = match finding.verdict {
            Verdict::Ok => "ok",
            Verdict::Warning => "warning",
            Verdict::Problem => "problem",
        };
        let indent = 9 + widest + 2;
        let evidence = finding
            .evidence
            .trim()
            .replace('\n', &format!("\n{:indent$}", ""));
        let _ = writeln!(text, "{verdict:<9}{:<widest$}  {evidence}", finding.subject);
        if let Some(cure) = &finding.cure {
            let _ = writeln!(text, "{:indent$}cure: {cure}", "");
        }
    }
    let count = |verdict| {
        let matching = findings.iter().filter(|finding| finding.verdict == verdict);
        matching.count()
    };
    let counted = |number: usize, name: &str| match number {
        1 => format!("1 {name}"),
        _ => format!("{number} {name}s"),
    };
    let _ = write!(
        text,
        "\n{}, {}",
        counted(count(Verdict::Problem), "problem"),
        counted(count(Verdict::Warning), "warning")
    );
    text
}

/// Whether something does not work.
pub(super) fn has_problem(findings: &[Finding]) -> bool {
    findings
        .iter()
        .any(|finding| finding.verdict == Verdict::Problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_has_verdict_evidence_and_cure() {
        let findings = [
            Finding::ok("open files", "enough"),
            Finding::warning("encoders", "no H.264", "apt install x"),
            Finding::problem("test", "line 1\nline 2", "mend it"),
        ];
        assert_eq!(
            report(&findings),
            "ok       open files  enough\n\
             warning  encoders    no H.264\n\
             \u{20}                    cure: apt install x\n\
             problem  test        line 1\n\
             \u{20}                    line 2\n\
             \u{20}                    cure: mend it\n\n\
             1 problem, 1 warning"
        );
        assert!(has_problem(&findings) && !has_problem(&findings[..2]));
        let json = serde_json::to_value(&findings).unwrap();
        assert_eq!(json[2]["verdict"], "problem");
        assert!(json[0].get("cure").is_none());
    }
}
