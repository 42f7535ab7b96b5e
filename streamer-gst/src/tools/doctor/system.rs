//! Plug-ins, encoders, devices, limits and descriptions.

use crate::Config;
use crate::description::{self, Diagnostic};
use crate::gst::{check, installed};
use crate::limits::{Bound, Room};
use crate::tools::nodes::{self, Node};

use super::finding::Finding;

/// What is installed of GStreamer.
pub(super) fn plugins() -> Vec<Finding> {
    let mut findings: Vec<Finding> = installed::packages().iter().map(of_package).collect();
    findings.extend(of_encoders(&installed::encoders()));
    findings
}

fn of_package(package: &installed::Package) -> Finding {
    let subject = "plug-ins";
    let name = package.name;
    if package.missing.is_empty() {
        return Finding::ok(subject, format!("{name}: {}", package.present.join(", ")));
    }
    let evidence = format!("{name}: no {}", package.missing.join(", "));
    let cure = format!("sudo apt install {name}");
    match package.needed {
        true => Finding::problem(subject, evidence, cure),
        false => Finding::warning(subject, format!("{evidence} ({})", package.purpose), cure),
    }
}

/// One line per codec.
fn of_encoders(encoders: &[(&'static str, Vec<String>)]) -> Vec<Finding> {
    let subject = "encoders";
    encoders
        .iter()
        .map(|(codec, found)| match (*codec, found.is_empty()) {
            (codec, false) => Finding::ok(subject, format!("{codec}: {}", found.join(", "))),
            ("H.264", true) => Finding::warning(
                subject,
                "H.264: none",
                "sudo apt install gstreamer1.0-plugins-ugly (x264enc); VP8 needs none of it",
            ),
            ("VP9", true) => Finding::warning(
                subject,
                "VP9: none",
                "sudo apt install gstreamer1.0-plugins-good (vp9enc); VP8 needs none of it",
            ),
            ("opus", true) => Finding::problem(
                subject,
                "opus: none, so no stream has sound",
                "sudo apt install gstreamer1.0-plugins-base (opusenc)",
            ),
            (codec, true) => Finding::problem(
                subject,
                format!("{codec}: none"),
                "sudo apt install gstreamer1.0-plugins-good (vp8enc)",
            ),
        })
        .collect()
}

/// Whether cameras may be used.
pub(super) fn cameras() -> Vec<Finding> {
    of_cameras(&nodes::cameras())
}

fn of_cameras(found: &[Node]) -> Vec<Finding> {
    let subject = "cameras";
    if found.is_empty() {
        return vec![Finding::ok(subject, "there is no /dev/video*")];
    }
    let path = |node: &Node| node.path.clone();
    let allowed: Vec<String> = found.iter().filter(|node| node.allowed).map(path).collect();
    let mut findings = Vec::new();
    if !allowed.is_empty() {
        let evidence = format!("this user may use {}", allowed.join(", "));
        findings.push(Finding::ok(subject, evidence));
    }
    let locked: Vec<&Node> = found.iter().filter(|node| !node.allowed).collect();
    if let Some(first) = locked.first() {
        let paths: Vec<String> = locked.iter().map(|node| node.path.clone()).collect();
        let evidence = format!("this user may not use {}", paths.join(", "));
        findings.push(Finding::problem(
            subject,
            evidence,
            nodes::cure(&first.group),
        ));
    }
    findings
}

/// Whether the system's limits are enough for all viewers.
pub(super) fn room(room: &Room) -> Vec<Finding> {
    room.bounds
        .iter()
        .map(|b| of_bound(b, room.wanted))
        .collect()
}

fn of_bound(bound: &Bound, wanted: usize) -> Finding {
    let Bound {
        what,
        limit,
        viewers,
        cure,
    } = bound;
    let evidence = format!("{limit} leaves room for {viewers} of {wanted} viewers");
    match *viewers < wanted {
        false => Finding::ok(what, evidence),
        true => Finding::warning(
            what,
            evidence,
            format!("raise it: {cure}; or lower --max-viewers"),
        ),
    }
}

/// Every description that would run.
pub(super) fn descriptions(config: &Config) -> Vec<Finding> {
    let media = config.media();
    let parameters = media.parameters.environment();
    let loaded = match description::load_directory(&media.pipelines, &media.streams, &parameters) {
        Ok(loaded) => loaded,
        Err(faults) => {
            let cure = "--pipelines names the directory; streamer-gst run --help has the rest";
            return vec![Finding::problem("descriptions", faults.to_string(), cure)];
        }
    };
    loaded
        .iter()
        .map(|one| {
            let file = format!("{}.{}", one.name, description::EXTENSION);
            let path = media.pipelines.join(file);
            let (description, mut diagnostics) = check::examine(&path, &parameters);
            diagnostics.extend(check::missing_files(&description));
            of_description(&one.name, &path.display().to_string(), &diagnostics)
        })
        .collect()
}

fn of_description(name: &str, path: &str, diagnostics: &[Diagnostic]) -> Finding {
    let subject = format!("stream {name}");
    let error = diagnostics.iter().find(|diagnostic| diagnostic.is_error());
    let told = error.or(diagnostics.first());
    let Some(mut told) = told.cloned() else {
        return Finding::ok(&subject, format!("{path} is right"));
    };
    let cure = told.help.take();
    let cure = cure.unwrap_or_else(|| format!("streamer-gst check {path} shows the place"));
    match error {
        Some(_) => Finding::problem(&subject, told.to_string(), cure),
        None => Finding::warning(&subject, told.to_string(), cure),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict;
    use super::*;

    #[test]
    fn missing_packages_weigh_by_what_they_are_for() {
        let mut package = installed::Package {
            name: "gstreamer1.0-nice",
            purpose: "connections",
            needed: true,
            present: Vec::new(),
            missing: vec!["nicesrc"],
        };
        let finding = of_package(&package);
        assert_eq!(finding.verdict, Verdict::Problem);
        assert_eq!(finding.cure.unwrap(), "sudo apt install gstreamer1.0-nice");
        package.needed = false;
        assert_eq!(of_package(&package).verdict, Verdict::Warning);
        package.present = package.missing.split_off(0);
        assert_eq!(of_package(&package).verdict, Verdict::Ok);
    }

    #[test]
    fn only_what_every_browser_plays_must_be_encoded() {
        let verdicts = |found: &str| -> Vec<Verdict> {
            let encoders = ["VP8", "VP9", "H.264", "opus"].map(|codec| {
                let names = match codec == found {
                    true => vec!["enc".to_owned()],
                    false => Vec::new(),
                };
                (codec, names)
            });
            let findings = of_encoders(&encoders);
            findings.iter().map(|finding| finding.verdict).collect()
        };
        use Verdict::{Ok, Problem, Warning};
        assert_eq!(verdicts("VP8"), [Ok, Warning, Warning, Problem]);
        assert_eq!(verdicts("opus"), [Problem, Warning, Warning, Ok]);
    }

    #[test]
    fn a_camera_that_may_not_be_used_comes_with_its_group() {
        let node = |path: &str, allowed| Node {
            path: path.to_owned(),
            allowed,
            group: "video".to_owned(),
        };
        let findings = of_cameras(&[node("/dev/video0", true), node("/dev/video1", false)]);
        assert_eq!(findings[0].verdict, Verdict::Ok);
        assert_eq!(findings[1].verdict, Verdict::Problem);
        assert!(findings[1].cure.as_ref().unwrap().contains("-aG video"));
        assert_eq!(of_cameras(&[])[0].verdict, Verdict::Ok);
    }

    #[test]
    fn a_limit_that_is_too_low_is_a_warning_with_its_cure() {
        let bound = Bound {
            what: "open files",
            limit: "the limit of 1024".to_owned(),
            viewers: 20,
            cure: "LimitNOFILE=3584 in a systemd unit".to_owned(),
        };
        let finding = of_bound(&bound, 100);
        assert_eq!(finding.verdict, Verdict::Warning);
        assert!(finding.cure.unwrap().contains("LimitNOFILE=3584"));
        assert_eq!(of_bound(&bound, 20).verdict, Verdict::Ok);
    }
}
