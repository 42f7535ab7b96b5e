// Drives one browser for a Rust test: JSON requests on standard input, one a line, each answered
// by one line on standard output. The browser ends with this process, however that ends.
//
//   {"id": 1, "do": "launch", "browser": "chromium", "profile": "/tmp/…"}
//   {"id": 1, "ok": {"pid": 4711, "version": "Chrome/156…"}}   or   {"id": 1, "error": "…"}
//
// `commands` below lists what can be asked for.

import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

import puppeteer from "puppeteer-core";

/** @typedef {import("puppeteer-core").Browser} Browser */
/** @typedef {import("puppeteer-core").Page} Page */
/** @typedef {{ [key: string]: any }} Request */

/** How long a page may take to load, or an element to appear. */
const PATIENCE = 20_000;
/** How long the browser itself may take to start; cold, on a busy machine. */
const START = 60_000;

const probe = readFileSync(new URL("probe.js", import.meta.url), "utf8");

/** @type {Browser | undefined} */
let browser;
/** @type {Page[]} */
const pages = [];
/** What each page wrote to its console as an error, and what it threw. @type {string[][]} */
const complaints = [];

/** @type {Record<string, import("puppeteer-core").LaunchOptions>} */
const browsers = {
  chromium: {
    browser: "chrome",
    executablePath: "/usr/bin/chromium",
    args: [
      // Inside the tests' namespaces there is no second user to drop privileges to.
      "--no-sandbox",
      // Containers often have 64 MB of shared memory.
      "--disable-dev-shm-usage",
      "--disable-gpu",
    ],
  },
  firefox: { browser: "firefox", executablePath: "/usr/bin/firefox-esr" },
};

/** @param {Request} request @returns {Page} */
const pageOf = (request) => {
  const page = pages[request.page];
  if (!page) {
    throw new Error(`no page ${request.page}`);
  }
  return page;
};

/** @type {Record<string, (request: Request) => Promise<unknown>>} */
const commands = {
  /** Starts the browser: `browser`, `profile` (an empty directory). */
  async launch(request) {
    browser = await puppeteer.launch({
      ...browsers[request.browser],
      headless: true,
      userDataDir: request.profile,
      timeout: START,
      protocolTimeout: START,
    });
    return { pid: browser.process()?.pid, version: await browser.version() };
  },

  /** Opens `url` in a new tab; returns the page's number, which the others take as `page`. */
  async open(request) {
    if (!browser) {
      throw new Error("no browser was launched");
    }
    const page = await browser.newPage();
    /** @type {string[]} */
    const list = [];
    page.on("pageerror", (error) => list.push(String(error)));
    page.on("console", (message) => {
      if (message.type() === "error") {
        list.push(message.text());
      }
    });
    await page.setViewport({ width: 1280, height: 800 });
    await page.evaluateOnNewDocument(probe);
    const number = pages.push(page) - 1;
    complaints.push(list);
    await page.goto(request.url, { timeout: PATIENCE, waitUntil: "domcontentloaded" });
    return number;
  },

  /** Goes to `url` in the same tab. */
  async go(request) {
    await pageOf(request).goto(request.url, { timeout: PATIENCE, waitUntil: "domcontentloaded" });
  },

  /** Clicks `selector` once it is visible. */
  async click(request) {
    const element = await pageOf(request).waitForSelector(request.selector, {
      visible: true,
      timeout: PATIENCE,
    });
    await element?.click();
  },

  /** Types `text` into `selector`, after what is there. */
  async type(request) {
    const element = await pageOf(request).waitForSelector(request.selector, { timeout: PATIENCE });
    await element?.type(request.text);
  },

  /** Presses `key` ("Enter", "m", …). */
  async press(request) {
    await pageOf(request).keyboard.press(request.key);
  },

  /** The text a person can see in `selector`, or null when nothing matches. */
  async text(request) {
    return pageOf(request).evaluate(
      (selector) => /** @type {HTMLElement?} */ (document.querySelector(selector))?.innerText,
      request.selector,
    );
  },

  /** The value of attribute `name` of `selector`, or null. */
  async attribute(request) {
    return pageOf(request).evaluate(
      (selector, name) => document.querySelector(selector)?.getAttribute(name),
      request.selector,
      request.name,
    );
  },

  /** The value, perhaps awaited, of the expression `script`. */
  async evaluate(request) {
    return pageOf(request).evaluate(request.script);
  },

  /** What the probe measured, with the picture's hash. */
  async stats(request) {
    return pageOf(request).evaluate("probe.stats()");
  },

  /** Errors on the page's console and exceptions so far. */
  async complaints(request) {
    return complaints[request.page];
  },

  /** Writes a PNG of the page to `path`. */
  async screenshot(request) {
    await pageOf(request).screenshot({ path: request.path });
  },

  /** Closes the tab as a person does, with its `pagehide` handlers. */
  async closePage(request) {
    await pageOf(request).close({ runBeforeUnload: true });
  },

  /** Closes the browser in an orderly way. */
  async closeBrowser() {
    await browser?.close();
    browser = undefined;
  },
};

/** @param {string} line */
const answer = async (line) => {
  /** @type {Request} */
  const request = JSON.parse(line);
  try {
    const command = commands[request.do];
    if (!command) {
      throw new Error(`no command ${request.do}`);
    }
    const ok = (await command(request)) ?? null;
    console.log(JSON.stringify({ id: request.id, ok }));
  } catch (error) {
    console.log(JSON.stringify({ id: request.id, error: String(error) }));
  }
};

for await (const line of createInterface({ input: process.stdin })) {
  // Not awaited: a test may look at one page while another one loads.
  void answer(line);
}
await browser?.close().catch(() => {});
process.exit(0);
