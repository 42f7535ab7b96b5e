// @ts-check
/**
 * Holds the one event stream of this browser and tells every tab what it says. HTTP/1.1 gives six
 * connections per host: one per tab would stop the seventh from loading.
 */

/** Pause before a refused event stream is tried again; the browser reopens a broken one itself. */
const REOPEN = 5000;

/** @type {Set<MessagePort>} */
const ports = new Set();
/** @type {object} */
let latest = {};

/** @param {object} message */
function tell(message) {
  latest = message;
  for (const port of ports) port.postMessage(message);
}

function open() {
  const events = new EventSource("/api/streams/events");
  events.addEventListener("streams", ({ data }) => tell({ list: JSON.parse(data) }));
  events.onerror = () => {
    if (events.readyState !== EventSource.CLOSED) return tell({ down: true });
    // Refused by a server that has too many listeners or stops: whoever wants the list asks for it.
    tell({ ask: true });
    setTimeout(open, REOPEN);
  };
}

/** @param {MessageEvent} event */
function connected({ ports: [port] }) {
  port.onmessage = ({ data }) => {
    if (data === "bye") return void ports.delete(port);
    ports.add(port);
    if (Object.keys(latest).length > 0) port.postMessage(latest);
  };
}

/** @type {any} */ (self).onconnect = connected;
open();
