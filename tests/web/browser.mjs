// Headless Chromium for tests and benchmarks, by the DevTools protocol over a WebSocket: Node and Debian's Chromium are
// all that is needed.
import { spawn } from "node:child_process";
import { createReadStream } from "node:fs";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { extname, join, normalize } from "node:path";

const TYPES = {
  ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".mjs": "text/javascript", ".css": "text/css",
  ".json": "application/json", ".wasm": "application/wasm", ".png": "image/png", ".jpg": "image/jpeg",
  ".svg": "image/svg+xml",
};

/** Headers by which a page is cross-origin isolated, so that its workers may share memory. */
export const ISOLATED = { "cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp" };

/**
 * Serve folders on localhost: { "/prefix/": folder }, the longest prefix first; with further headers. Returns
 * { origin, close }.
 */
export async function serve(folders, headers = {}) {
  const prefixes = Object.keys(folders).sort((a, b) => b.length - a.length);
  const server = createServer(async (request, response) => {
    const path = normalize(decodeURIComponent(new URL(request.url, "http://localhost").pathname));
    const prefix = prefixes.find((start) => path.startsWith(start));
    try {
      if (prefix === undefined) throw new Error("no such prefix");
      const file = join(folders[prefix], path.endsWith("/") ? `${path.slice(prefix.length)}index.html` : path.slice(prefix.length));
      const { size } = await stat(file);
      const type = TYPES[extname(file)] ?? "application/octet-stream";
      response.writeHead(200, { "content-type": type, "content-length": size, ...headers });
      createReadStream(file).pipe(response);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { origin: `http://127.0.0.1:${server.address().port}`, close: () => server.close() };
}

/** Start Chromium; returns { page, close }. `page` has open(url), evaluate(expression), resize, screenshot, files. */
export async function start(program = process.env.OAQ_CHROMIUM ?? "chromium", options = []) {
  const profile = await mkdtemp(join(tmpdir(), "oaq-chromium-"));
  const child = spawn(program, ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--mute-audio",
    "--disable-background-networking", "--disable-dev-shm-usage", "--remote-debugging-port=0",
    `--user-data-dir=${profile}`, ...options, "about:blank"], { stdio: ["ignore", "ignore", "pipe"] });
  const close = async () => {
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill();
    await ended;
    await rm(profile, { recursive: true, force: true, maxRetries: 5 });
  };
  try {
    const browser = await connect(await endpoint(child));
    const { targetInfos } = await browser.send("Target.getTargets");
    const { targetId } = targetInfos.find(({ type }) => type === "page");
    const { sessionId } = await browser.send("Target.attachToTarget", { targetId, flatten: true });
    const page = new Page(browser, sessionId);
    for (const domain of ["Page", "Runtime", "DOM"]) await page.send(`${domain}.enable`);
    return { page, close };
  } catch (error) {
    await close();
    throw error;
  }
}

function endpoint(child) {
  return new Promise((resolve, reject) => {
    let said = "";
    child.stderr.on("data", (text) => {
      said += text;
      const match = said.match(/DevTools listening on (ws:\S+)/);
      if (match) resolve(match[1]);
    });
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`Chromium ended with code ${code}: ${said.slice(-2000)}`)));
  });
}

async function connect(url) {
  const socket = new WebSocket(url), pending = new Map(), listeners = [];
  await new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onerror = () => reject(new Error(`no connection to ${url}`));
  });
  socket.onmessage = ({ data }) => {
    const message = JSON.parse(data);
    if (message.id === undefined) return listeners.forEach((listener) => listener(message));
    const { resolve, reject } = pending.get(message.id);
    pending.delete(message.id);
    if (message.error) reject(new Error(message.error.message));
    else resolve(message.result);
  };
  let id = 0;
  return {
    send: (method, params = {}, sessionId) =>
      new Promise((resolve, reject) => {
        pending.set(++id, { resolve, reject });
        socket.send(JSON.stringify({ id, method, params, ...(sessionId ? { sessionId } : {}) }));
      }),
    listen: (listener) => listeners.push(listener),
  };
}

class Page {
  constructor(browser, session) {
    this.browser = browser;
    this.session = session;
    /** What the page has said on its console, and errors that nobody caught. */
    this.said = [];
    browser.listen(({ method, params }) => {
      if (method === "Runtime.consoleAPICalled") this.said.push(params.args.map((a) => a.value ?? a.description).join(" "));
      if (method === "Runtime.exceptionThrown")
        this.said.push(`uncaught: ${params.exceptionDetails.exception?.description ?? params.exceptionDetails.text}`);
    });
  }

  send(method, params) {
    return this.browser.send(method, params, this.session);
  }

  async open(url) {
    const loaded = new Promise((resolve) =>
      this.browser.listen(({ method }) => method === "Page.loadEventFired" && resolve()));
    const { errorText } = await this.send("Page.navigate", { url });
    if (errorText) throw new Error(`${url}: ${errorText}`);
    await loaded;
  }

  /** The value of an expression, awaited. */
  async evaluate(expression) {
    const { result, exceptionDetails } = await this.send("Runtime.evaluate",
      { expression, awaitPromise: true, returnByValue: true });
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  }

  /** Wait until an expression is true. */
  async until(expression, seconds = 60) {
    for (const end = Date.now() + 1000 * seconds; Date.now() < end; ) {
      if (await this.evaluate(expression)) return;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    throw new Error(`after ${seconds} seconds it is not so: ${expression}; the page said: ${this.said.join("\n")}`);
  }

  resize(width, height, scale = 1, mobile = false) {
    return this.send("Emulation.setDeviceMetricsOverride", { width, height, deviceScaleFactor: scale, mobile });
  }

  /** Press a key, as "Enter" or "ArrowRight". */
  async key(name) {
    for (const type of ["keyDown", "keyUp"]) await this.send("Input.dispatchKeyEvent", { type, key: name });
  }

  /** A PNG of the window, or of the whole page. */
  async screenshot(whole = false) {
    const { data } = await this.send("Page.captureScreenshot", { format: "png", captureBeyondViewport: whole });
    return Buffer.from(data, "base64");
  }

  /** Put files into an <input type="file">. */
  async files(selector, files) {
    const { root } = await this.send("DOM.getDocument");
    const { nodeId } = await this.send("DOM.querySelector", { nodeId: root.nodeId, selector });
    await this.send("DOM.setFileInputFiles", { nodeId, files });
  }
}
