// Chromium over its debugging pipe: null-terminated JSON on file descriptors 3 and 4. No package is needed.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const PATIENCE_MS = 30_000;

/** Asks `found` again until it gives something. */
export async function waitFor(what, found) {
  const deadline = Date.now() + PATIENCE_MS;
  for (;;) {
    const answer = await found();
    if (answer) return answer;
    if (Date.now() > deadline) throw new Error(`waited ${PATIENCE_MS / 1000} s for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

export class Browser {
  #process;
  #profile = mkdtempSync(join(tmpdir(), "meshlink-chromium-"));
  #calls = new Map();
  #listeners = new Set();
  #next = 1;

  /** `rules` lead host names elsewhere, as DNS rebinding does: "MAP evil.example 127.0.0.1". */
  constructor(rules) {
    const flags = [
      "--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
      "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
      `--user-data-dir=${this.#profile}`, `--host-resolver-rules=${rules}`, "about:blank",
    ];
    this.#process = spawn(process.env.CHROMIUM, flags, { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] });
    let rest = "";
    this.#process.stdio[4].setEncoding("utf8").on("data", (data) => {
      const messages = (rest + data).split("\0");
      rest = messages.pop();
      messages.map((message) => JSON.parse(message)).forEach((message) => this.#hear(message));
    });
    this.#process.on("exit", () => {
      for (const { reject } of this.#calls.values()) reject(new Error("Chromium ended"));
    });
  }

  #hear({ id, result, error, method, params, sessionId }) {
    const call = this.#calls.get(id);
    this.#calls.delete(id);
    if (error) call?.reject(new Error(error.message));
    else call?.resolve(result);
    if (method) this.#listeners.forEach((listener) => listener(method, params, sessionId));
  }

  call(method, params = {}, sessionId) {
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no answer to ${method}`)), PATIENCE_MS);
      const settle = (then) => (value) => { clearTimeout(timer); then(value); };
      this.#calls.set(id, { resolve: settle(resolve), reject: settle(reject) });
      this.#process.stdio[3].write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    });
  }

  /** Opens a page in a tab of its own; `bypassCSP` takes its policy away, to see what the server does without it. */
  async open(url, { bypassCSP = false } = {}) {
    const { targetId } = await this.call("Target.createTarget", { url: "about:blank" });
    const { sessionId } = await this.call("Target.attachToTarget", { targetId, flatten: true });
    const page = new Page(this, sessionId);
    this.#listeners.add((method, params, session) => session === sessionId && page.hear(method, params));
    for (const domain of ["Page", "Runtime", "Log", "Network"]) await this.call(`${domain}.enable`, {}, sessionId);
    await this.call("Page.setBypassCSP", { enabled: bypassCSP }, sessionId);
    await page.goto(url);
    return page;
  }

  async close() {
    const ended = new Promise((resolve) => this.#process.once("exit", resolve));
    this.call("Browser.close").catch(() => {});
    const timer = setTimeout(() => this.#process.kill("SIGKILL"), 5_000);
    await ended;
    clearTimeout(timer);
    rmSync(this.#profile, { recursive: true, force: true, maxRetries: 5 });
  }
}

export class Page {
  /** What the page did that it should not have: exceptions, and violations of its policy. */
  complaints = [];
  #browser;
  #session;

  constructor(browser, session) {
    this.#browser = browser;
    this.#session = session;
  }

  hear(method, params) {
    if (method === "Runtime.exceptionThrown") this.complaints.push(params.exceptionDetails.text);
    const entry = method === "Log.entryAdded" && params.entry;
    if (entry?.source === "security") this.complaints.push(entry.text);
  }

  async goto(url) {
    const { errorText } = await this.#browser.call("Page.navigate", { url }, this.#session);
    if (errorText) throw new Error(`${url}: ${errorText}`);
    await waitFor(`${url} to load`, () => this.run("document.readyState === 'complete' && location.href !== 'about:blank'"));
  }

  /** Runs an expression in the page; its value, awaited. */
  async run(expression) {
    const params = { expression, awaitPromise: true, returnByValue: true, userGesture: true };
    const { result, exceptionDetails } = await this.#browser.call("Runtime.evaluate", params, this.#session);
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  }

  /** Types into the named field of a form and sends it, as a person would. */
  async submit(form, field, text) {
    await this.run(`{ const form = document.getElementById(${JSON.stringify(form)});
      form[${JSON.stringify(field)}].value = ${JSON.stringify(text)}; form.requestSubmit(); }`);
  }

  /** The text of every line of the chat. */
  lines() {
    return this.run("[...document.querySelectorAll('#messages li')].map((line) => line.textContent)");
  }
}
