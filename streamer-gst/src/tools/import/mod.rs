//! `streamer-gst import`: makes a description of a gst-launch line.

mod outputs;
mod plan;
mod text;
mod words;

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use super::quoted;
use crate::description::{self, Diagnostic, EXTENSION};
use crate::gst::check;
use plan::Plan;

/// Make a description of a gst-launch line: sinks and payloaders go, outputs come
///
/// Options, brackets and what the shell does with the line go as well. Encoders for formats that
/// browsers do not play become others; a preview is left out where the same picture is sent.
#[derive(Debug, clap::Args)]
pub struct Import {
    /// The line in one pair of quotes, or as it is behind --
    #[arg(value_name = "LINE", required = true)]
    line: Vec<String>,

    /// Write this file instead of standard output; it must not exist yet
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Import {
    /// Does it.
    pub fn run(self) -> ExitCode {
        let line = match self.line.as_slice() {
            [line] => line.clone(),
            words => words
                .iter()
                .map(|w| quoted(w))
                .collect::<Vec<_>>()
                .join(" "),
        };
        let (text, warnings) = match import(&line) {
            Ok(imported) => imported,
            Err(diagnostics) => {
                super::tell(std::io::stderr(), &diagnostics);
                return ExitCode::FAILURE;
            }
        };
        let path = match &self.output {
            Some(path) if path.extension().is_none() => path.with_extension(EXTENSION),
            Some(path) => path.clone(),
            None => PathBuf::from(format!("imported.{EXTENSION}")),
        };
        if self.output.is_none() {
            super::print(text.trim_end());
        } else if let Err(error) =
            fs::File::create_new(&path).and_then(|mut f| f.write_all(text.as_bytes()))
        {
            return super::fail("import", &format!("{}: {error}", path.display()));
        }
        super::tell(std::io::stderr(), &warnings);
        let (_, diagnostics) = check::examine_text(&path, &text);
        super::tell(std::io::stderr(), &diagnostics);
        match diagnostics.iter().any(Diagnostic::is_error) {
            true => ExitCode::FAILURE,
            false => ExitCode::SUCCESS,
        }
    }
}

/// The description of a line, and what of the line is not in it.
fn import(line: &str) -> Result<(String, Vec<Diagnostic>), Vec<Diagnostic>> {
    let line = line.trim_start().trim_start_matches("$ ");
    let (texts, words) = description::line_words(&line.replace("\\\n", " "))?;
    // `gst-inspect-1.0 x264enc` has words that look like a pipeline.
    if let Some(first) = words
        .first()
        .filter(|word| words::is_other_program(&word.text))
    {
        let message = format!("{} runs no pipeline", first.text);
        let error = texts.error(first.span, message);
        return Err(vec![error.help("give the line of gst-launch-1.0")]);
    }
    let words = words::of_pipeline(words.into_iter().map(|word| word.text).collect());
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    let sketch = description::sketch(&words.join(" "))?;
    let graph = &sketch.graph;
    // Brackets without properties only group, and the links inside are known.
    let mut bins = graph.elements.iter().filter(|e| plan::is_bin(e));
    if let Some(bin) = bins.find(|bin| !bin.properties.is_empty()) {
        let message = "bins with properties cannot be imported";
        let error = sketch.texts.error(bin.factory.span, message);
        return Err(vec![error.help("take the brackets out")]);
    }
    let plan = Plan::of(graph);
    Ok((text::of(&plan), plan.warnings(&sketch.texts)))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::description::Description;

    /// A description in one line; `VP8` and `OPUS` stand for what encodes raw media, `=NAME` for
    /// an output.
    fn imported(line: &str) -> String {
        let (text, _) = import(line).unwrap();
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let video = "videoconvert ! video/x-raw,format=I420 ! vp8enc deadline=1 cpu-used=8 \
                     end-usage=cbr target-bitrate=1000000 keyframe-max-dist=300";
        let audio = "audioconvert ! audioresample ! audio/x-raw,rate=48000,channels=2 ! \
                     opusenc bitrate=64000 inband-fec=true packet-loss-percentage=10";
        text.replace(video, "VP8")
            .replace(audio, "OPUS")
            .replace(" allow-not-linked=true", "")
            .replace("tee name=video", "=video")
            .replace("tee name=audio", "=audio")
    }

    fn check(table: &[(&str, &str)]) {
        for (line, wanted) in table {
            assert_eq!(imported(line), *wanted, "{line}");
        }
    }

    #[test]
    fn receivers_keep_their_caps_and_senders_lose_theirs() {
        check(&[
            (
                "udpsrc port=5000 ! application/x-rtp,media=video,encoding-name=H264,payload=96 \
                 ! rtph264depay ! h264parse ! openh264dec ! videoconvert ! autovideosink",
                "udpsrc port=5000 \
                 ! application/x-rtp,media=video,encoding-name=H264,payload=96 \
                 ! rtph264depay ! h264parse ! openh264dec ! VP8 ! =video",
            ),
            (
                "udpsrc caps=\"application/x-rtp, media=(string)audio\" ! rtpopusdepay \
                 ! opusdec ! autoaudiosink",
                "udpsrc 'caps=application/x-rtp, media=(string)audio' ! rtpopusdepay ! opusdec \
                 ! OPUS ! =audio",
            ),
            (
                "videotestsrc ! vp8enc ! rtpvp8pay ! application/x-rtp,payload=96 ! udpsink",
                "videotestsrc ! vp8enc ! =video",
            ),
            (
                "udpsrc ! application/x-rtp,media=video,encoding-name=VP8 ! udpsink",
                "udpsrc ! application/x-rtp,media=video,encoding-name=VP8 ! decodebin ! VP8 \
                 ! =video",
            ),
            (
                "rtpbin name=r videotestsrc ! vp8enc ! rtpvp8pay ! r.send_rtp_sink_0 \
                 r.send_rtp_src_0 ! udpsink port=5000 r.send_rtcp_src_0 ! udpsink port=5001 \
                 udpsrc port=5005 ! r.recv_rtcp_sink_0",
                "videotestsrc ! vp8enc ! =video",
            ),
        ]);
    }

    #[test]
    fn players_give_picture_and_sound() {
        let both = "source. ! queue ! VP8 ! =video source. ! queue ! OPUS ! =audio";
        let uri = "uri=file:///a.webm";
        for player in ["playbin", "playbin3"] {
            assert_eq!(
                imported(&format!("gst-launch-1.0 {player} {uri} video-sink=x -v")),
                format!("uridecodebin {uri} name=source {both}")
            );
        }
        assert_eq!(
            imported(&format!(
                "uridecodebin {uri} name=source source. ! queue ! videoconvert ! autovideosink \
                 source. ! queue ! audioconvert ! audioresample ! autoaudiosink"
            )),
            format!("uridecodebin {uri} name=source {both}")
        );
    }

    #[test]
    fn encoders_that_browsers_do_not_play_are_replaced_in_their_place() {
        for (encoder, sound) in [
            ("voaacenc bitrate=64000 ! aacparse", true),
            ("avenc_aac ! aacparse ! audio/mpeg,mpegversion=4", true),
            ("faac", true),
            ("fdkaacenc", true),
            ("lamemp3enc", true),
            ("vorbisenc", true),
            ("flacenc ! flacparse", true),
            ("alawenc", true),
            ("x265enc ! h265parse ! queue", false),
            ("theoraenc", false),
            ("jpegenc", false),
            ("avenc_mpeg4", false),
            ("mpeg2enc ! mpegvideoparse", false),
            ("nonesuchh265enc", false),
        ] {
            let queue = if encoder.ends_with("queue") {
                " ! queue"
            } else {
                ""
            };
            let line = match sound {
                true => format!("audiotestsrc ! audioconvert ! {encoder} ! mp4mux ! filesink"),
                false => format!("videotestsrc ! videoconvert ! {encoder} ! mp4mux ! filesink"),
            };
            let wanted = match sound {
                true => "audiotestsrc ! OPUS ! =audio".to_owned(),
                false => format!("videotestsrc ! VP8{queue} ! =video"),
            };
            assert_eq!(imported(&line), wanted, "{line}");
        }
        check(&[
            (
                "videotestsrc ! x265enc name=e e. ! h265parse ! fakesink",
                "videotestsrc ! VP8 name=e e. ! =video",
            ),
            // One that is decoded again is none of the line's outputs.
            (
                "videotestsrc ! jpegenc ! jpegdec ! autovideosink",
                "videotestsrc ! jpegenc ! jpegdec ! VP8 ! =video",
            ),
            // Missing here, but its name says that it makes what is played.
            (
                "videotestsrc ! nonesuchh264enc ! h264parse ! mp4mux ! filesink",
                "videotestsrc ! nonesuchh264enc ! h264parse ! =video",
            ),
            (
                "videotestsrc ! avenc_h264_none ! rtph264pay ! udpsink",
                "videotestsrc ! avenc_h264_none ! =video",
            ),
        ]);
    }

    #[test]
    fn a_picture_is_encoded_once() {
        check(&[
            (
                "videotestsrc ! tee name=t t. ! queue ! autovideosink \
                 t. ! queue ! vp8enc ! webmmux ! filesink",
                "videotestsrc ! tee name=t t. ! queue ! vp8enc ! =video",
            ),
            (
                "videotestsrc ! tee name=t ! queue ! autovideosink t. ! queue ! ximagesink",
                "videotestsrc ! tee name=t ! queue ! VP8 ! =video",
            ),
            (
                "videotestsrc ! vp8enc ! tee name=t t. ! queue ! webmmux ! filesink \
                 t. ! queue ! rtpvp8pay ! udpsink",
                "videotestsrc ! vp8enc ! tee name=t t. ! queue ! =video",
            ),
            (
                "videotestsrc ! tee name=t t. ! queue ! vp8enc ! fakesink \
                 t. ! queue ! videoscale ! video/x-raw,width=320 ! vp8enc ! fakesink",
                "videotestsrc ! tee name=t t. ! queue ! vp8enc ! =video \
                 t. ! queue ! videoscale ! video/x-raw,width=320 ! vp8enc ! =video_2",
            ),
        ]);
    }

    #[test]
    fn outputs_that_are_there_stay() {
        let two = "videotestsrc ! tee name=raw raw. ! queue ! vp8enc ! =video \
                   raw. ! queue ! theoraenc ! theoradec ! vp9enc ! =video_vp9";
        let line = two.replace("=video", "tee name=video").replace(
            "tee name=video_vp9",
            "tee name=video_vp9 allow-not-linked=true",
        );
        check(&[
            (&line, two),
            (&format!("{line} video. ! queue ! fakesink"), two),
            (
                "videotestsrc ! tee name=video ! queue ! autovideosink \
                 video. ! queue ! vp8enc ! fakesink",
                "videotestsrc ! tee name=raw_video raw_video. ! queue ! vp8enc ! =video",
            ),
        ]);
    }

    #[test]
    fn a_stream_has_one_picture_and_one_sound() {
        let line = "videotestsrc ! autovideosink audiotestsrc ! autoaudiosink \
                    audiotestsrc wave=noise ! audioconvert ! autoaudiosink \
                    v4l2src ! autovideosink";
        assert_eq!(
            imported(line),
            "videotestsrc ! VP8 ! =video audiotestsrc ! OPUS ! =audio \
             # Left out, since a stream has one sound: \
             # audiotestsrc wave=noise ! audioconvert ! autoaudiosink \
             # Left out, since a stream has one picture: # v4l2src ! autovideosink"
        );
        // Nobody knows which of the two the picture is.
        let unknown =
            "filesrc ! matroskademux name=d d. ! queue ! mux. d. ! queue ! webmmux name=mux";
        let text = imported(unknown);
        assert!(
            text.ends_with("one picture: # queue ! webmmux name=mux"),
            "{text}"
        );
        let (_, warnings) = import(line).unwrap();
        let said: Vec<_> = warnings.iter().map(ToString::to_string).collect();
        assert!(said[0].starts_with("line:1:59: a stream has one sound, so audiotestsrc is left"));
        assert!(
            said[1].contains("one picture, so v4l2src is left out"),
            "{said:?}"
        );
    }

    #[test]
    fn brackets_that_only_group_are_taken_out() {
        check(&[
            (
                "( videotestsrc ! vp8enc ! rtpvp8pay name=pay0 audiotestsrc ! ( opusenc ) \
                 ! rtpopuspay name=pay1 )",
                "videotestsrc ! vp8enc ! =video audiotestsrc ! opusenc ! =audio",
            ),
            (
                "videotestsrc ! bin.( identity ! vp8enc ) ! fakesink",
                "videotestsrc ! identity ! vp8enc ! =video",
            ),
        ]);
        let refused = import("videotestsrc ! ( name=b vp8enc ) ! fakesink").unwrap_err();
        assert!(refused[0].to_string().contains("bins with properties"));
    }

    #[test]
    fn x264_is_told_what_browsers_want() {
        let tuned = "x264enc tune=zerolatency";
        let profile = "video/x-h264,profile=constrained-baseline";
        for (line, wanted) in [
            ("x264enc ! mp4mux", format!("{tuned} ! {profile}")),
            (
                "x264enc ! h264parse ! mp4mux",
                format!("{tuned} ! {profile} ! h264parse"),
            ),
            (
                "x264enc tune=fastdecode ! video/x-h264,profile=high,width=64 ! mp4mux",
                "x264enc tune=fastdecode ! video/x-h264,width=64,profile=constrained-baseline"
                    .to_owned(),
            ),
        ] {
            let line = format!("videotestsrc ! {line} ! filesink");
            assert_eq!(imported(&line), format!("videotestsrc ! {wanted} ! =video"));
        }
    }

    #[test]
    fn a_line_of_another_program_is_refused() {
        for line in [
            "gst-inspect-1.0 x264enc",
            "/usr/bin/gst-discoverer-1.0 a.mp4",
        ] {
            let refused = import(line).unwrap_err();
            assert!(
                refused[0].to_string().contains("runs no pipeline"),
                "{line}"
            );
        }
    }

    #[test]
    fn random_lines_are_imported_or_refused_without_panic() {
        let parts = [
            "videotestsrc ! x264enc",
            "! tee name=t t. ! queue ! autovideosink",
            "! tee name=video",
            "video. ! jpegenc ! jpegparse ! a.",
            "audiotestsrc ! voaacenc name=a ! aacparse ! mux.audio_0",
            "( videotestsrc ! vp8enc ! rtpvp8pay name=p )",
            "t. ! tee name=t ! t.",
            "v4l2src ! ( queue ! x265enc ) ! mp4mux name=mux ! filesink",
            "mux. ! queue ! mux.video",
            "playbin uri=a://b -e",
            "rtpbin name=r p. ! r.send_rtp_sink_0",
            "r.send_rtcp_src_0 ! udpsink",
            "a://b ! decodebin ! file:///c",
            "! video/x-h264,profile=high ! queue",
            "capsfilter caps=video/x-h264 ! x.",
            "@preset=y",
            "gst-launch-1.0",
            "! =",
        ];
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let mut read = 0;
        for _ in 0..400 {
            let line: Vec<_> = (0..6)
                .map(|_| {
                    seed ^= seed << 13;
                    seed ^= seed >> 7;
                    seed ^= seed << 17;
                    parts[(seed % parts.len() as u64) as usize]
                })
                .collect();
            if let Ok((text, _)) = import(&line.join(" ")) {
                let _ = Description::parse(Path::new("a.launch"), &text);
                read += 1;
            }
        }
        assert!(read > 20, "{read}");
    }
}
