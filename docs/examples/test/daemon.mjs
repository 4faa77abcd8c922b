// A meshd with a state directory of its own, serving the examples.
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { waitFor } from "./browser.mjs";

const EXAMPLES = dirname(dirname(fileURLToPath(import.meta.url)));

export class Daemon {
  #state = mkdtempSync(join(tmpdir(), "meshlink-page-"));
  #process;
  #log = "";
  url;
  token;

  async start() {
    const port = this.url ? new URL(this.url).port : "0";
    const args = ["--state-dir", this.#state, "--socket", join(this.#state, "meshd.sock"), "--ui", EXAMPLES, "--no-lan"];
    this.#process = spawn(process.env.MESHD, [...args, "--listen", `127.0.0.1:${port}`], { stdio: ["ignore", "ignore", "pipe"] });
    this.#process.stderr.setEncoding("utf8").on("data", (text) => (this.#log += text));
    this.url = await waitFor("meshd to answer", async () => {
      if (this.#process.exitCode !== null) throw new Error(`meshd ended:\n${this.#log}`);
      try {
        const { url } = JSON.parse(readFileSync(join(this.#state, "api.json"), "utf8"));
        return (await fetch(`${url}/v1/health`)).ok && url;
      } catch {
        return undefined; // not there yet
      }
    });
    this.token = readFileSync(join(this.#state, "api-token"), "utf8").trim();
  }

  /** SIGKILL: nothing is said good-bye to. */
  async kill() {
    const ended = new Promise((resolve) => this.#process.once("exit", resolve));
    this.#process.kill("SIGKILL");
    await ended;
  }

  async stop() {
    await this.kill();
    rmSync(this.#state, { recursive: true, force: true });
  }

  async get(path) {
    const answer = await fetch(this.url + path, { headers: { Authorization: `Bearer ${this.token}` } });
    return answer.json();
  }

  async send(text) {
    const headers = { Authorization: `Bearer ${this.token}`, "Content-Type": "application/json" };
    const answer = await fetch(`${this.url}/v1/messages`, { method: "POST", headers, body: JSON.stringify({ text }) });
    if (answer.status !== 201) throw new Error(await answer.text());
    return answer.json();
  }
}
