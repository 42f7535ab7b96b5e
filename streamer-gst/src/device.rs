//! Cameras, screens and microphones as plain data, and how they are told to people.

use std::collections::BTreeSet;
use std::fmt::Write;

use serde::Serialize;

/// Sizes of one format that are named; the others are counted.
const SIZES: usize = 6;

/// What a device gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Pictures of the world.
    Camera,
    /// Pictures of a desktop.
    Screen,
    /// Sound.
    Microphone,
}

/// Something to stream from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Device {
    /// What it gives.
    pub kind: Kind,
    /// What people call it.
    pub name: String,
    /// Its file, or the X display.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What it can give.
    pub formats: Vec<Format>,
    /// The command that plays it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// How a description begins with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub element: Option<String>,
    /// Why it cannot be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// What to do about that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cure: Option<String>,
}

/// One of the many combinations that a device lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mode {
    /// `raw`, `MJPEG`, `H.264` …
    pub codec: String,
    /// How raw media is laid out: `YUY2`, `S16LE`.
    pub layouts: Vec<String>,
    /// Width and height.
    pub size: Option<(String, String)>,
    /// Pictures or samples per second.
    pub rates: Vec<String>,
    /// Channels of sound.
    pub channels: Vec<String>,
}

/// All modes of one codec.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Format {
    /// `raw`, `MJPEG`, `H.264` …
    pub codec: String,
    /// How raw media is laid out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub layouts: Vec<String>,
    /// `1280x720`, the largest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sizes: Vec<String>,
    /// Pictures or samples per second, the highest first.
    pub rates: Vec<String>,
    /// Channels of sound.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub channels: Vec<String>,
}

/// Puts the modes of each codec together, in the device's order.
pub fn condensed(modes: &[Mode]) -> Vec<Format> {
    let mut codecs: Vec<&str> = Vec::new();
    for mode in modes {
        if !codecs.contains(&mode.codec.as_str()) {
            codecs.push(&mode.codec);
        }
    }
    let all = |codec: &str, values: &dyn Fn(&Mode) -> Vec<String>| -> Vec<String> {
        let modes = modes.iter().filter(|mode| mode.codec == codec);
        let mut values: Vec<String> = modes.flat_map(values).collect();
        let mut seen = BTreeSet::new();
        values.retain(|value| seen.insert(value.clone()));
        values
    };
    let highest = |mut values: Vec<String>| {
        values.sort_by(|a, b| amount(b).total_cmp(&amount(a)));
        values
    };
    codecs
        .iter()
        .map(|codec| Format {
            codec: (*codec).to_owned(),
            layouts: all(codec, &|mode| mode.layouts.clone()),
            sizes: highest(all(codec, &|mode| {
                let size = mode.size.as_ref();
                size.map(|(width, height)| format!("{width}x{height}"))
                    .into_iter()
                    .collect()
            })),
            rates: highest(all(codec, &|mode| mode.rates.clone())),
            channels: all(codec, &|mode| mode.channels.clone()),
        })
        .collect()
}

/// What a text of numbers amounts to: the product of a size, the value of a fraction, the upper
/// end of a range.
fn amount(text: &str) -> f64 {
    let number = |text: &str| -> f64 {
        let last = text.rsplit('–').next().unwrap_or_default();
        match last.split_once('/') {
            Some((above, below)) => {
                above.parse().unwrap_or(0.0) / below.parse().unwrap_or(1.0_f64).max(1.0)
            }
            None => last.parse().unwrap_or(0.0),
        }
    };
    text.split('x').map(number).product()
}

impl Format {
    /// `MJPEG 1920x1080, 1280x720 at 30 fps`.
    fn line(&self, kind: Kind) -> String {
        let mut line = self.codec.clone();
        match self.layouts.as_slice() {
            [] => {}
            few if few.len() <= 4 => {
                let _ = write!(line, " ({})", few.join(", "));
            }
            many => {
                let _ = write!(line, " ({}, {} more)", many[..3].join(", "), many.len() - 3);
            }
        }
        if !self.sizes.is_empty() {
            let named = &self.sizes[..self.sizes.len().min(SIZES)];
            let _ = write!(line, " {}", named.join(", "));
            if self.sizes.len() > SIZES {
                let _ = write!(line, ", {} smaller", self.sizes.len() - SIZES);
            }
        }
        if !self.rates.is_empty() {
            let unit = match kind {
                Kind::Microphone => "Hz",
                _ => "fps",
            };
            let _ = write!(line, " at {} {unit}", self.rates.join(", "));
        }
        if !self.channels.is_empty() {
            let _ = write!(line, ", channels {}", self.channels.join(", "));
        }
        line
    }
}

/// Devices as text, by kind; what there is none of comes with what to do.
pub fn listing(devices: &[Device]) -> String {
    let kinds = [
        (
            Kind::Camera,
            "Cameras",
            "no camera is known to the system: plug one in; in a container, let /dev/video* in",
        ),
        (
            Kind::Screen,
            "Screens",
            "no X display: run this inside of a desktop, or start one with Xvfb :99 and \
             set DISPLAY=:99",
        ),
        (
            Kind::Microphone,
            "Microphones",
            "no sound device: plug one in, or see whether PulseAudio or PipeWire runs (pactl info)",
        ),
    ];
    let mut text = String::new();
    for (kind, title, nothing) in kinds {
        let _ = writeln!(text, "{title}");
        let mut none = true;
        for device in devices.iter().filter(|device| device.kind == kind) {
            none = false;
            describe(&mut text, device);
        }
        if none {
            let _ = writeln!(text, "  none: {nothing}");
        }
    }
    text.trim_end().to_owned()
}

fn describe(text: &mut String, device: &Device) {
    let _ = match &device.path {
        Some(path) if !device.name.ends_with(path.as_str()) => {
            writeln!(text, "  {} ({path})", device.name)
        }
        _ => writeln!(text, "  {}", device.name),
    };
    for format in &device.formats {
        let _ = writeln!(text, "    {}", format.line(device.kind));
    }
    if let Some(problem) = &device.problem {
        let _ = writeln!(text, "    problem: {problem}");
    }
    if let Some(cure) = &device.cure {
        let _ = writeln!(text, "    cure: {cure}");
    }
    if device.problem.is_some() {
        return;
    }
    match (&device.run, &device.element) {
        (Some(run), _) => {
            let _ = writeln!(text, "    play it: {run}");
        }
        (None, Some(element)) => {
            let _ = writeln!(text, "    in a description: {element} ! …");
        }
        (None, None) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(codec: &str, layout: &str, size: (&str, &str), rates: &[&str]) -> Mode {
        Mode {
            codec: codec.to_owned(),
            layouts: vec![layout.to_owned()]
                .into_iter()
                .filter(|layout| !layout.is_empty())
                .collect(),
            size: Some((size.0.to_owned(), size.1.to_owned())),
            rates: rates.iter().map(|rate| (*rate).to_owned()).collect(),
            channels: Vec::new(),
        }
    }

    fn camera() -> Device {
        Device {
            kind: Kind::Camera,
            name: "HD Webcam".to_owned(),
            path: Some("/dev/video0".to_owned()),
            formats: condensed(&[
                mode("raw", "YUY2", ("640", "480"), &["30", "15"]),
                mode("raw", "YUY2", ("1280", "720"), &["10"]),
                mode("raw", "NV12", ("640", "480"), &["30"]),
                mode("MJPEG", "", ("1920", "1080"), &["30000/1001"]),
            ]),
            run: Some("./dev run camera device=/dev/video0".to_owned()),
            element: Some("v4l2src device=/dev/video0".to_owned()),
            problem: None,
            cure: None,
        }
    }

    #[test]
    fn modes_are_condensed_into_a_line_per_codec() {
        assert_eq!(
            listing(&[camera()]).lines().take(5).collect::<Vec<_>>(),
            [
                "Cameras",
                "  HD Webcam (/dev/video0)",
                "    raw (YUY2, NV12) 1280x720, 640x480 at 30, 15, 10 fps",
                "    MJPEG 1920x1080 at 30000/1001 fps",
                "    play it: ./dev run camera device=/dev/video0",
            ]
        );
    }

    #[test]
    fn many_sizes_are_counted() {
        let modes: Vec<Mode> = (1..=9)
            .map(|n| mode("MJPEG", "", (&format!("{n}0"), "10"), &["30"]))
            .collect();
        let line = condensed(&modes)[0].line(Kind::Camera);
        assert!(line.starts_with("MJPEG 90x10, 80x10"), "{line}");
        assert!(line.ends_with("40x10, 3 smaller at 30 fps"), "{line}");
    }

    #[test]
    fn what_cannot_be_used_comes_with_a_cure_and_no_command() {
        let mut device = camera();
        device.problem = Some("may not be read".to_owned());
        device.cure = Some("join the group video".to_owned());
        let text = listing(&[device]);
        assert!(text.contains("    problem: may not be read\n    cure: join the group video\n"));
        assert!(!text.contains("play it"));
    }

    #[test]
    fn where_there_is_nothing_it_says_what_to_do() {
        let text = listing(&[]);
        assert_eq!(text.matches("none: ").count(), 3);
    }

    #[test]
    fn json_has_what_the_text_has() {
        let json = serde_json::to_value(camera()).unwrap();
        assert_eq!(json["kind"], "camera");
        assert_eq!(json["formats"][0]["sizes"][0], "1280x720");
        assert!(json.get("problem").is_none());
    }
}
