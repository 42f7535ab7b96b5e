// @ts-check
/**
 * Holds the one event stream of this browser and tells every tab what it says. HTTP/1.1 gives six
 * connections per host: one per tab would stop the seventh from loading.
 */

/** Pause before a closed event stream is opened again; the browser reopens a broken one itself. */
const REOPEN = 2000;

/** @type {Set<MessagePort>} */
const ports = new Set();
/** @type {object} */
let latest = { down: false };

/** @param {object} message */
function tell(message) {
  latest = message;
  for (const port of ports) port.postMessage(message);
}

function open() {
  const events = new EventSource("/api/streams/events");
  events.addEventListener("streams", ({ data }) => tell({ list: JSON.parse(data) }));
  events.onerror = () => {
    tell({ down: true });
    if (events.readyState === EventSource.CLOSED) setTimeout(open, REOPEN);
  };
}

/** @param {MessageEvent} event */
function connected({ ports: [port] }) {
  port.onmessage = ({ data }) => {
    if (data === "bye") return void ports.delete(port);
    ports.add(port);
    if ("list" in latest || /** @type {{down?: boolean}} */ (latest).down) port.postMessage(latest);
  };
}

/** @type {any} */ (self).onconnect = connected;
open();
