// Runs a network by one thread and by several, in Node or in headless Chromium, until every thread has computed some of it.
//
//   node run_threads.mjs FOLDER NAME INPUT WHERE [CHROMIUM]
//     FOLDER   holds NAME.json and its plans
//     INPUT    integers of one sample
//     WHERE    node or chromium
//
// Prints JSON: for each build and number of threads, all distinct outputs as base64, the signature, chunks by thread;
// what a page that is not isolated gets; and the words of what is refused.
import { readFileSync } from "node:fs";
import { fileURLToPath, pathToFileURL } from "node:url";

import { ISOLATED, serve, start } from "./browser.mjs";

const [folder, name, input, where, chromium] = process.argv.slice(2);
const root = fileURLToPath(new URL("../../web/", import.meta.url));

// Runs here or in the page.
async function runAll(library, url, bytes) {
  const oaq = await import(library), results = [], MOST_RUNS = 3000;
  const x = Uint8Array.from(atob(bytes), (c) => c.charCodeAt(0));
  const encode = (values) => btoa(Array.from(values, (v) => String.fromCharCode(v)).join(""));
  for (const build of oaq.builds())
    for (const threads of [1, 2, 3]) {
      const net = await oaq.load(url, { build, threads }), outputs = new Set();
      const isIdle = () => threads > 1 && net.shares().some((chunks) => chunks === 0);
      for (let run = 0; run < 20 || (isIdle() && run < MOST_RUNS); ++run) outputs.add(encode(net.run(x)[0]));
      results.push({ build, threads: net.threads, outputs: [...outputs], shares: net.shares(), signature: net.measure() });
      net.close();
      net.close();
      try {
        net.run(x);
      } catch (error) {
        results.at(-1).closed = `${error.code}: ${error.message}`;
      }
    }
  return { results, ...(await refusals(oaq, url)) };

  async function refusals(oaq, url) {
    const unasked = await oaq.load(url), said = {};
    for (const threads of [0, 1.5, 257, "2"])
      said[threads] = await oaq.load(url, { threads }).then(() => "taken", (error) => `${error.code}: ${error.message}`);
    const byDefault = unasked.threads;
    unasked.close();
    // Without a module for threads, or where it cannot be fetched, a network that nobody asked threads for has one.
    const [build] = oaq.builds(), place = new URL(`/wasm/oaq-${build}.wasm`, url).href, alone = [];
    for (const more of globalThis.crossOriginIsolated ? [{}, { [`${build}-threads`]: "/wasm/none.wasm" }] : [])
      alone.push((await oaq.load(url, { wasm: { [build]: place, ...more } })).threads);
    return { said, byDefault, alone, cpus: globalThis.navigator?.hardwareConcurrency ?? 1 };
  }
}

async function ask(library, url) {
  const oaq = await import(library), net = await oaq.load(url);
  return {
    byDefault: net.threads, ran: net.measure() === net.signature, shares: net.shares(),
    asked: await oaq.load(url, { threads: 2 }).then(() => "taken", (error) => `${error.code}: ${error.message}`),
  };
}

const bytes = readFileSync(input).toString("base64");
if (where === "node") {
  const place = pathToFileURL(`${folder}/${name}.json`).href;
  console.log(JSON.stringify(await runAll(pathToFileURL(`${root}src/index.js`).href, place, bytes)));
} else {
  const browser = await start(chromium), answers = [];
  try {
    for (const [headers, call] of [[ISOLATED, runAll], [{}, ask]]) {
      const site = await serve({ "/": root, "/net/": folder }, headers);
      await browser.page.open(`${site.origin}/test/blank.html`);
      const expression = `(${call})("/src/index.js", "${site.origin}/net/${name}.json", ${JSON.stringify(bytes)})`;
      answers.push(await browser.page.evaluate(expression));
      site.close();
    }
    console.log(JSON.stringify({ ...answers[0], open: answers[1] }));
  } finally {
    await browser.close();
  }
}
