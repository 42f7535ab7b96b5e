// @ts-check
/**
 * The list of streams as it changes: by one event stream per browser, which a SharedWorker holds
 * for all tabs, or by asking every five seconds where there is none.
 */

/**
 * @typedef {object} Stream
 * @property {string} name
 * @property {Record<string, string>} [title] by language; "" is the default
 * @property {Record<string, string>} [description]
 * @property {boolean | string | null} [image] true: ask us for it; a string: its https URL
 * @property {string[]} [codecs]
 * @property {string} [state] live, idle (starts with its first viewer), starting, failed, offline
 * @property {string | null} [error]
 * @property {number} [viewers]
 * @property {number} [capacity]
 * @property {boolean} live
 */

/**
 * @typedef {object} List
 * @property {Stream[]} streams
 * @property {"reachable" | "unreachable"} signaling
 */

/** Pause between two questions where there is no event stream. */
const PERIOD = 5000;
/** A worker that says nothing for this long after its start is not relied on. */
const WORKER_PATIENCE = 6000;

/**
 * Events: `change` when {@link Streams.list} or {@link Streams.reachable} changed.
 */
export class Streams extends EventTarget {
  /** The latest list; null before the first. @type {List | null} */
  list = null;
  /** False while the web server does not answer. */
  reachable = true;

  /** Begins to follow the list. */
  start() {
    if (!("SharedWorker" in globalThis)) return this.#poll();
    let heard = false;
    try {
      const worker = new SharedWorker("/static/streams-worker.js", { name: "rusticast-streams" });
      worker.port.onmessage = ({ data }) => {
        heard = true;
        if (data.ask) void this.refresh();
        else if (data.list) this.#update(data.list, true);
        else this.#update(this.list, false);
      };
      worker.onerror = () => {
        if (!heard) this.#poll();
        heard = true;
      };
      addEventListener("pagehide", () => worker.port.postMessage("bye"));
      addEventListener("pageshow", () => worker.port.postMessage("hello"));
      worker.port.postMessage("hello");
      setTimeout(() => {
        if (!heard) this.#poll();
        heard = true;
      }, WORKER_PATIENCE);
    } catch {
      this.#poll();
    }
  }

  /**
   * Asks once, now.
   * @returns {Promise<List | null>} null when the web server does not answer
   */
  async refresh() {
    try {
      const response = await fetch("/api/streams", { signal: AbortSignal.timeout(8000) });
      if (response.ok) {
        this.#update(await response.json(), true);
      } else if (response.status === 504) {
        this.#update({ streams: this.list?.streams ?? [], signaling: "unreachable" }, true);
      }
    } catch {
      this.#update(this.list, false);
    }
    return this.reachable ? this.list : null;
  }

  /**
   * The entry of one stream, if it is known.
   * @param {string} name
   */
  stream(name) {
    return this.list?.streams.find((stream) => stream.name === name);
  }

  async #poll() {
    for (;;) {
      if (!document.hidden || !this.list) await this.refresh();
      await new Promise((resolve) => setTimeout(resolve, PERIOD));
    }
  }

  /**
   * @param {List | null} list
   * @param {boolean} reachable
   */
  #update(list, reachable) {
    this.list = list;
    this.reachable = reachable;
    this.dispatchEvent(new Event("change"));
  }
}

/**
 * The text in the reader's language, else the default one, else any.
 * @param {Record<string, string> | undefined} texts
 * @param {string} [otherwise]
 */
export function localized(texts, otherwise = "") {
  if (!texts || typeof texts !== "object") return otherwise;
  for (const language of navigator.languages) {
    const exact = texts[language] ?? texts[language.toLowerCase()] ?? texts[language.split("-")[0]];
    if (exact) return exact;
    // The default text is English in the descriptions that come with Rusticast.
    if (language.split("-")[0] === "en" && texts[""]) return texts[""];
  }
  return texts[""] || Object.values(texts)[0] || otherwise;
}
