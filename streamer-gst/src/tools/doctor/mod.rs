//! `streamer-gst doctor`: whether everything a stream needs is there.

mod finding;
mod network;
mod ports;
mod system;

use std::net::SocketAddr;
use std::process::ExitCode;

use finding::{Finding, has_problem, report};

use crate::Config;
use crate::gst::{Timeline, ViewerSettings, WebRtcEngine};
use crate::limits;

/// Look whether everything is there that streams need, and say what to do where it is not
///
/// Takes the flags of run, and judges what they would lead to. Exits with 1 when there is a
/// problem; warnings do not count.
#[derive(Debug, clap::Args)]
pub struct Doctor {
    #[command(flatten)]
    config: Config,

    /// Address for browsers, as given to front
    #[arg(
        long,
        value_name = "IP:PORT",
        env = "RUSTICAST_HTTP",
        default_value = "127.0.0.1:8080",
        value_parser = admin::address
    )]
    http: SocketAddr,

    /// Print a JSON array of {subject, verdict, evidence, cure}
    #[arg(long)]
    json: bool,
}

impl Doctor {
    /// Does it.
    pub fn run(self) -> ExitCode {
        let findings = self.findings();
        if self.json {
            match serde_json::to_string(&findings) {
                Ok(json) => super::print(&json),
                Err(error) => return super::fail("doctor", &error.to_string()),
            }
        } else {
            super::print(&report(&findings));
        }
        match has_problem(&findings) {
            true => ExitCode::FAILURE,
            false => ExitCode::SUCCESS,
        }
    }

    fn findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        if let Err(error) = self.config.check() {
            let cure = "streamer-gst run --help lists the flags";
            findings.push(Finding::problem("flags", error.to_string(), cure));
        }
        match Timeline::begin() {
            Ok(timeline) => {
                findings.extend(system::plugins());
                let settings = ViewerSettings {
                    media_addresses: self.config.media_addresses.clone(),
                };
                let engine = WebRtcEngine::new(timeline, settings);
                findings.push(match engine.check() {
                    Ok(()) => network::addresses(engine.addresses()),
                    Err(why) => {
                        let cure = "sudo apt install gstreamer1.0-plugins-bad gstreamer1.0-nice";
                        Finding::problem("viewers", why, cure)
                    }
                });
                findings.extend(system::descriptions(&self.config));
            }
            Err(why) => {
                let cure = "sudo apt install libgstreamer1.0-0 gstreamer1.0-plugins-base";
                findings.push(Finding::problem("GStreamer", why, cure));
            }
        }
        findings.extend(network::signaling(self.config.signaling));
        findings.push(network::http(self.http));
        findings.extend(system::cameras());
        findings.extend(system::room(&limits::room(self.config.max_viewers)));
        findings
    }
}
