//! The servers under test. Each relays the same packets from the same ports of loopback, and gives
//! viewers the same: NACK and retransmission, no transport-wide feedback, the last keyframe first.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use bench::Result;
use bench::process::{Process, Usage, address, told};
use bench::protocol::Server as Kind;
use bench::rtp::Media;

use crate::sender::Ports;

/// From start to being reachable.
const START: Duration = Duration::from_secs(30);

/// A running server.
#[derive(Debug)]
pub struct Server {
    /// Which.
    pub kind: Kind,
    /// Where its HTTP is.
    pub http: SocketAddr,
    /// The program that sends media first, then those that help it.
    programs: Vec<Process>,
}

/// What a server is started with.
#[derive(Debug, Clone)]
pub struct Place {
    /// Our programs.
    pub programs: PathBuf,
    /// For files of this run.
    pub directory: PathBuf,
    /// Where it receives media.
    pub ports: Ports,
    /// Where it sends from.
    pub address: IpAddr,
    /// The most viewers there will be.
    pub viewers: usize,
}

impl Server {
    /// Starts one of that kind.
    pub fn start(kind: Kind, place: &Place) -> Result<Self> {
        match kind {
            Kind::Rusticast => rusticast(place),
            Kind::Janus => janus(place),
        }
    }

    /// What the program that sends media uses, and what all together do.
    pub fn usage(&self) -> Result<(Usage, Usage)> {
        let usages = self.programs.iter().map(Process::usage);
        let usages = usages.collect::<Result<Vec<_>>>()?;
        let sum = usages.iter().fold(Usage::default(), |sum, each| Usage {
            cpu: sum.cpu + each.cpu,
            memory: sum.memory + each.memory,
            threads: sum.threads + each.threads,
            descriptors: sum.descriptors + each.descriptors,
        });
        Ok((usages[0], sum))
    }

    /// The program that sends media.
    pub fn media(&self) -> u32 {
        self.programs[0].id()
    }
}

/// Our three programs, as an operator starts them.
fn rusticast(place: &Place) -> Result<Server> {
    let pipelines = place.directory.join("pipelines");
    fs::create_dir_all(&pipelines)?;
    let source = |media: Media, port: u16, kind: &str, name: &str| {
        format!(
            "udpsrc address=127.0.0.1 port={port} caps=\"application/x-rtp,media={kind},\
             clock-rate={},encoding-name={name},payload={}\"",
            media.clock_rate(),
            media.payload_type(),
        )
    };
    let description = format!(
        "{} ! rtpvp8depay ! tee name=video allow-not-linked=true\n\
         {} ! rtpopusdepay ! tee name=audio allow-not-linked=true\n",
        source(Media::Video, place.ports.video, "video", "VP8"),
        source(Media::Audio, place.ports.audio, "audio", "OPUS"),
    );
    fs::write(pipelines.join("bench.launch"), description)?;

    let start = |name: &str, arguments: &[&str]| -> Result<(Process, String)> {
        let mut command = Command::new(place.programs.join(name));
        command.args(arguments).current_dir(&place.directory);
        let log = place.directory.join(format!("{name}.log"));
        let process = Process::start(&mut command, &log)?;
        let ready = process.line(START);
        let ready = ready.map_err(|error| told(name, &log, &error.to_string()))?;
        Ok((process, ready))
    };
    let (signaling, ready) = start("signaling", &["--listen", "127.0.0.1:0"])?;
    let sip = address(&ready, "sip ")?.to_string();
    let flags = ["--http", "127.0.0.1:0", "--signaling", &sip];
    let (front, ready) = start("front", &flags)?;
    let http = address(&ready, "http://")?;
    let (media, viewers) = (place.address.to_string(), (place.viewers + 10).to_string());
    let flags = ["run", "--pipelines", "pipelines", "--signaling", &sip];
    let further = [
        "--media-address",
        &media,
        "--max-viewers",
        &viewers,
        "bench",
    ];
    let (streamer, _) = start("streamer-gst", &[&flags[..], &further[..]].concat())?;
    Ok(Server {
        kind: Kind::Rusticast,
        http,
        programs: vec![streamer, front, signaling],
    })
}

/// Debian's Janus with nothing but the streaming plugin and HTTP.
fn janus(place: &Place) -> Result<Server> {
    let directory = &place.directory;
    let (address, http) = (place.address, free_tcp_port()?);
    let write = |name: &str, text: &str| fs::write(directory.join(name), text);
    write(
        "janus.jcfg",
        &format!(
            "general: {{\n  configs_folder = \"{}\"\n  debug_level = 3\n  session_timeout = 0\n  \
             no_webrtc_encryption = false\n}}\n\
             nat: {{\n  ice_enforce_list = \"{address}\"\n  ice_tcp = false\n  full_trickle = false\n}}\n\
             plugins: {{\n  disable = \"{}\"\n}}\n\
             transports: {{\n  disable = \"{}\"\n}}\n",
            directory.display(),
            others("plugins", "libjanus_streaming.so")?,
            others("transports", "libjanus_http.so")?,
        ),
    )?;
    write(
        "janus.transport.http.jcfg",
        &format!(
            "general: {{\n  http = true\n  ip = \"127.0.0.1\"\n  port = {http}\n  https = false\n}}\n\
             admin: {{\n  admin_http = false\n}}\n"
        ),
    )?;
    write(
        "janus.plugin.streaming.jcfg",
        &format!(
            "general: {{\n}}\nbench: {{\n  type = \"rtp\"\n  id = 1\n  description = \"bench\"\n  \
             audio = true\n  audioport = {}\n  audiopt = {}\n  audiocodec = \"opus\"\n  \
             audioiface = \"lo\"\n  video = true\n  videoport = {}\n  videopt = {}\n  \
             videocodec = \"vp8\"\n  videoiface = \"lo\"\n  videobufferkf = true\n}}\n",
            place.ports.audio,
            Media::Audio.payload_type(),
            place.ports.video,
            Media::Video.payload_type(),
        ),
    )?;
    let log = directory.join("janus.log");
    let mut command = Command::new("janus");
    command.arg("-F").arg(directory);
    let mut process = Process::start(&mut command, &log)?;
    let http = SocketAddr::from((Ipv4Addr::LOCALHOST, http));
    let start = Instant::now();
    while TcpStream::connect(http).is_err() {
        if !process.lives() || start.elapsed() > START {
            return Err(told("janus", &log, "it cannot be reached").into());
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(Server {
        kind: Kind::Janus,
        http,
        programs: vec![process],
    })
}

/// The plug-ins of that kind but one.
fn others(kind: &str, needed: &str) -> Result<String> {
    let library = fs::read_dir("/usr/lib")?
        .flatten()
        .map(|entry| entry.path().join("janus").join(kind))
        .find(|path| path.is_dir())
        .ok_or("janus is not installed")?;
    let names = fs::read_dir(library)?.flatten();
    let names = names.filter_map(|entry| entry.file_name().into_string().ok());
    let others: Vec<_> = names
        .filter(|name| name.ends_with(".so") && name != needed)
        .collect();
    Ok(others.join(","))
}

/// One that is free now; Janus cannot choose by itself.
fn free_tcp_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}
