//! A small picture and a tone: media where it is not media that is measured.

/// The description of a stream, as the streamer and gst-launch take it.
pub const CARD: &str = "\
    videotestsrc is-live=true pattern=ball
      ! video/x-raw,format=I420,width=160,height=90,framerate=15/1
      ! vp8enc deadline=1 cpu-used=8 target-bitrate=100000 keyframe-max-dist=15
      ! tee name=video allow-not-linked=true
    audiotestsrc is-live=true volume=0.3 samplesperbuffer=960
      ! audio/x-raw,rate=48000,channels=2
      ! opusenc ! tee name=audio allow-not-linked=true
";

/// The same picture in two sizes.
pub const LADDER: &str = "\
    videotestsrc is-live=true pattern=ball
      ! video/x-raw,format=I420,width=160,height=90,framerate=15/1 ! tee name=picture
    picture. ! queue
      ! vp8enc deadline=1 cpu-used=8 target-bitrate=100000 keyframe-max-dist=15
      ! tee name=video allow-not-linked=true
    picture. ! queue ! videoscale ! video/x-raw,width=80,height=45
      ! vp8enc deadline=1 cpu-used=8 target-bitrate=30000 keyframe-max-dist=15
      ! tee name=video_low allow-not-linked=true
    audiotestsrc is-live=true volume=0.3 samplesperbuffer=960
      ! audio/x-raw,rate=48000,channels=2
      ! opusenc ! tee name=audio allow-not-linked=true
";
