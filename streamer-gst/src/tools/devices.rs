//! `streamer-gst devices`: what this machine can stream from.

use std::collections::BTreeSet;
use std::fs;
use std::process::ExitCode;

use super::nodes::{self, Node};
use crate::device::{Device, Kind, condensed, listing};
use crate::gst::devices;

/// List cameras, screens and microphones with their formats, and how to play them
#[derive(Debug, clap::Args)]
pub struct Devices {
    /// Print a JSON array of {kind, name, path, formats, run, element, problem, cure}
    #[arg(long)]
    json: bool,
}

impl Devices {
    /// Does it.
    pub fn run(self) -> ExitCode {
        let mut found = devices::monitored().unwrap_or_else(|why| {
            // What is found without it is worth telling all the same.
            let _ = super::fail("devices", &why);
            Vec::new()
        });
        // PipeWire lists what Video4Linux lists as well; the first one is enough.
        let mut paths = BTreeSet::new();
        found.retain(|device| device.path.iter().all(|path| paths.insert(path.clone())));
        let unlisted = nodes::cameras();
        let unlisted = unlisted.iter().filter(|node| !paths.contains(&node.path));
        found.extend(unlisted.filter_map(camera));
        found.extend(displays().iter().map(|display| screen(display)));
        found.sort_by_key(|device| device.kind);
        if !self.json {
            super::print(&listing(&found));
            return ExitCode::SUCCESS;
        }
        match serde_json::to_string(&found) {
            Ok(json) => super::print(&json),
            Err(error) => return super::fail("devices", &error.to_string()),
        }
        ExitCode::SUCCESS
    }
}

/// A camera that the monitor does not list. Some files are there for what a camera says beside
/// its pictures; those are left out.
fn camera(node: &Node) -> Option<Device> {
    let path = &node.path;
    let mut device = Device {
        kind: Kind::Camera,
        name: path.clone(),
        path: Some(path.clone()),
        formats: Vec::new(),
        run: Some(format!("./dev run camera device={path}")),
        element: Some(format!("v4l2src device={path}")),
        problem: None,
        cure: None,
    };
    if !node.allowed {
        device.problem = Some(format!("{path} is there, but this user may not use it"));
        device.cure = Some(nodes::cure(&node.group));
        return Some(device);
    }
    match devices::camera(path) {
        Ok(modes) => device.formats = condensed(&modes),
        Err(why) if why.contains("capture device") => return None,
        Err(why) => {
            device.problem = Some(why);
            device.cure = Some(format!(
                "is it plugged in? fuser -v {path} names who uses it"
            ));
        }
    }
    Some(device)
}

/// X displays: the one of the environment first, then those with a socket.
fn displays() -> Vec<String> {
    let own = std::env::var("DISPLAY")
        .ok()
        .filter(|name| !name.is_empty());
    let sockets = fs::read_dir("/tmp/.X11-unix")
        .into_iter()
        .flatten()
        .flatten();
    let mut others: Vec<String> = sockets
        .filter_map(|entry| {
            let name = entry.file_name();
            let number: u32 = name.to_str()?.strip_prefix('X')?.parse().ok()?;
            Some(format!(":{number}"))
        })
        .collect();
    others.sort();
    let same = |other: &String| {
        let own = own.as_deref().unwrap_or_default();
        own == other
            || own
                .strip_prefix(other.as_str())
                .is_some_and(|rest| rest.starts_with('.'))
    };
    others.retain(|other| !same(other));
    own.clone().into_iter().chain(others).collect()
}

fn screen(display: &str) -> Device {
    let mut device = Device {
        kind: Kind::Screen,
        name: format!("X display {display}"),
        path: Some(display.to_owned()),
        formats: Vec::new(),
        run: Some(format!("./dev run screen DISPLAY={display}")),
        element: Some(format!("ximagesrc display-name={display} use-damage=false")),
        problem: None,
        cure: None,
    };
    match devices::screen(display) {
        Ok(modes) => device.formats = condensed(&modes),
        Err(why) => {
            device.problem = Some(why);
            let cure = "run this as the user of that desktop, or let others in: xhost +local:";
            device.cure = Some(cure.to_owned());
        }
    }
    device
}
