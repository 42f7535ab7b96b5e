// @ts-check
/**
 * The page: a list of streams at `/`, one stream at `/watch/NAME`, the player alone at
 * `/embed/NAME`. What streams say of themselves is shown as text, never as markup.
 */

import { Player } from "./player.js";
import { Streams, localized } from "./streams.js";

/** How often the pictures on the cards are fetched anew. */
const PICTURES = 15_000;
/** Longest name in bytes that the server takes. */
const NAME_BYTES = 64;

/**
 * @template {Element} T
 * @param {string} selector
 * @param {new () => T} type
 * @param {ParentNode} [root]
 * @returns {T}
 */
function one(selector, type, root = document) {
  const element = root.querySelector(selector);
  if (element instanceof type) return element;
  throw new Error(`the page lacks ${selector}`);
}

/**
 * The same for an id.
 * @param {string} name
 */
const id = (name) => one(`#${name}`, HTMLElement);
/** @param {string} name */
const button = (name) => one(`#${name}`, HTMLButtonElement);

const nameField = one("#name", HTMLInputElement);
const video = one("#video", HTMLVideoElement);
const root = id("player");
const embedded = location.pathname.startsWith("/embed/");

const streams = new Streams();
const player = new Player({ root, video, status: id("status"), streams, name: viewerName });

/**
 * For tests and the curious: `rusticast.pc` is the current RTCPeerConnection, `rusticast.player`
 * the player.
 */
Object.defineProperty(window, "rusticast", {
  value: Object.freeze({
    get pc() {
      return player.whep?.pc ?? null;
    },
    player,
  }),
});

// ---- the viewer's name

function viewerName() {
  // What was pasted may hold characters that no name has.
  let name = nameField.value.replace(/\p{Cc}/gu, "").trim();
  while (new TextEncoder().encode(name).length > NAME_BYTES) name = [...name].slice(0, -1).join("");
  return name;
}

try {
  nameField.value = localStorage.getItem("name") ?? "";
} catch {
  // No storage in this frame or mode: the name is then asked for again next time.
}
nameField.addEventListener("input", () => {
  try {
    localStorage.setItem("name", viewerName());
  } catch {
    // As above.
  }
});

// ---- the list

/** Cards by stream. @type {Map<string, HTMLLIElement>} */
const cards = new Map();

function showList() {
  const { list, reachable } = streams;
  const notice = id("notice");
  if (!reachable) {
    notice.textContent = "The web server cannot be reached. This page recovers by itself.";
  } else if (list?.signaling === "unreachable") {
    notice.textContent = "The signaling server does not answer: the list may be out of date.";
  }
  // The player says the same in its own words.
  notice.hidden = watched !== "" || (reachable && list?.signaling !== "unreachable");
  if (!list) return;

  const live = list.streams.filter((stream) => stream.live).length;
  id("count").textContent = list.streams.length ? `${live} of ${list.streams.length} live` : "";
  id("empty").hidden = list.streams.length > 0 || !reachable || list.signaling === "unreachable";
  const sorted = [...list.streams].sort(
    (a, b) => Number(b.live) - Number(a.live) || a.name.localeCompare(b.name),
  );
  const known = new Set(sorted.map((stream) => stream.name));
  for (const [name, item] of cards) {
    if (known.has(name)) continue;
    item.remove();
    cards.delete(name);
  }
  sorted.forEach((stream, place) => {
    let item = cards.get(stream.name);
    if (!item) {
      const fragment = one("#card", HTMLTemplateElement).content.cloneNode(true);
      item = one("li", HTMLLIElement, /** @type {DocumentFragment} */ (fragment));
      cards.set(stream.name, item);
    }
    const container = id("cards");
    if (container.children[place] !== item) container.insertBefore(item, container.children[place] ?? null);
    fillCard(item, stream);
  });
}

/**
 * @param {HTMLLIElement} item
 * @param {import("./streams.js").Stream} stream
 */
function fillCard(item, stream) {
  const card = one("a", HTMLAnchorElement, item);
  const title = localized(stream.title, stream.name);
  card.href = `/watch/${encodeURIComponent(stream.name)}`;
  card.dataset.stream = stream.name;
  card.dataset.live = String(stream.live);
  one("h2", HTMLElement, card).textContent = title;
  one(".thumb", HTMLElement, card).style.setProperty("--hue", String(hue(stream.name)));
  one(".initial", HTMLElement, card).textContent = [...title][0]?.toUpperCase() ?? "";
  one(".description", HTMLElement, card).textContent = localized(stream.description);
  one(".live-pill b", HTMLElement, card).textContent = stateName(stream);
  const viewers = stream.viewers ?? 0;
  one(".viewers b", HTMLElement, card).textContent = String(viewers);
  one(".viewers .unseen", HTMLElement, card).textContent = viewers === 1 ? " viewer" : " viewers";
  showProblem(one(".problem", HTMLElement, card), stream);
  fillFacts(one(".facts", HTMLElement, card), stream);
  picture(one("img", HTMLImageElement, card), stream);
}

/**
 * Why a stream does not play, or not what its description says by now.
 * @param {HTMLElement} element
 * @param {import("./streams.js").Stream | undefined} stream
 */
function showProblem(element, stream) {
  const error = stream?.error ?? "";
  element.textContent = error && stream?.state === "live" ? `Changed, but not on air: ${error}` : error;
  element.hidden = !error;
}

/**
 * A colour of its own for a stream without a picture.
 * @param {string} name
 */
function hue(name) {
  let sum = 7;
  for (const letter of name) sum = (sum * 31 + (letter.codePointAt(0) ?? 0)) % 360;
  return sum;
}

/** @param {import("./streams.js").Stream} stream */
function stateName(stream) {
  if (stream.live) return stream.state === "idle" ? "Ready" : "Live";
  if (stream.state === "starting") return "Starting";
  return stream.state === "failed" ? "Not working" : "Offline";
}

/**
 * @param {HTMLElement} element
 * @param {import("./streams.js").Stream} stream
 */
function fillFacts(element, stream) {
  const facts = [stream.name, ...(stream.codecs ?? []).map(codecName)];
  const shown = [...element.children].map((child) => child.textContent);
  if (shown.join() === facts.join()) return;
  element.replaceChildren(
    ...facts.map((fact, place) => {
      const chip = document.createElement("span");
      chip.className = place === 0 ? "chip mono" : "chip";
      chip.textContent = fact;
      return chip;
    }),
  );
}

/** @param {string} codec */
function codecName(codec) {
  return /** @type {Record<string, string>} */ ({ H264: "H.264", H265: "H.265", opus: "Opus" })[codec] ?? codec;
}

/**
 * Shows the picture of a stream, and a newer one only once it is there.
 * @param {HTMLImageElement} image
 * @param {import("./streams.js").Stream} stream
 */
function picture(image, stream) {
  const source = pictureOf(stream);
  if (!source || image.dataset.source === source || document.hidden) return;
  image.dataset.source = source;
  const next = new Image();
  next.onload = () => {
    image.src = next.src;
    image.hidden = false;
  };
  next.src = source;
}

/**
 * Where the picture of a stream is at the moment; "" when it has none.
 * @param {import("./streams.js").Stream} stream
 */
function pictureOf({ name, image, live }) {
  if (typeof image === "string") return /^https:\/\//.test(image) ? image : "";
  const turn = Math.floor(Date.now() / PICTURES);
  return image && live ? `/api/streams/${encodeURIComponent(name)}/image?${turn}` : "";
}

// ---- one stream

let watched = "";

/** @param {string} text */
const about = (text) => /** @type {HTMLElement} */ (id(text));

function showAbout() {
  if (!watched) return;
  const stream = streams.stream(watched);
  const title = localized(stream?.title, watched);
  document.title = `${title} · Rusticast`;
  about("title").textContent = title;
  about("description").textContent = localized(stream?.description);
  showProblem(about("problem"), stream);
  root.dataset.live = String(stream?.live ?? false);
  if (stream && !video.poster) video.poster = pictureOf(stream);
  fillFacts(about("facts"), stream ?? { name: watched, live: false });
}

function showPlayer() {
  const playing = player.state === "playing";
  id("veil-text").textContent = playing || player.state === "idle" ? "" : id("status").textContent;
  button("unmute").hidden = !(playing && video.muted && player.hasAudio);
  const paused = playing && video.paused;
  const stopping = document.activeElement === button("stop");
  const starting = document.activeElement === button("play");
  button("play").hidden = !paused && player.state !== "idle" && player.state !== "failed";
  id("play-text").textContent = player.state === "failed" ? "Try again" : "Play";
  button("stop").disabled = player.state === "idle";
  // A button that is gone must not take the keyboard with it.
  if (stopping && button("stop").disabled) button("play").focus();
  if (starting && button("play").hidden) button("stop").focus();
  button("mute").setAttribute("aria-pressed", String(!video.muted));
  if (!playing) id("stats").textContent = "";
}

function showStats() {
  const { width, height, fps, kbps } = player.stats;
  const rate = kbps >= 1000 ? `${(kbps / 1000).toFixed(1)} Mbit/s` : `${Math.round(kbps)} kbit/s`;
  const size = width ? `${width}×${height} · ${Math.round(fps)} fps · ` : "";
  id("stats").textContent = size + rate;
}

/** @param {boolean} muted */
function setMuted(muted) {
  video.muted = muted;
  video.volume = 1;
  showPlayer();
}

async function toggleFullscreen() {
  if (document.fullscreenElement) return document.exitFullscreen();
  // Refused where a frame may not: then the picture stays as it is.
  if (root.requestFullscreen) return root.requestFullscreen().catch(() => {});
  // iPhones show only the element itself in full screen.
  /** @type {any} */ (video).webkitEnterFullscreen?.();
}

function toggleStop() {
  if (player.state === "idle") player.play(watched);
  else player.stop();
}

/**
 * @param {HTMLButtonElement} control
 * @param {string} text
 */
async function copy(control, text) {
  const label = (control.dataset.label ??= control.textContent ?? "");
  try {
    await navigator.clipboard.writeText(text);
    control.textContent = "Copied";
  } catch {
    // Plain-http pages beyond localhost have no clipboard: show the text to be copied by hand.
    prompt("Copy this:", text);
  }
  setTimeout(() => (control.textContent = label), 1500);
}

button("play").addEventListener("click", () => {
  if (player.state === "playing") player.resume();
  else player.play(watched);
});
button("stop").addEventListener("click", () => player.stop());
button("unmute").addEventListener("click", () => {
  setMuted(false);
  button("mute").focus();
});
button("mute").addEventListener("click", () => setMuted(!video.muted));
button("fullscreen").addEventListener("click", () => void toggleFullscreen());
button("copy-page").addEventListener("click", () => {
  void copy(button("copy-page"), new URL(`/watch/${watched}`, location.href).href);
});
button("copy-whep").addEventListener("click", () => {
  void copy(button("copy-whep"), new URL(`/whep/${watched}`, location.href).href);
});
video.addEventListener("dblclick", () => void toggleFullscreen());

document.addEventListener("keydown", (event) => {
  const typing = event.target instanceof HTMLElement && event.target.closest("input, textarea");
  if (!watched || typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const pressing = event.target instanceof HTMLElement && event.target.closest("button, a");
  if (event.key === "m") setMuted(!video.muted);
  else if (event.key === "f") void toggleFullscreen();
  else if (event.key === " " && !pressing) toggleStop();
  else return;
  event.preventDefault();
});

// ---- which of the two

/** Shows what the address says. */
function route() {
  const path = /^\/(?:watch|embed)\/([^/]+)\/?$/.exec(location.pathname);
  const stream = path ? safelyDecoded(path[1]) : "";
  document.body.classList.toggle("embedded", embedded);
  id("list").hidden = stream !== "";
  id("watch").hidden = stream === "";
  if (stream === watched) return;
  if (watched) player.stop();
  watched = stream;
  document.title = "Rusticast";
  video.removeAttribute("poster");
  id("status").textContent = "";
  showAbout();
  showList();
  if (stream) player.play(stream);
}

/** @param {string} text */
function safelyDecoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

document.addEventListener("click", (event) => {
  const link = event.target instanceof Element ? event.target.closest("a[data-nav]") : null;
  if (!(link instanceof HTMLAnchorElement) || event.button !== 0) return;
  if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  history.pushState(null, "", link.href);
  scrollTo(0, 0);
  navigated();
});
addEventListener("popstate", navigated);

/** What the keyboard or a screen reader was on is gone: go on at the new heading. */
function navigated() {
  route();
  id(watched ? "title" : "heading").focus({ preventScroll: true });
}

streams.addEventListener("change", () => {
  showList();
  showAbout();
});
player.addEventListener("state", showPlayer);
player.addEventListener("stats", showStats);
for (const event of ["volumechange", "pause", "play"]) video.addEventListener(event, showPlayer);
setInterval(() => {
  if (!watched) showList();
}, PICTURES);

streams.start();
route();
showPlayer();
