//! Captures as operators look at them: sngrep on a terminal.

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use crate::interop::{SCENARIOS, UDP, calls};
use crate::support::{Directory, PATIENCE, Program};

/// A terminal without anybody before it, which is closed with this.
struct Terminal<'a> {
    socket: &'a Path,
}

impl<'a> Terminal<'a> {
    /// Opens one that shows a program.
    fn open(socket: &'a Path, program: &[&str]) -> Self {
        let terminal = Terminal { socket };
        let size = ["new-session", "-d", "-x", "150", "-y", "50"];
        let opened = terminal.tmux(&[&size, program].concat());
        let told = String::from_utf8_lossy(&opened.stderr);
        assert!(opened.status.success(), "tmux: {told}");
        terminal
    }

    fn tmux(&self, arguments: &[&str]) -> Output {
        let mut tmux = Command::new("tmux");
        tmux.arg("-S").arg(self.socket).args(["-f", "/dev/null"]);
        tmux.args(arguments)
            .output()
            .expect("tmux from the package tmux")
    }

    fn press(&self, key: &str) {
        self.tmux(&["send-keys", key]);
    }

    /// Waits until all of these are shown.
    fn shows(&self, words: &[&str]) {
        let begin = Instant::now();
        loop {
            let shown = self.tmux(&["capture-pane", "-p"]).stdout;
            let shown = String::from_utf8_lossy(&shown);
            if words.iter().all(|word| shown.contains(word)) {
                return;
            }
            assert!(begin.elapsed() < PATIENCE, "{words:?} are not in:\n{shown}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Terminal<'_> {
    /// Ends the program by its id: where the tests run under nohup it would outlive its terminal.
    fn drop(&mut self) {
        let program = self.tmux(&["display-message", "-p", "#{pane_pid}"]).stdout;
        let program = String::from_utf8_lossy(&program);
        let _ = Command::new("kill")
            .args(["-KILL", program.trim()])
            .status();
        self.tmux(&["kill-server"]);
    }
}

#[test]
fn sngrep_shows_a_call_from_captures_of_both_formats() {
    for name in ["calls.pcap", "calls.pcapng"] {
        let directory = Directory::new();
        let capture = directory.0.join(name);
        let file = capture.to_str().unwrap();
        let flags = ["--listen", "127.0.0.1:0", "--capture", file];
        let program = Program::start_with(&flags, &directory.data());
        calls(&program, SCENARIOS, [UDP, UDP], "1", &[]);
        let (status, _) = program.terminate();
        assert!(status.success());

        let socket = directory.0.join("tmux");
        let terminal = Terminal::open(&socket, &["sngrep", "-F", "-c", "-I", file]);
        // The list has the call once for each side of the server.
        terminal.shows(&["INVITE", "COMPLETED"]);
        terminal.press("Enter");
        terminal.shows(&["INVITE", "100", "202", "ACK", "BYE", "200"]);
        terminal.press("q");
    }
}
