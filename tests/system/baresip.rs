//! A viewer that is neither a browser nor ours, and needs no front: baresip, a softphone.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use tempfile::TempDir;

use crate::harness::signaling::Signaling;
use crate::harness::{System, eventually, seconds};

/// A sample of sound: the tone of the stream reaches 6500, silence nothing.
const LOUD: u16 = 1000;

/// Without camera, screen and sound card, and only with what a stream needs; what it hears goes
/// into a file.
fn configuration(directory: &Path) -> String {
    let names = [
        "stdio",
        "ice",
        "dtls_srtp",
        "opus",
        "vp8",
        "ausine",
        "fakevideo",
        "sndfile",
    ];
    let modules = names.map(|name| format!("module {name}.so\n"));
    format!(
        "module_path /usr/lib/baresip/modules\nsip_listen 127.0.0.1:0\n\
         audio_source ausine,440\naudio_player none,\naudio_alert none,\n\
         video_source fakevideo,\nvideo_display fakevideo,\n\
         snd_path {}\nrtcp_mux yes\n\
         {}module_tmp account.so\nmodule_app menu.so\n",
        directory.display(),
        modules.concat()
    )
}

/// One baresip. Dropping it ends it.
struct Softphone {
    child: Child,
    keys: ChildStdin,
    said: Arc<Mutex<String>>,
    directory: TempDir,
}

impl Softphone {
    /// Calls a stream, speaking as browsers do.
    fn call(stream: &str, signaling: SocketAddr) -> Self {
        let account = "<sip:ana@127.0.0.1>;regint=0;medianat=ice;mediaenc=dtls_srtp\
                       ;audio_codecs=opus/48000/2;video_codecs=vp8\n";
        let mut softphone = Self::start(account);
        softphone.command(&format!("dial sip:{stream}@{signaling}"));
        softphone
    }

    /// Registers a name.
    fn register(name: &str, signaling: SocketAddr) -> Self {
        Self::start(&format!("<sip:{name}@{signaling}>;regint=60\n"))
    }

    fn start(account: &str) -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path();
        fs::write(path.join("config"), configuration(path)).unwrap();
        fs::write(path.join("accounts"), account).unwrap();
        // Whatever becomes of the test, after so many seconds it ends by itself.
        let mut child = Command::new("baresip")
            .args(["-4", "-t", "120", "-f"])
            .arg(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("./dev test installs baresip");
        let said = Arc::default();
        // What happens is said to the one, what is asked for to the other.
        collect(child.stdout.take().unwrap(), &said);
        collect(child.stderr.take().unwrap(), &said);
        Self {
            keys: child.stdin.take().unwrap(),
            child,
            said,
            directory,
        }
    }

    fn command(&mut self, command: &str) {
        self.keys
            .write_all(format!("/{command}\n").as_bytes())
            .expect("baresip reads its input");
    }

    /// How many pictures it has decoded and shown.
    fn pictures(&mut self) -> u64 {
        self.command("video_debug");
        let said = self.said.lock().unwrap();
        let shown = said
            .lines()
            .rfind(|line| line.contains("vidisp: fakevideo"));
        let count = shown.and_then(|line| line.split_once("frames=")?.1.parse().ok());
        count.unwrap_or(0)
    }

    /// Whether what it has decoded can be heard.
    fn hears(&self) -> bool {
        let files = fs::read_dir(self.directory.path()).unwrap().flatten();
        let mut decoded =
            files.filter(|file| file.file_name().to_string_lossy().ends_with("dec.wav"));
        decoded.any(|file| {
            let sound = fs::read(file.path()).unwrap();
            let samples = sound.chunks_exact(2);
            let mut samples = samples.map(|pair| i16::from_le_bytes([pair[0], pair[1]]));
            // The file begins with 44 bytes about it.
            samples.by_ref().take(22).for_each(drop);
            samples.any(|sample| sample.unsigned_abs() > LOUD)
        })
    }

    #[track_caller]
    fn plays(&mut self) {
        eventually("the softphone shows pictures", seconds(20), || {
            self.pictures() > 0
        });
        eventually("the softphone hears", seconds(10), || self.hears());
    }

    #[track_caller]
    fn says(&self, text: &str) {
        eventually(&format!("the softphone says {text}"), seconds(20), || {
            self.said.lock().unwrap().contains(text)
        });
    }
}

impl Drop for Softphone {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- baresip said:\n{}", self.said.lock().unwrap());
        }
    }
}

/// Reads what a program says, for it waits where nobody does.
fn collect(stream: impl Read + Send + 'static, said: &Arc<Mutex<String>>) {
    let said = Arc::clone(said);
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            *said.lock().unwrap() += &(line + "\n");
        }
    });
}

#[test]
fn a_softphone_sees_and_hears_until_either_side_hangs_up() {
    let mut system = System::start(&["test"]);
    let signaling = system.signaling.addr("sip");

    let mut softphone = Softphone::call("test", signaling);
    softphone.plays();
    assert_eq!(system.streamer.number("/viewers"), 1);
    softphone.command("hangup");
    eventually("its BYE has ended the call", seconds(5), || {
        system.rest().has_no_call()
    });

    let mut softphone = Softphone::call("test", signaling);
    softphone.plays();
    assert!(system.streamer.terminate().success());
    softphone.says("session closed");
    eventually("signaling holds nothing", seconds(5), || {
        let state = system.signaling.state();
        state["calls"] == 0 && state["sessions"] == 0 && state["streamers"] == 0
    });
    system.assert_quiet();
}

/// For 5 s after its registration a 403 is nothing but one more answer to that (RFC 3261 section
/// 17.1.2.2, timer K); then it is seen, and belongs to nothing.
#[test]
fn a_softphone_takes_no_notice_of_the_403_after_a_restart() {
    let mut server = Signaling::start();
    let mut softphone = Softphone::register("ana", server.sip);
    softphone.says("registered successfully");
    server.restart();
    softphone.says("403 Forbidden (REGISTER)");
    softphone.command("reginfo");
    softphone.says("OK \x1b[;m  Expires 60s");
}
