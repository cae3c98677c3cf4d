// What the page's doctor says of files: in Node, or in the page in headless Chromium.
//
//   node run_doctor.mjs SITE FILE... [-- CHROMIUM]      prints JSON by file
import { readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { gunzipSync } from "node:zlib";
import { pathToFileURL } from "node:url";
import { serve, start } from "./browser.mjs";

const [site, ...rest] = process.argv.slice(2), end = rest.indexOf("--");
const files = end < 0 ? rest : rest.slice(0, end), chromium = end < 0 ? null : rest[end + 1];

async function inNode() {
  const { Doctor } = await import(pathToFileURL(join(site, "demo/doctor/program.js")));
  const read = (name) => readFile(join(site, "demo/python", name));
  const module = await WebAssembly.compile(gunzipSync(await read("python.wasm.gz")));
  const doctor = new Doctor(module, await read("library.zip"), await read("oaq.zip")), answers = {};
  for (const file of files) answers[file] = doctor.diagnose(basename(file), await readFile(file));
  return { answers };
}

async function inChromium() {
  const server = await serve({ "/": site }), { page, close } = await start(chromium);
  const status = "document.getElementById('doctor-status').textContent", failed = `${status}.startsWith('The doctor cannot')`;
  const choose = (file) => page.files("#model-file", [file]);
  const settled = () => page.until(`!${status}.startsWith('Looking')`, 120);
  try {
    await page.resize(390, 844, 1, true);
    await page.open(`${server.origin}/demo/#doctor`);
    await choose(files[0]);  // before Python is there
    await page.until(`performance.getEntriesByName('oaq-doctor-ready').length > 0 || ${failed}`, 180);
    if (await page.evaluate(failed)) throw new Error(await page.evaluate(status));
    server.close();  // everything is there: nothing is fetched for a file
    const shown = {};
    for (const file of files) {
      if (file !== files[0]) await choose(file);
      await settled();
      shown[file] = await page.evaluate(`({
        status: ${status}, title: document.getElementById('verdict-title').textContent,
        verdict: !document.getElementById('verdict').hidden,
        words: document.getElementById('words').textContent.split("\\n"),
        unsafe: [...document.querySelectorAll('.register.alarm')].map((card) => card.dataset.register),
        layers: [...document.querySelectorAll('#findings-layers .layer span')].map((name) => name.textContent),
        wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
      })`);
    }
    await page.evaluate("Blob.prototype.arrayBuffer = () => Promise.reject(new Error('it is gone')); 0");
    await choose(files[0]);
    await settled();
    return { shown, unreadable: await page.evaluate(status), said: page.said };
  } finally {
    await close();
  }
}

console.log(JSON.stringify(await (chromium ? inChromium() : inNode())));
