// The chat page works, and pages that should get nowhere get nowhere.
import assert from "node:assert/strict";
import { createServer } from "node:http";

import { Browser, waitFor } from "./browser.mjs";
import { Daemon } from "./daemon.mjs";

const daemon = new Daemon();
await daemon.start();
const { port } = new URL(daemon.url);
const browser = new Browser("MAP evil.example 127.0.0.1");

const tests = {
  async "the page lists, sends and shows what comes in"() {
    await daemon.send("from before");
    const page = await browser.open(`${daemon.url}/chat.html`);
    await page.submit("login", "token", daemon.token);
    await waitFor("the list", async () => (await page.lines()).includes("me: from before [pending]"));
    await page.submit("send", "text", "from the page");
    await waitFor("the own message", async () => (await page.lines()).includes("me: from the page [pending]"));
    await daemon.send("from elsewhere");
    await waitFor("the other message", async () => (await page.lines()).includes("me: from elsewhere [pending]"));
    assert.equal((await daemon.get("/v1/messages")).items.length, 3);
    assert.deepEqual(page.complaints, []);
  },

  async "the page goes on after the daemon was killed"() {
    const page = await browser.open(`${daemon.url}/chat.html`);
    await page.submit("login", "token", daemon.token);
    await waitFor("the stream", () => page.run("document.getElementById('state').textContent === 'connected'"));
    await daemon.kill();
    await waitFor("the loss to be noticed", () => page.run("document.getElementById('state').textContent !== 'connected'"));
    await daemon.start();
    await daemon.send("after the restart");
    await waitFor("the new message", async () => (await page.lines()).includes("me: after the restart [pending]"));
    const lines = await page.lines();
    assert.equal(new Set(lines).size, lines.length, "a message is shown twice");
    assert.deepEqual(page.complaints.filter((text) => !text.includes("ERR_CONNECTION_REFUSED")), []);
  },

  async "a wrong token is said to be wrong"() {
    const page = await browser.open(`${daemon.url}/chat.html`);
    await page.submit("login", "token", "wrong");
    await waitFor("the reason", () => page.run("document.getElementById('state').textContent.includes('token')"));
    assert.equal(await page.run("document.getElementById('login').hidden"), false);
  },

  async "A-12: markup in a message stays text, and the policy would stop it anyway"() {
    const attack = `<img src=x onerror="window.pwned = 1"><script>window.pwned = 1</script>`;
    await daemon.send(attack);
    const page = await browser.open(`${daemon.url}/chat.html`);
    await page.submit("login", "token", daemon.token);
    await waitFor("the message", async () => (await page.lines()).includes(`me: ${attack} [pending]`));
    await page.run("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.pwned = 1\">')");
    await waitFor("the policy to speak", () => page.complaints.some((text) => text.includes("Content Security Policy")));
    assert.equal(await page.run("window.pwned"), undefined);
  },

  async "A-03 to A-06: pages of another origin and rebound pages read nothing and change nothing"() {
    const before = (await daemon.get("/v1/status")).cursor;
    const server = createServer((_, answer) => answer.setHeader("Content-Type", "text/html").end("<title>evil</title>"));
    await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
    try {
      const evil = await browser.open(`http://evil.example:${server.address().port}/`);
      const outcomes = await evil.run(`(${attackFromElsewhere})(${JSON.stringify(daemon.url)}, ${JSON.stringify(daemon.token)})`);
      assert.deepEqual(outcomes.filter(({ blocked }) => !blocked), [], JSON.stringify(outcomes));
      assert.equal(outcomes.length, 14);
    } finally {
      server.close();
    }
    // The page's own name now leads to the daemon: to the browser it is one origin.
    const rebound = await browser.open(`http://evil.example:${port}/`, { bypassCSP: true });
    assert.match(await rebound.run("document.body.textContent"), /foreign_host/);
    for (const request of [
      `fetch("/v1/status", { headers: { Authorization: "Bearer ${daemon.token}" } })`,
      `fetch("/v1/messages", { method: "POST", headers: { Authorization: "Bearer ${daemon.token}", "Content-Type": "application/json" }, body: '{"text":"x"}' })`,
      `fetch("/chat.html")`,
      `fetch("/v1/health")`,
    ])
      assert.equal(await rebound.run(`${request}.then((answer) => answer.status)`), 403, request);
    assert.equal((await daemon.get("/v1/status")).cursor, before, "something was sent");
  },
};

/** Runs in a page of another origin, which somehow has the token: what it may not do with it. */
async function attackFromElsewhere(url, token) {
  const secret = { Authorization: `Bearer ${token}` };
  const json = { ...secret, "Content-Type": "application/json" };
  const body = '{"text":"intruder"}';
  const reads = (path, options) => fetch(url + path, options).then((a) => a.text()).then(() => false, () => true);
  const element = (name, attributes) =>
    new Promise((resolve) => {
      const element = Object.assign(document.createElement(name), attributes);
      element.onload = () => resolve(false);
      element.onerror = () => resolve(true);
      document.body.append(element);
    });
  const framed = () =>
    new Promise((resolve) => {
      const frame = Object.assign(document.createElement("iframe"), { src: `${url}/chat.html` });
      frame.onload = () => {
        // A refused frame shows an error page of the browser's, of an origin of its own; ours would have loaded chat.js.
        try { resolve(frame.contentDocument === null && frame.contentWindow.length === 0); } catch { resolve(true); }
      };
      document.body.append(frame);
    });
  const posted = async (enctype) => {
    const target = Object.assign(document.createElement("iframe"), { name: `frame-${Math.random()}` });
    const form = Object.assign(document.createElement("form"), { action: `${url}/v1/messages`, method: "post", enctype, target: target.name });
    form.append(Object.assign(document.createElement("input"), { name: '{"text":"intruder","a":"', value: '"}' }));
    document.body.append(target, form);
    const loaded = new Promise((resolve) => (target.onload = resolve));
    form.submit();
    await loaded;
    return true; // whether anything was sent is asked of the daemon afterwards
  };
  const opaque = (path, options) =>
    // Nothing can be read; whether anything changed is asked of the daemon afterwards.
    fetch(url + path, { mode: "no-cors", ...options }).then((a) => a.type === "opaque" && a.status === 0, () => true);
  const stream = () =>
    new Promise((resolve) => {
      const events = new EventSource(`${url}/v1/events`);
      events.onopen = () => resolve(false);
      events.onerror = () => { events.close(); resolve(true); };
    });
  const attacks = {
    "fetch a page": () => reads("/chat.html"),
    "fetch health": () => reads("/v1/health"),
    "fetch with the token": () => reads("/v1/status", { headers: secret }),
    "send with the token": () => reads("/v1/messages", { method: "POST", headers: json, body }),
    "delete with the token": () => reads("/v1/channels/mesh", { method: "DELETE", headers: secret }),
    "send blindly as text": () => opaque("/v1/messages", { method: "POST", body }),
    "send blindly as a form": () => opaque("/v1/messages", { method: "POST", body: new URLSearchParams({ text: "intruder" }) }),
    "beacon": async () => (navigator.sendBeacon(`${url}/v1/messages`, body), true),
    "script": () => element("script", { src: `${url}/chat.js` }),
    "image": () => element("img", { src: `${url}/v1/health` }),
    "stylesheet": () => element("link", { rel: "stylesheet", href: `${url}/chat.js` }),
    "frame": framed,
    "form post": () => posted("text/plain"),
    "event source": stream,
  };
  const outcomes = [];
  for (const [name, attack] of Object.entries(attacks)) outcomes.push({ name, blocked: await attack() });
  return outcomes;
}

let failed = 0;
try {
  for (const [name, test] of Object.entries(tests)) {
    try {
      await test();
      console.log(`ok   ${name}`);
    } catch (error) {
      failed += 1;
      console.log(`FAIL ${name}\n${error.stack}`);
    }
  }
} finally {
  await browser.close();
  await daemon.stop();
}
process.exit(failed ? 1 : 0);
