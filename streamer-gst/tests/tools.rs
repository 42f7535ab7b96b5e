//! The tools beside `run`, as a person calls them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use streamer_gst::description::{Description, Parameters};

const PICTURE: &str = "videotestsrc num-buffers=30 pattern=${pattern:-ball}\n\
    ! 'video/x-raw,format=(string)I420,width=64,height=64'\n\
    ! timeoverlay \"font-desc=${font:-Sans, 12}\" time-mode=stream-time\n\
    ! vp8enc deadline=1 ! tee name=video allow-not-linked=true\n";
const SOUND: &str =
    "audiotestsrc num-buffers=30 ! opusenc ! tee name=audio allow-not-linked=true\n";

fn tool(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_streamer-gst"))
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    directory
}

#[test]
fn check_tells_by_its_status_whether_all_is_well() {
    let broken = "videotestsrc ! vp8encc\n";
    let directory = directory(&[("good.launch", PICTURE), ("bad.launch", broken)]);
    let good = tool(directory.path(), &["check", "good.launch"]);
    assert!(good.status.success());
    assert_eq!(stdout(&good), "good.launch: ok\n");
    let both = tool(directory.path(), &["check", "good.launch", "bad.launch"]);
    assert_eq!(both.status.code(), Some(1));
    assert!(stdout(&both).contains("did you mean vp8enc?"));
    assert!(
        !stdout(&both).contains('\u{1b}'),
        "colours belong to terminals"
    );
    let missing = tool(directory.path(), &["check", "none.launch"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(stdout(&missing).contains("there is no such file"));
}

#[test]
fn what_the_run_shows_is_not_feared_as_well() {
    let text = "videotestsrc num-buffers=30 ! video/x-raw,format=I420,width=320,height=240\n\
        ! x264enc tune=zerolatency ! tee name=video allow-not-linked=true\n";
    let directory = directory(&[("a.launch", text)]);
    let run = tool(
        directory.path(),
        &["check", "--json", "--run", "20s", "a.launch"],
    );
    let told: serde_json::Value = serde_json::from_str(&stdout(&run)).unwrap();
    let told = told.as_array().unwrap();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0]["severity"], "error");
    assert_eq!(
        (&told[0]["line"], &told[0]["column"]),
        (&2.into(), &3.into())
    );
    let help = told[0]["help"].as_str().unwrap();
    assert!(help.contains("profile=constrained-baseline"), "{help}");
}

#[test]
fn check_prints_json_for_editors() {
    let directory = directory(&[("a.launch", "videotestsrc\n  ! vp8encc\n")]);
    let output = tool(directory.path(), &["check", "--json", "a.launch"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let first = &json[0];
    assert_eq!(first["file"], "a.launch");
    assert_eq!((&first["line"], &first["column"]), (&2.into(), &5.into()));
    assert_eq!(first["end_column"], 12);
    assert_eq!(first["severity"], "error");
}

#[test]
fn values_that_nothing_asks_for_are_refused() {
    let directory = directory(&[("a.launch", PICTURE)]);
    for tool_name in ["check", "export"] {
        let known = tool(directory.path(), &[tool_name, "a.launch", "a.pattern=snow"]);
        assert!(known.status.success());
        let output = tool(directory.path(), &[tool_name, "a.launch", "patern=snow"]);
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("did you mean pattern?"), "{said}");
    }
}

#[test]
fn check_plays_and_says_what_the_outputs_carry() {
    let raw = "filesrc location=a.y4m ! decodebin ! tee name=video allow-not-linked=true\n";
    let both = format!("{PICTURE}{SOUND}");
    let directory = directory(&[("both.launch", &both), ("raw.launch", raw)]);
    let encode = "gst-launch-1.0 -q videotestsrc num-buffers=30 ! y4menc ! filesink location=a.y4m";
    let made = Command::new("sh")
        .args(["-c", encode])
        .current_dir(directory.path())
        .status();
    assert!(made.unwrap().success());
    let output = tool(directory.path(), &["check", "--run", "5s", "both.launch"]);
    assert_eq!(stdout(&output), "both.launch: ok (video VP8, audio opus)\n");
    let output = tool(directory.path(), &["check", "--run", "5s", "raw.launch"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stdout(&output).contains("carries raw media"),
        "{}",
        stdout(&output)
    );
}

#[test]
fn errors_of_a_running_pipeline_point_to_their_element() {
    let camera = "videotestsrc ! fakesink\n\
        v4l2src device=${device:-/dev/video0} ! videoconvert ! vp8enc\n\
        ! tee name=video allow-not-linked=true\n";
    let file = "filesrc location=none.webm ! decodebin ! videoconvert ! vp8enc\n\
        ! tee name=video allow-not-linked=true\n";
    let directory = directory(&[("camera.launch", camera), ("file.launch", file)]);
    let arguments = ["check", "--run", "2s", "camera.launch", "device=/dev/none"];
    let output = stdout(&tool(directory.path(), &arguments));
    assert!(output.contains("camera.launch:2:9"), "{output}");
    assert!(
        output.contains("streamer-gst devices lists cameras"),
        "{output}"
    );
    let output = stdout(&tool(
        directory.path(),
        &["check", "--run", "2s", "file.launch"],
    ));
    assert!(
        output.contains("file.launch:1:9") && output.contains("none.webm"),
        "{output}"
    );
}

#[test]
fn a_graph_shows_what_is_there_while_it_plays() {
    let film = "filesrc location=a.y4m ! decodebin ! videoconvert ! vp8enc deadline=1\n\
        ! tee name=video allow-not-linked=true\n";
    let missing = film.replace("a.y4m", "none.y4m");
    let directory = directory(&[("a.launch", film), ("b.launch", &missing)]);
    let encode = "gst-launch-1.0 -q videotestsrc num-buffers=30 ! y4menc ! filesink location=a.y4m";
    let made = Command::new("sh")
        .args(["-c", encode])
        .current_dir(directory.path())
        .status();
    assert!(made.unwrap().success());
    let played = tool(directory.path(), &["graph", "a.launch", "-o", "a.svg"]);
    assert!(played.status.success(), "{played:?}");
    let svg = fs::read_to_string(directory.path().join("a.svg")).unwrap();
    for wanted in [
        "y4mdec",
        "320×240",
        "video/x-vp8",
        "deadline=1",
        "→ viewers",
    ] {
        assert!(svg.contains(wanted), "{wanted} is not in {svg}");
    }
    assert!(!svg.contains("fakesink"), "what we add is not drawn");
    let built = stdout(&tool(directory.path(), &["graph", "--static", "a.launch"]));
    assert!(built.starts_with("<svg ") && !built.contains("y4mdec"));
    let meant = tool(directory.path(), &["graph", "--static", "a.launch", "x=1"]);
    assert_eq!(meant.status.code(), Some(1));
    let broken = tool(directory.path(), &["graph", "b.launch"]);
    assert_eq!(broken.status.code(), Some(1));
    assert!(stdout(&broken).contains("decodebin"), "the rest is drawn");
    let said = String::from_utf8_lossy(&broken.stderr).into_owned();
    assert!(said.contains("b.launch:1:9"), "{said}");
}

#[test]
fn devices_are_listed_and_their_absence_is_no_failure() {
    let directory = directory(&[]);
    let list = Command::new(env!("CARGO_BIN_EXE_streamer-gst"))
        .arg("devices")
        .env("DISPLAY", ":4711")
        .current_dir(directory.path())
        .output()
        .unwrap();
    assert!(list.status.success());
    let text = stdout(&list);
    for title in ["Cameras\n", "Screens\n", "Microphones\n"] {
        assert!(text.contains(title), "{text}");
    }
    let screen = text.split_once("X display :4711").unwrap().1;
    assert!(
        screen.contains("problem: ") && screen.contains("cure: "),
        "{text}"
    );
    let json = tool(directory.path(), &["devices", "--json"]);
    let devices: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert!(devices.is_array());
}

#[test]
fn the_doctor_finds_what_is_wrong_and_says_what_to_do() {
    let directory = directory(&[("p/good.launch", PICTURE)]);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let http = taken.local_addr().unwrap().to_string();
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let signaling = silent.local_addr().unwrap().to_string();
    let flags = ["doctor", "--pipelines", "p", "--signaling", &signaling];
    let text = stdout(&tool(directory.path(), &flags));
    assert!(text.contains("stream good"), "{text}");
    assert!(text.contains("does not speak SIP"), "{text}");
    assert!(text.contains("no answer to OPTIONS within 1 s"), "{text}");
    let misspelt = PICTURE.replace("vp8enc", "vp8encc");
    fs::write(directory.path().join("p/bad.launch"), misspelt).unwrap();
    // A file is found from where the doctor is called, beside the description, and above.
    let film = |name: &str| {
        format!(
            "filesrc location={name} ! decodebin ! videoconvert ! vp8enc\n\
            ! tee name=video allow-not-linked=true\n"
        )
    };
    fs::write(directory.path().join("p/film.launch"), film("none.webm")).unwrap();
    fs::write(directory.path().join("p/here.launch"), film("good.launch")).unwrap();
    let flags = [&flags[..], &["--http", &http, "--json"]].concat();
    let sick = tool(directory.path(), &flags);
    assert_eq!(sick.status.code(), Some(1));
    let findings: serde_json::Value = serde_json::from_slice(&sick.stdout).unwrap();
    let of = |subject: &str| {
        let mut findings = findings.as_array().unwrap().iter();
        findings
            .find(|one| one["subject"] == subject)
            .unwrap()
            .clone()
    };
    assert_eq!(of("stream good")["verdict"], "ok");
    assert_eq!(of("stream bad")["verdict"], "problem");
    assert_eq!(of("stream bad")["cure"], "did you mean vp8enc?");
    let evidence = of("stream bad")["evidence"].as_str().unwrap().to_owned();
    assert!(evidence.ends_with("no element \"vp8encc\""), "{evidence}");
    assert_eq!(of("stream film")["verdict"], "problem");
    let evidence = of("stream film")["evidence"].as_str().unwrap().to_owned();
    assert!(
        evidence.contains("film.launch:1:18: there is no file none.webm"),
        "{evidence}"
    );
    assert_eq!(of("stream here")["verdict"], "ok");
    assert_eq!(of("port of HTTP")["verdict"], "problem");
    assert_eq!(of("encoders")["verdict"], "ok");
}

#[test]
fn completions_and_manual_pages_know_every_tool() {
    let directory = directory(&[]);
    for shell in ["bash", "zsh", "fish"] {
        let script = stdout(&tool(directory.path(), &["completions", shell]));
        assert!(script.contains("doctor") && script.contains("max-viewers"));
    }
    let script = stdout(&tool(directory.path(), &["completions", "bash"]));
    let typed = "COMP_WORDS=(streamer-gst check --r) COMP_CWORD=2
        _streamer__gst streamer-gst --r check; echo \"$COMPREPLY\"";
    let completed = Command::new("bash")
        .args(["-c", &format!("{script}\n{typed}")])
        .output();
    assert_eq!(stdout(&completed.unwrap()), "--run\n");
    let page = stdout(&tool(directory.path(), &["man"]));
    assert!(page.contains(".TH streamer-gst") && page.contains("devices"));
    let made = tool(directory.path(), &["man", "--dir", "man"]);
    assert!(made.status.success(), "{made:?}");
    let page = fs::read_to_string(directory.path().join("man/streamer-gst-run.1")).unwrap();
    assert!(page.contains("RUSTICAST"), "{page}");
}

#[test]
fn an_exported_description_runs_in_a_shell() {
    let include = format!("{PICTURE}#: include parts/sound.launch\n");
    let directory = directory(&[
        ("pipes/a.launch", &include),
        ("pipes/parts/sound.launch", SOUND),
    ]);
    let value = "text=x";
    for arguments in [
        &["export", "pipes/a.launch"][..],
        &[
            "export",
            "pipes/a.launch",
            "font=Sans ! fakesrc; $(false) 'x'",
        ],
        &["export", "--sh", "pipes/a.launch", "pattern=snow"],
    ] {
        let line = stdout(&tool(directory.path(), arguments));
        assert_eq!(line.lines().count(), 1, "{line}");
        let run = Command::new("timeout")
            .args(["30", "sh", "-c", "eval \"$1\"", "sh", &line])
            .current_dir(directory.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&run.stderr);
        assert!(run.status.success(), "{line}\n{said}");
        assert!(!said.contains("WARN"), "{line}\n{said}");
    }
    let refused = tool(
        directory.path(),
        &["export", "pipes/a.launch", value, "novalue"],
    );
    assert_eq!(refused.status.code(), Some(1));
}

#[test]
fn nothing_that_check_refuses_is_exported() {
    let broken = "videotestsrc ! vp8enc ! nosuchfilter ! tee name=video allow-not-linked=true\n";
    let warned = "videotestsrc ! x264enc ! tee name=video allow-not-linked=true\n";
    let directory = directory(&[("p/bad.launch", broken), ("p/warned.launch", warned)]);
    for flags in [&[][..], &["--play"], &["--sh"]] {
        let arguments = [&["export", "p/bad.launch"], flags].concat();
        let output = tool(directory.path(), &arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(stdout(&output), "");
        assert!(said.contains("p/bad.launch:1:25"), "{said}");
        let arguments = [&["export", "p/warned.launch"], flags].concat();
        assert!(tool(directory.path(), &arguments).status.success());
    }
}

#[test]
fn what_was_exported_comes_back_by_import() {
    let pipelines = concat!(env!("CARGO_MANIFEST_DIR"), "/../pipelines");
    let entries = fs::read_dir(pipelines).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ext| ext == "launch"));
    assert!(paths.len() >= 6);
    let directory = directory(&[]);
    let read = |path: &Path| Description::load(path, &Parameters::default()).unwrap();
    // Without what only changes how it is written.
    let plain = |description: &Description| {
        let text = description.arguments().join(" ").replace('\\', "");
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    for path in paths {
        for (number, flags) in [&[][..], &["--play"]].into_iter().enumerate() {
            let file = path.to_str().unwrap();
            let line = tool(directory.path(), &[&["export", file], flags].concat());
            let name = path.file_stem().unwrap().to_str().unwrap();
            let back = format!("{name}-{number}.launch");
            let output = tool(directory.path(), &["import", &stdout(&line), "-o", &back]);
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && said.is_empty(), "{file}: {said}");
            let (first, second) = (read(&path), read(&directory.path().join(&back)));
            assert_eq!(second.outputs(), first.outputs(), "{file}");
            assert_eq!(plain(&second), plain(&first), "{file}");
        }
    }
}

#[test]
fn imported_lines_pass_check() {
    let directory = directory(&[]);
    for (line, wanted) in [
        (
            "gst-launch-1.0 -v videotestsrc ! video/x-raw,width=640,height=480 \
             ! x264enc tune=zerolatency ! rtph264pay config-interval=1 pt=96 \
             ! udpsink host=127.0.0.1 port=5000",
            "constrained-baseline\n  ! tee name=video",
        ),
        ("videotestsrc ! autovideosink", "! vp8enc deadline=1"),
        (
            "audiotestsrc ! audioconvert ! autoaudiosink",
            "! opusenc bitrate=64000 inband-fec=true packet-loss-percentage=10\n  ! tee name=audio",
        ),
        (
            "webrtcbin name=s videotestsrc ! vp8enc ! rtpvp8pay \
             ! application/x-rtp,media=video,encoding-name=VP8,payload=96 ! s. \
             audiotestsrc ! opusenc ! rtpopuspay ! s.",
            "! opusenc\n  ! tee name=audio",
        ),
        (
            "v4l2src ! \"video/x-raw, width=640\" ! videoconvert ! tee name=t t. ! queue \
             ! autovideosink t. ! queue ! x264enc ! mp4mux ! filesink location=a.mp4 -e",
            "! x264enc tune=zerolatency\n  ! video/x-h264,profile=constrained-baseline\n",
        ),
        (
            "audiotestsrc ! voaacenc ! aacparse ! mp4mux ! filesink location=a.mp4",
            "! opusenc bitrate=64000 inband-fec=true packet-loss-percentage=10\n  ! tee name=audio",
        ),
        (
            "videotestsrc ! 'video/x-raw(memory:SystemMemory)' ! jpegenc ! rtpjpegpay ! udpsink",
            "'video/x-raw(memory:SystemMemory)'",
        ),
    ] {
        let output = tool(directory.path(), &["import", line]);
        let (text, said) = (stdout(&output), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{line}\n{text}\n{said}");
        assert_eq!(said, "", "{line}\n{text}");
        assert!(text.contains(wanted), "{line}\n{text}");
        assert!(!text.contains("sink") && !text.contains("pay"), "{text}");
    }
}

#[test]
fn lines_that_nothing_comes_of_are_not_imported() {
    let directory = directory(&[]);
    for (line, wanted) in [
        (
            "x264enc ! mp4mux ! filesink location=a.mp4",
            "nothing gives to x264enc",
        ),
        (
            "raspivid -t 0 -o - | gst-launch-1.0 fdsrc ! h264parse ! rtph264pay ! udpsink",
            "standard input",
        ),
    ] {
        let output = tool(directory.path(), &["import", line]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{line}");
        assert!(said.contains(wanted), "{line}\n{said}");
    }
}

#[test]
fn files_that_are_not_there_are_told_where_they_are_named() {
    let film = "filesrc location=none.webm ! decodebin ! videoconvert ! vp8enc\n\
        ! tee name=video allow-not-linked=true\n";
    let directory = directory(&[("a.launch", film)]);
    let output = tool(directory.path(), &["check", "a.launch"]);
    let said = stdout(&output);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("a.launch:1:18") && said.contains("no file none.webm"),
        "{said}"
    );
}

#[test]
fn import_writes_no_file_over_another() {
    let directory = directory(&[("a.launch", "# mine\n")]);
    let arguments = ["import", "videotestsrc ! autovideosink", "-o", "b"];
    assert!(tool(directory.path(), &arguments).status.success());
    assert!(directory.path().join("b.launch").is_file());
    let arguments = ["import", "videotestsrc ! autovideosink", "-o", "a.launch"];
    assert_eq!(tool(directory.path(), &arguments).status.code(), Some(1));
    assert_eq!(
        fs::read_to_string(directory.path().join("a.launch")).unwrap(),
        "# mine\n"
    );
    let unreadable = tool(directory.path(), &["import", "videotestsrc ! 'x"]);
    assert!(String::from_utf8_lossy(&unreadable.stderr).contains("never closed"));
}
