// Put into every page before its own scripts: remembers the page's peer connections and measures
// what reaches the viewer's eyes and ears. The page does not know that it is watched.

{
  /** @type {RTCPeerConnection[]} */
  const connections = [];
  const Native = window.RTCPeerConnection;
  window.RTCPeerConnection = class extends Native {
    /** @param {RTCConfiguration} [configuration] */
    constructor(configuration) {
      super(configuration);
      connections.push(this);
    }
  };

  /** @returns {HTMLVideoElement | null} */
  const video = () => document.querySelector("video");

  /**
   * A small copy of the picture on screen, as a number that changes when the picture does, and
   * its mean brightness (0–255): a black picture is no picture.
   */
  const picture = () => {
    const element = video();
    if (!element || element.videoWidth === 0) {
      return { hash: 0, brightness: 0, width: 0, height: 0 };
    }
    const canvas = document.createElement("canvas");
    canvas.width = 160;
    canvas.height = 90;
    const context = canvas.getContext("2d");
    if (!context) {
      throw new Error("no canvas context");
    }
    context.drawImage(element, 0, 0, canvas.width, canvas.height);
    const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
    let hash = 0;
    let sum = 0;
    for (let at = 0; at < data.length; at += 4) {
      const light = (data[at] + data[at + 1] + data[at + 2]) / 3;
      sum += light;
      hash = (Math.imul(hash, 31) + Math.round(light)) | 0;
    }
    return {
      hash,
      brightness: sum / (data.length / 4),
      width: element.videoWidth,
      height: element.videoHeight,
    };
  };

  /** Statistics of the newest connection, or zeros when there is none. */
  const stats = async () => {
    const connection = connections.at(-1);
    const result = {
      connections: connections.length,
      open: connections.filter((each) => each.connectionState !== "closed").length,
      state: connection?.connectionState ?? "none",
      framesDecoded: 0,
      keyFramesDecoded: 0,
      framesReceived: 0,
      freezes: 0,
      videoPackets: 0,
      videoCodec: "",
      bytes: 0,
      audioPackets: 0,
      audioEnergy: 0,
      audioSeconds: 0,
      audioConcealed: 0,
      audioLost: 0,
      audioFec: 0,
      audioCodec: "",
      picture: picture(),
    };
    const report = connection ? await connection.getStats() : new Map();
    for (const entry of report.values()) {
      if (entry.type !== "inbound-rtp") {
        continue;
      }
      result.bytes += entry.bytesReceived ?? 0;
      const codec = report.get(entry.codecId)?.mimeType ?? "";
      if (entry.kind === "video") {
        result.framesDecoded = entry.framesDecoded ?? 0;
        result.keyFramesDecoded = entry.keyFramesDecoded ?? 0;
        result.framesReceived = entry.framesReceived ?? 0;
        result.freezes = entry.freezeCount ?? 0;
        result.videoPackets = entry.packetsReceived ?? 0;
        result.videoCodec = codec;
      } else {
        result.audioPackets = entry.packetsReceived ?? 0;
        result.audioEnergy = entry.totalAudioEnergy ?? 0;
        result.audioSeconds = entry.totalSamplesDuration ?? 0;
        result.audioConcealed = (entry.concealedSamples ?? 0) / 48_000;
        result.audioLost = entry.packetsLost ?? 0;
        result.audioFec = entry.fecPacketsReceived ?? 0;
        result.audioCodec = codec;
      }
    }
    return result;
  };

  /** The streamer's answer to the newest connection's offer. */
  const answer = () => connections.at(-1)?.remoteDescription?.sdp ?? "";

  /** @type {{ shown: number, media: number, width: number }[]} */
  let frames = [];

  /** Begins (again) to note when each frame goes to the screen and which moment it shows. */
  const watchFrames = () => {
    frames = [];
    const noted = frames;
    const element = video();
    /** @type {VideoFrameRequestCallback} */
    const note = (_, { presentationTime, rtpTimestamp, mediaTime, width }) => {
      if (noted !== frames || !element) {
        return;
      }
      // The RTP clock of video runs at 90 kHz.
      const media = rtpTimestamp ? rtpTimestamp / 90 : mediaTime * 1000;
      // Not when this function runs: a busy page is no frozen picture.
      noted.push({ shown: presentationTime, media, width });
      element.requestVideoFrameCallback(note);
    };
    element?.requestVideoFrameCallback(note);
  };

  /**
   * Frames noted so far and the longest time between two of them in milliseconds: on the screen,
   * and in the stream's own time.
   */
  const frameGaps = () => {
    let shown = 0;
    let media = 0;
    for (let at = 1; at < frames.length; at += 1) {
      shown = Math.max(shown, frames[at].shown - frames[at - 1].shown);
      media = Math.max(media, frames[at].media - frames[at - 1].media);
    }
    const last = frames.at(-1);
    const sinceLast = last ? performance.now() - last.shown : 0;
    return { frames: frames.length, shown: Math.max(shown, sinceLast), media };
  };

  /**
   * When the first frame of this width since `watchFrames` was shown, in milliseconds of the
   * Unix epoch, or null.
   * @param {number} width
   */
  const shownInWidth = (width) => {
    const frame = frames.find((each) => each.width === width);
    return frame ? performance.timeOrigin + frame.shown : null;
  };

  /**
   * The time that a painted clock shows (`harness/clock.rs`), in milliseconds of the Unix epoch
   * as far as 32 bits hold them, or null where there is none.
   * @param {HTMLVideoElement} element
   * @param {CanvasRenderingContext2D} context
   */
  const paintedTime = (element, context) => {
    context.drawImage(element, 0, 0, 160, 90);
    const { data } = context.getImageData(0, 0, 160, 30);
    const row = (/** @type {number} */ number) => {
      let bits = 0;
      for (let bit = 0; bit < 16; bit += 1) {
        const at = ((number * 10 + 5) * 160 + bit * 10 + 5) * 4;
        bits = bits * 2 + (data[at] > 127 ? 1 : 0);
      }
      return bits;
    };
    const [high, low, check] = [0, 1, 2].map(row);
    return (high ^ low ^ 0x5a5a) === check ? high * 65536 + low : null;
  };

  /** @type {{ shown: number, latency: number | null }[]} */
  let readings = [];

  /**
   * Begins (again) to read the painted clock off each frame that goes to the screen: when that
   * was, in milliseconds of the Unix epoch, and how old it was then, null for unreadable ones.
   */
  const watchClock = () => {
    readings = [];
    const noted = readings;
    const element = video();
    const canvas = document.createElement("canvas");
    canvas.width = 160;
    canvas.height = 90;
    const context = canvas.getContext("2d", { willReadFrequently: true });
    if (!element || !context) {
      throw new Error("no picture to read");
    }
    const origin = Date.now() - performance.now();
    /** @type {VideoFrameRequestCallback} */
    const note = (_, { expectedDisplayTime }) => {
      if (noted !== readings) {
        return;
      }
      const shown = origin + expectedDisplayTime;
      const taken = paintedTime(element, context);
      // Both are known to 32 bits only.
      const latency = taken === null ? null : (Math.round(shown) - taken) | 0;
      noted.push({ shown, latency });
      element.requestVideoFrameCallback(note);
    };
    element.requestVideoFrameCallback(note);
  };

  const clockReadings = () => readings;

  /** @type {number | null} */
  let clickTook = null;

  /** Begins to time the next click, up to the first decoded frame and the first sound. */
  const timeClick = () => {
    clickTook = null;
    const look = async (/** @type {number} */ clicked) => {
      const report = (await connections.at(-1)?.getStats()) ?? new Map();
      const inbound = [...report.values()].filter(({ type }) => type === "inbound-rtp");
      const seen = inbound.some(({ framesDecoded }) => framesDecoded > 0);
      const heard = inbound.some(({ kind, packetsReceived }) => kind === "audio" && packetsReceived > 0);
      if (seen && heard) clickTook = performance.now() - clicked;
      else setTimeout(look, 10, clicked);
    };
    const options = { capture: true, once: true };
    addEventListener("click", () => void look(performance.now()), options);
  };

  /** Milliseconds that took; null as long as it goes on. */
  const clickToMedia = () => clickTook;

  const probe = {
    stats,
    answer,
    watchFrames,
    frameGaps,
    shownInWidth,
    watchClock,
    clockReadings,
    timeClick,
    clickToMedia,
  };
  Object.assign(window, { probe });
}
