// @ts-check
/**
 * A WHEP viewer in one file, without dependencies: copy it where you need it.
 *
 *     const whep = new Whep("/whep/test", { name: "Ana", codecs: ["VP8", "opus"] });
 *     video.srcObject = await whep.connect();
 *     …
 *     whep.close();
 *
 * One `Whep` is one call. It does not reconnect: what to do after an end is the page's choice.
 */

/**
 * Why a call failed. `code` is the last part of the problem's `type` (RFC 9457), or one of
 * `unreachable` (no HTTP answer), `timeout` (no answer within the limit), `codec` (this browser
 * cannot decode the stream), `aborted` (closed by the page), `http` (an answer without a problem).
 */
export class WhepError extends Error {
  /**
   * @param {string} code
   * @param {string} message
   * @param {{status?: number, reason?: string, retryAfter?: number, missing?: string[]}} [more]
   */
  constructor(code, message, more = {}) {
    super(message);
    this.name = "WhepError";
    this.code = code;
    /** HTTP status, 0 when there was none. */
    this.status = more.status ?? 0;
    /** What the streamer said, word for word. */
    this.reason = more.reason ?? "";
    /** Seconds to wait before trying again, 0 when the server named none. */
    this.retryAfter = more.retryAfter ?? 0;
    /** With `codec`: the codecs of the stream that this browser lacks. */
    this.missing = more.missing ?? [];
  }
}

/** @param {string} codec name as in SDP */
const kindOf = (codec) => (/^(vp8|vp9|h26[45]|av1)$/i.test(codec) ? "video" : "audio");

/**
 * What this browser can decode, by kind, as it says itself.
 * @param {"audio" | "video"} kind
 * @returns {RTCRtpCodec[]}
 */
function decodable(kind) {
  return globalThis.RTCRtpReceiver?.getCapabilities?.(kind)?.codecs ?? [];
}

/**
 * The kinds of a stream that this browser cannot decode, with the codecs it would need.
 * A stream may have a picture in several codecs: one that is known is enough.
 * @param {string[]} codecs names as in SDP: `VP8`, `H264`, `opus`…
 * @returns {{kind: string, codecs: string[]}[]}
 */
export function missingCodecs(codecs) {
  const missing = [];
  for (const kind of /** @type {const} */ (["video", "audio"])) {
    const wanted = codecs.filter((codec) => kindOf(codec) === kind);
    const known = decodable(kind).map((codec) => codec.mimeType.toLowerCase());
    const some = wanted.some((codec) => known.includes(`${kind}/${codec.toLowerCase()}`));
    if (wanted.length > 0 && known.length > 0 && !some) missing.push({ kind, codecs: wanted });
  }
  return missing;
}

/**
 * The preferences that keep an offer short: the stream's codecs and their retransmissions, about
 * 2 kB instead of 6. `null` where the browser should choose.
 * @param {"audio" | "video"} kind
 * @param {string[]} codecs
 */
function preferences(kind, codecs) {
  const wanted = codecs.map((codec) => `${kind}/${codec.toLowerCase()}`);
  let chosen = decodable(kind).filter((codec) => wanted.includes(codec.mimeType.toLowerCase()));
  // Of H.264's many variants: constrained baseline with fragments, which every encoder here makes.
  const plain = chosen.filter(
    ({ mimeType, sdpFmtpLine = "" }) =>
      !/h264/i.test(mimeType) ||
      (/profile-level-id=42/i.test(sdpFmtpLine) && /packetization-mode=1/.test(sdpFmtpLine)),
  );
  if (plain.length > 0) chosen = plain;
  if (chosen.length === 0) return null;
  return chosen.concat(decodable(kind).filter((codec) => /\/rtx$/i.test(codec.mimeType)));
}

/** Header extensions that a viewer has use for. */
const EXTENSIONS = /sdes:mid|transport-wide-cc|abs-send-time|playout-delay/;

/**
 * The offer without what no streamer needs: extensions for senders, feedback for codecs that are
 * not offered (Firefox), candidates that are not RTP over UDP. Every kilobyte is a further
 * datagram that a lossy network may lose.
 * @param {string} sdp
 */
function trimmed(sdp) {
  /** @type {string[]} */
  let formats = [];
  const needed = sdp.split("\r\n").filter((line) => {
    const [name, component, transport] = line.split(" ");
    if (name.startsWith("m=")) formats = line.split(" ").slice(3);
    if (name.startsWith("a=candidate:")) return component === "1" && /^udp$/i.test(transport);
    if (name.startsWith("a=extmap:")) return EXTENSIONS.test(line);
    if (name.startsWith("a=rtcp-fb:")) return ["*", ...formats].includes(name.slice(10));
    return true;
  });
  return needed.join("\r\n");
}

/**
 * @typedef {object} WhepOptions
 * @property {string} [name] the viewer's name, shown to the operator (`?name=`)
 * @property {string[]} [codecs] the stream's codecs; without them the browser offers all it has
 * @property {number} [answerLimit] milliseconds for the answer; 34,000
 * @property {number} [gatherLimit] milliseconds for ICE gathering; 500. Without ICE servers the
 *   first candidate is enough: the streamer learns the others from the browser's own checks.
 * @property {RTCConfiguration} [configuration] for the peer connection
 */

/** Milliseconds that a call given up waits for an answer that may be on its way. */
const GRACE = 300;

/**
 * One call. Events: `connectionstatechange` whenever the peer connection's or its DTLS
 * transport's state changes.
 */
export class Whep extends EventTarget {
  /**
   * @param {string | URL} endpoint
   * @param {WhepOptions} [options]
   */
  constructor(endpoint, options = {}) {
    super();
    this.endpoint = new URL(endpoint, location.href);
    this.options = options;
    /** The media; tracks are added as they come. */
    this.media = new MediaStream();
    /** @type {RTCPeerConnection | null} */
    this.pc = null;
    /** URL of the session, once there is one. @type {URL | null} */
    this.session = null;
    this.closed = false;
    this.abort = new AbortController();
  }

  /**
   * Offers, and resolves with the media as soon as the answer is set.
   * @returns {Promise<MediaStream>}
   * @throws {WhepError}
   */
  async connect() {
    const { name, codecs = [], configuration } = this.options;
    const missing = missingCodecs(codecs);
    if (missing.length > 0) {
      const names = missing.flatMap((one) => one.codecs);
      throw new WhepError("codec", `cannot decode ${names.join(", ")}`, { missing: names });
    }
    const pc = new RTCPeerConnection(configuration);
    this.pc = pc;
    const changed = () => this.dispatchEvent(new Event("connectionstatechange"));
    pc.addEventListener("connectionstatechange", changed);
    pc.addEventListener("track", ({ track, receiver }) => {
      this.media.addTrack(track);
      receiver.transport?.addEventListener("statechange", changed);
    });

    for (const kind of /** @type {const} */ (["video", "audio"])) {
      if (codecs.length > 0 && !codecs.some((codec) => kindOf(codec) === kind)) continue;
      const transceiver = pc.addTransceiver(kind, { direction: "recvonly" });
      const chosen = preferences(kind, codecs);
      if (chosen && "setCodecPreferences" in transceiver) transceiver.setCodecPreferences(chosen);
    }

    try {
      await pc.setLocalDescription(await pc.createOffer());
      const all = (configuration?.iceServers ?? []).length > 0;
      await gathered(pc, this.options.gatherLimit ?? 500, all);
      if (this.closed) throw new WhepError("aborted", "closed");
      const url = new URL(this.endpoint);
      if (name) url.searchParams.set("name", name);
      const answer = await this.#post(url, trimmed(pc.localDescription?.sdp ?? ""));
      if (this.closed) throw new WhepError("aborted", "closed");
      await pc.setRemoteDescription({ type: "answer", sdp: answer });
    } catch (error) {
      const aborted = this.closed;
      this.close();
      if (error instanceof WhepError) throw error;
      if (aborted) throw new WhepError("aborted", "closed");
      throw new WhepError("answer", `the answer cannot be used: ${String(error)}`);
    }
    return this.media;
  }

  /**
   * @param {URL} url
   * @param {string} sdp
   */
  async #post(url, sdp) {
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      this.abort.abort();
    }, this.options.answerLimit ?? 34_000);
    try {
      const response = await fetch(url, {
        method: "POST",
        headers: { "Content-Type": "application/sdp" },
        body: sdp,
        signal: this.abort.signal,
      });
      if (!response.ok) throw await problem(response);
      const where = response.headers.get("Location");
      if (where) this.session = new URL(where, url);
      if (this.closed) this.#leave();
      return await response.text();
    } catch (error) {
      if (error instanceof WhepError) throw error;
      if (late) throw new WhepError("timeout", "no answer in time");
      if (this.closed) throw new WhepError("aborted", "closed");
      throw new WhepError("unreachable", "the server cannot be reached");
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * Asks the server about the session.
   * @returns {Promise<{state: "established" | "ended" | "unknown" | "unreachable", reason: string}>}
   */
  async check() {
    if (!this.session) return { state: "unknown", reason: "" };
    try {
      const response = await fetch(this.session, { signal: AbortSignal.timeout(3000) });
      if (response.ok) return { state: "established", reason: "" };
      const { reason } = await problem(response);
      if (response.status === 410) return { state: "ended", reason };
      if (response.status === 404) return { state: "unknown", reason: "" };
    } catch {
      // No answer is an answer too.
    }
    return { state: "unreachable", reason: "" };
  }

  /** Ends the call here and there. Works while the page is being closed, too. */
  close() {
    if (this.closed) return;
    this.closed = true;
    if (this.session) {
      this.#leave();
    } else {
      // The answer may be on its way, and only it tells where to say goodbye.
      setTimeout(() => this.abort.abort(), GRACE);
    }
    this.pc?.close();
  }

  /** Says goodbye to the session. */
  #leave() {
    this.abort.abort();
    if (!this.session) return;
    fetch(this.session, { method: "DELETE", keepalive: true }).catch(() => {
      // The server is away; the streamer notices the closed connection by itself.
    });
  }
}

/**
 * Resolves when the offer has its first candidate or `all` of them, or after `limit` milliseconds.
 * @param {RTCPeerConnection} pc
 * @param {number} limit
 * @param {boolean} all
 */
function gathered(pc, limit, all) {
  return new Promise((/** @type {(value?: void) => void} */ resolve) => {
    const timer = setTimeout(resolve, limit);
    const look = () => {
      const some = !all && /^a=candidate:/m.test(pc.localDescription?.sdp ?? "");
      if (!some && pc.iceGatheringState !== "complete") return;
      clearTimeout(timer);
      resolve();
    };
    pc.addEventListener("icecandidate", look);
    pc.addEventListener("icegatheringstatechange", look);
    look();
  });
}

/**
 * Reads an error response: problem+json, or whatever came.
 * @param {Response} response
 */
async function problem(response) {
  const retryAfter = Number(response.headers.get("Retry-After")) || 0;
  let body = /** @type {{type?: string, detail?: string, reason?: string}} */ ({});
  if (/\bjson\b/.test(response.headers.get("Content-Type") ?? "")) {
    body = await response.json().catch(() => ({}));
  }
  const code = body.type?.split(":").pop() || "http";
  const detail = body.detail ?? `HTTP status ${response.status}`;
  return new WhepError(code, detail, { status: response.status, reason: body.reason, retryAfter });
}
