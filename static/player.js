// @ts-check
/**
 * The player: one stream, kept playing. Says in plain words what goes wrong and mends what it can.
 *
 * `data-state` on the root element:
 *
 * | State | Meaning |
 * |---|---|
 * | `idle` | nothing asked for, or stopped by the viewer |
 * | `connecting` | first attempt after a click |
 * | `playing` | media arrives and is shown |
 * | `waiting` | not playing, tries again by itself |
 * | `failed` | cannot play; the message says whether it tries again |
 * | `ended` | the streamer ended the call a moment ago; tries again by itself |
 */

import { Whep, WhepError, missingCodecs } from "./whep.js";

/** @typedef {"idle" | "connecting" | "playing" | "waiting" | "failed" | "ended"} State */

/** How often a running call is looked at. */
const TICK = 250;
/** Pause between two questions about the session: an end that leaves the media running for a
 * moment must still show within a second. */
const CHECK = 750;
/** The same while the media looks wrong. */
const CHECK_STALLED = 350;
/** The same while the web server does not answer. */
const CHECK_UNREACHABLE = 2000;
/** Media that pauses for this long looks wrong. */
const STALLED = 600;
/** Media that pauses for this long is over: three times the longest pause so far, within these. */
const SILENCE = { least: 3000, most: 8000 };
/** How long ICE and DTLS may take. */
const ICE_LIMIT = 15_000;
/** A call without a connection that ends after this long did not end of itself: ICE failed. */
const ICE_TRIED = 5000;
/** How long a connection may bring nothing to show. */
const MEDIA_LIMIT = 10_000;
/** How long sound alone does not count as playing where a picture was promised. */
const PICTURE_LIMIT = 5000;
/** After this long without an answer the page says so. */
const HINT = 3000;
/** A stream that played this recently is expected back any moment. */
const RECENT = 120_000;
/** The limit of an attempt while the stream is expected back: a call that went to a streamer's
 * old address must not keep us from reaching its new one. Each further attempt may take that much
 * longer, so that a streamer that is merely slow gets to answer. */
const RECENT_ANSWER_LIMIT = 2000;
/** The limit of any attempt: the signaling server gives a call up after 32 s. */
const ANSWER_LIMIT = 32_700;
/** Pauses between attempts while the stream is expected back. */
const RECENT_PAUSES = [300, 900, 1200];
/** Pauses between attempts otherwise. */
const PAUSES = [1000, 2000, 4000, 8000, 15_000];
/** How long the news of an end stands before the first attempt. */
const ENDED_PAUSE = 1000;
/** The reason by which a streamer says: offer again, nothing is wrong. */
const CODEC_CHANGED = "codec-changed";
/** The reason of the end of a file that does not begin again: what else ended is tried again. */
const FILM_OVER = "the stream has ended";

/**
 * @typedef {object} PlayerParts
 * @property {HTMLElement} root carries `data-state`
 * @property {HTMLVideoElement} video
 * @property {HTMLElement} status where the message goes; a live region
 * @property {import("./streams.js").Streams} streams
 * @property {() => string} name the viewer's name
 */

/**
 * Events: `state` when the state or the message changed, `stats` about twice a second while
 * playing.
 */
export class Player extends EventTarget {
  /** @param {PlayerParts} parts */
  constructor(parts) {
    super();
    this.parts = parts;
    /** @type {State} */
    this.state = "idle";
    this.stream = "";
    /** The current call. @type {Whep | null} */
    this.whep = null;
    /** What arrives, for the line under the picture. */
    this.stats = { width: 0, height: 0, fps: 0, kbps: 0 };
    this.hasAudio = false;
    /** @type {string[]} */
    this.codecs = [];
    /** The stream's codecs are other ones than the list says, which will follow. */
    this.outdated = false;
    /** What the list said of the stream when it was last looked at. */
    this.seen = "";
    /** What the last end was, word for word; shown until the stream plays again. */
    this.reason = "";
    /** Counts attempts; what belongs to an earlier one is ignored. */
    this.turn = 0;
    /** When the current attempt began; 0 while none waits for its answer. */
    this.askedAt = 0;
    this.tries = 0;
    this.lastPlaying = -Infinity;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
    /** Has the running call looked at before its next tick. */
    this.wake = () => {};

    parts.video.addEventListener("loadeddata", () => this.wake());
    parts.streams.addEventListener("change", () => this.#listChanged());
    addEventListener("online", () => this.#hurry());
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) return;
      this.#hurry();
      // Some browsers pause what cannot be seen.
      if (this.state === "playing" && parts.video.paused) this.resume();
    });
    addEventListener("pagehide", () => this.#drop());
    addEventListener("pageshow", (event) => {
      if (event.persisted && this.state !== "idle") this.play(this.stream);
    });
  }

  /**
   * Plays a stream until {@link Player.stop}.
   * @param {string} stream
   */
  play(stream) {
    this.#drop();
    if (stream !== this.stream) {
      this.codecs = [];
      this.outdated = false;
      this.lastPlaying = -Infinity;
    }
    this.stream = stream;
    this.reason = "";
    this.tries = 0;
    this.seen = this.#fingerprint();
    this.#set("connecting", "Connecting…");
    this.#attempt();
  }

  /** Ends the call; nothing is tried again. */
  stop() {
    this.#drop();
    this.lastPlaying = -Infinity;
    this.parts.video.srcObject = null;
    this.#set("idle", "Stopped.");
  }

  #drop() {
    this.turn += 1;
    this.askedAt = 0;
    clearTimeout(this.timer);
    this.timer = undefined;
    this.whep?.close();
    this.whep = null;
  }

  /**
   * @param {State} state
   * @param {string} message
   */
  #set(state, message) {
    const { root, status } = this.parts;
    if (state === this.state && message === status.textContent) return;
    this.state = state;
    root.dataset.state = state;
    status.textContent = message;
    this.dispatchEvent(new Event("state"));
  }

  get #recent() {
    return performance.now() - this.lastPlaying < RECENT;
  }

  async #attempt() {
    this.#drop();
    const turn = this.turn;
    const recent = this.#recent;
    this.askedAt = performance.now();
    await this.#learnCodecs(recent ? 1000 : 2000);
    if (turn !== this.turn) return;
    const spent = performance.now() - this.askedAt;

    const whep = new Whep(`/whep/${encodeURIComponent(this.stream)}`, {
      name: this.parts.name(),
      codecs: this.codecs,
      answerLimit: recent ? Math.min(RECENT_ANSWER_LIMIT * (1 + this.tries), ANSWER_LIMIT) : ANSWER_LIMIT - spent,
    });
    this.whep = whep;
    const hint = setTimeout(() => this.#hint(turn), HINT);
    if (this.parts.streams.list?.signaling === "unreachable") this.#hint(turn);
    try {
      const media = await whep.connect();
      if (turn !== this.turn) return;
      this.askedAt = 0;
      this.#follow(whep, media, turn);
    } catch (error) {
      if (turn === this.turn) this.#explain(/** @type {WhepError} */ (error));
    } finally {
      clearTimeout(hint);
    }
  }

  /** Codecs keep the offer short and tell early what cannot be decoded.
   * @param {number} limit milliseconds */
  async #learnCodecs(limit) {
    const { streams } = this.parts;
    if (this.outdated) {
      this.codecs = [];
      return;
    }
    if (!streams.stream(this.stream)) {
      const late = new Promise((resolve) => setTimeout(resolve, limit));
      await Promise.race([streams.refresh(), late]);
    }
    const codecs = streams.stream(this.stream)?.codecs;
    if (Array.isArray(codecs)) this.codecs = codecs.map(String);
  }

  /** @param {number} turn */
  #hint(turn) {
    const list = this.parts.streams.list;
    if (turn !== this.turn || this.state === "playing") return;
    if (list?.signaling === "unreachable") {
      this.#set("waiting", "The signaling server does not answer. Still trying…");
    } else if (this.state === "connecting") {
      this.#set("connecting", "Connecting… the streamer takes its time to answer.");
    }
  }

  /**
   * Watches over a call that was answered, until it is over.
   * @param {Whep} whep
   * @param {MediaStream} media
   * @param {number} turn
   */
  async #follow(whep, media, turn) {
    const { video } = this.parts;
    const pc = /** @type {RTCPeerConnection} */ (whep.pc);
    video.srcObject = media;
    this.resume();

    const begun = performance.now();
    const pictured = pc.getTransceivers().some(
      ({ currentDirection, receiver }) => currentDirection === "recvonly" && receiver.track.kind === "video",
    );
    let paired = false;
    let connectedAt = 0;
    let bytes = 0;
    let movedAt = begun;
    let longest = 0;
    let shown = false;
    let rate = { at: begun, bytes: 0 };
    let orphan = false;
    let nextCheck = begun + CHECK;
    whep.addEventListener("connectionstatechange", () => this.wake());

    for (;;) {
      await new Promise((/** @type {(value?: void) => void} */ resolve) => {
        this.wake = resolve;
        setTimeout(resolve, TICK);
      });
      if (turn !== this.turn) return;
      const sample = await measure(pc);
      if (turn !== this.turn) return;
      const now = performance.now();

      if (sample.bytes !== bytes) {
        if (shown) longest = Math.max(longest, now - movedAt);
        bytes = sample.bytes;
        movedAt = now;
      }
      // Sound comes first; it is enough only where no picture follows.
      const waits = pictured && video.videoWidth === 0 && now - begun < PICTURE_LIMIT;
      if (!shown && bytes > 0 && !waits) {
        shown = true;
        this.tries = 0;
        this.reason = "";
        this.#set("playing", "Playing.");
      }
      if (shown) this.lastPlaying = movedAt;
      // Sound may come after the picture.
      if (sample.audio !== this.hasAudio) {
        this.hasAudio = sample.audio;
        this.dispatchEvent(new Event("state"));
      }
      if (now - rate.at >= 1000) {
        const kbps = ((bytes - rate.bytes) * 8) / (now - rate.at);
        const { videoWidth: width, videoHeight: height } = video;
        this.stats = { width, height, fps: sample.fps, kbps };
        rate = { at: now, bytes };
        this.dispatchEvent(new Event("stats"));
      }

      paired ||= /^(connected|completed)$/.test(pc.iceConnectionState);
      if (pc.connectionState === "connected" && connectedAt === 0) connectedAt = now;
      if (this.state === "connecting" && !paired && now - begun > HINT) {
        this.#set("connecting", "Connecting… still looking for a way through the network.");
      }
      const gone =
        /^(failed|closed)$/.test(pc.connectionState) ||
        pc.getReceivers().some(({ transport }) => /^(failed|closed)$/.test(transport?.state ?? ""));
      const silent = now - movedAt;
      if (shown && gone) return this.#lost(whep, turn, "The connection to the streamer broke.");
      if (shown && silent > Math.min(Math.max(longest * 3, SILENCE.least), SILENCE.most)) {
        return this.#lost(whep, turn, "Nothing arrives from the streamer any more.");
      }
      if (!shown && (gone || (connectedAt === 0 && now - begun > ICE_LIMIT))) {
        return this.#neverBegan("", true);
      }
      if (!shown && connectedAt > 0 && now - connectedAt > MEDIA_LIMIT) {
        return this.#lost(whep, turn, "Connected, but neither picture nor sound arrives.");
      }

      const stalled = (shown && silent > STALLED) || pc.connectionState === "disconnected";
      if (!orphan && now >= (stalled ? Math.min(nextCheck, now) : nextCheck)) {
        const session = await whep.check();
        if (turn !== this.turn) return;
        if (session.state === "ended") {
          if (shown) return this.#ended(session.reason);
          return this.#neverBegan(session.reason, !paired && now - begun > ICE_TRIED);
        }
        // The web server was restarted: it forgot the call, the streamer did not.
        orphan = session.state === "unknown";
        const away = session.state === "unreachable";
        if (shown) this.#set("playing", away ? PLAYING_ALONE : "Playing.");
        const pause = away ? CHECK_UNREACHABLE : stalled ? CHECK_STALLED : CHECK;
        nextCheck = performance.now() + pause;
      } else if (stalled) {
        nextCheck = Math.min(nextCheck, now + CHECK_STALLED);
      }
    }
  }

  /** Starts the element; muted where the browser forbids sound without a click. */
  resume() {
    const { video } = this.parts;
    video.play().catch(() => {
      if (video.muted) return;
      video.muted = true;
      video.play().catch(() => {
        // Not shown yet: the element starts by itself when data comes (autoplay).
      });
    });
  }

  /**
   * The media is gone. The streamer's word may be milliseconds behind: ask for it.
   * @param {Whep} whep
   * @param {number} turn
   * @param {string} message what to say without a word from the streamer
   */
  async #lost(whep, turn, message) {
    const until = performance.now() + 700;
    do {
      const session = await whep.check();
      if (turn !== this.turn) return;
      if (session.state === "ended") return this.#ended(session.reason);
      if (session.state !== "established") break;
      await new Promise((resolve) => setTimeout(resolve, 120));
      if (turn !== this.turn) return;
    } while (performance.now() < until);
    this.#again("waiting", `${message} Reconnecting…`);
  }

  /**
   * A call that played was ended by the other side.
   * @param {string} reason
   */
  #ended(reason) {
    if (reason === CODEC_CHANGED) {
      // Unless the list was faster than the end of the call.
      const listed = this.parts.streams.stream(this.stream)?.codecs;
      this.outdated = this.codecs.length === 0 || String(listed) === String(this.codecs);
      return this.#again("waiting", "The stream changes its codec. Starting again…", 0);
    }
    if (reason === FILM_OVER) {
      this.#drop();
      return this.#set("failed", "The stream has ended. Play it again?");
    }
    this.reason = reason;
    this.#again("ended", `The stream ended: ${reason}`, ENDED_PAUSE);
  }

  /**
   * A call was answered and over before anything could be shown: tried again ever more rarely.
   * @param {string} reason what the other side said
   * @param {boolean} ice whether it had time enough to connect
   */
  #neverBegan(reason, ice) {
    if (ice) return this.#again("failed", `${ICE_FAILED}${reason && ` (${reason})`}. Trying again…`);
    this.#again("ended", `The stream ended: ${reason}`);
  }

  /** @param {WhepError} error */
  #explain(error) {
    const stream = `“${this.stream}”`;
    const why = clause(error.reason || error.message);
    const because = this.reason ? ` (${this.reason})` : "";
    const waiting = (/** @type {string} */ message) => this.#again("waiting", message, undefined, error);
    const failed = (/** @type {string} */ message) => this.#again("failed", message, undefined, error);
    const entry = this.parts.streams.stream(this.stream);
    if (entry?.state === "failed" && error.status >= 400) {
      const broken = entry.error ? `: ${clause(entry.error)}` : "";
      return waiting(`${stream} does not work at the moment${broken}. Waiting for it to be mended…`);
    }
    switch (error.code) {
      case "aborted":
        return;
      case "no-such-stream":
        if (this.#recent) return waiting(`The streamer has gone${because}. Waiting for ${stream} to come back…`);
        return failed(`There is no stream called ${stream}. It will play here as soon as there is one.`);
      case "streamer-away":
        return waiting(`The streamer is away${because}. Waiting for ${stream} to come back…`);
      case "full":
        return waiting(`${stream} has as many viewers as it can take. Trying again in a moment…`);
      case "busy":
        return waiting(`${stream} cannot be played at the moment: ${why}. Trying again…`);
      case "no-answer":
      case "timeout":
        return waiting(`The streamer does not answer${because}. Trying again…`);
      case "signaling-unreachable":
        return waiting("The signaling server does not answer. Trying again…");
      case "unreachable":
        return waiting("The web server cannot be reached. Trying again…");
      case "unavailable":
      case "too-many":
        return waiting("The web server is busy or stopping. Trying again…");
      case "codec":
        return this.#set("failed", cannotDecode(error.missing));
      case "not-acceptable":
        return this.#set("failed", `This browser and ${stream} do not get along: ${why}.`);
      case "forbidden":
        return this.#set("failed", `You may not watch ${stream}: ${why}.`);
      default:
        return failed(`${stream} cannot be played: ${why}. Trying again…`);
    }
  }

  /**
   * Says what happened and tries again after a while.
   * @param {State} state
   * @param {string} message
   * @param {number} [pause] milliseconds
   * @param {WhepError} [error]
   */
  #again(state, message, pause, error) {
    this.#drop();
    this.#set(state, message);
    const pauses = this.#recent ? RECENT_PAUSES : PAUSES;
    const usual = pauses[Math.min(this.tries, pauses.length - 1)];
    const asked = this.#recent ? 0 : (error?.retryAfter ?? 0) * 1000;
    this.tries += 1;
    // Not all viewers of a stream that returns in the same instant, and none before it was asked to.
    const jitter = 1 + Math.random() * 0.3;
    this.timer = setTimeout(() => this.#attempt(), pause ?? Math.max(usual, asked) * jitter);
  }

  /** What in the list makes a further attempt promising. */
  #fingerprint() {
    const { list, reachable } = this.parts.streams;
    const entry = this.parts.streams.stream(this.stream);
    return JSON.stringify([reachable, list?.signaling, entry?.live, entry?.codecs]);
  }

  #listChanged() {
    const now = this.#fingerprint();
    if (now === this.seen) return;
    this.seen = now;
    const codecs = this.parts.streams.stream(this.stream)?.codecs;
    if (this.outdated && Array.isArray(codecs)) {
      this.outdated = false;
      this.codecs = codecs.map(String);
      // What plays meanwhile may be the sound alone of a picture that cannot be decoded.
      const missing = missingCodecs(codecs.map(String)).flatMap((one) => one.codecs);
      if (missing.length > 0 && this.state !== "idle") {
        this.#drop();
        return this.#set("failed", cannotDecode(missing));
      }
    }
    if (this.askedAt > 0) {
      if (this.parts.streams.list?.signaling === "unreachable") return this.#hint(this.turn);
    }
    if (!this.parts.streams.stream(this.stream)?.live) return;
    // A server that is back has forgotten the call, or repeats it only seconds from now.
    if (this.askedAt > 0 && performance.now() - this.askedAt > HINT) return void this.#attempt();
    this.#hurry();
  }

  /** The next attempt now, if one is pending or the last one was final. */
  #hurry() {
    const resting = this.timer !== undefined || this.state === "failed";
    if (!resting || this.askedAt > 0 || this.state === "idle" || this.state === "playing" || this.state === "ended") return;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#attempt(), Math.random() * 200);
  }
}

const PLAYING_ALONE = "Playing. The web server cannot be reached at the moment.";
const ICE_FAILED =
  "The media found no way through the network (ICE failed): a firewall or VPN may block UDP";

/**
 * What somebody else said, for the middle of a sentence.
 * @param {string} text
 */
function clause(text) {
  return text.trim().replace(/\.$/, "");
}

/** @param {string[]} codecs */
function cannotDecode(codecs) {
  const names = codecs.map((codec) => codec.replace(/^H(26\d)$/, "H.$1")).join(" or ");
  const advice = codecs.includes("H264")
    ? "Try Chromium, or a VP8 stream."
    : "Try another browser, or a stream with another codec.";
  return `This browser cannot decode ${names}, which this stream is made of. ${advice}`;
}

/**
 * @param {RTCPeerConnection} pc
 */
async function measure(pc) {
  const sample = { bytes: 0, fps: 0, audio: false };
  if (pc.connectionState === "closed") return sample;
  const report = await pc.getStats();
  report.forEach((stat) => {
    if (stat.type !== "inbound-rtp") return;
    sample.bytes += stat.bytesReceived ?? 0;
    if (stat.kind === "audio") sample.audio = true;
    if (stat.kind === "video") sample.fps = stat.framesPerSecond ?? sample.fps;
  });
  return sample;
}
