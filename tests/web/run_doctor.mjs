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
  const idle = "document.getElementById('doctor-status').textContent";
  try {
    await page.resize(390, 844, 1, true);
    await page.open(`${server.origin}/demo/#doctor`);
    await page.until(`performance.getEntriesByName('oaq-doctor-ready').length > 0 || ${idle}.includes('cannot')`, 180);
    const status = await page.evaluate(idle);
    if (status) throw new Error(status);
    server.close();  // everything is there: nothing is fetched for a file
    const shown = {};
    for (const file of files) {
      await page.files("#model-file", [file]);
      await page.until(`!${idle}.startsWith('Looking')`, 120);
      shown[file] = await page.evaluate(`({
        status: ${idle}, title: document.getElementById('verdict-title').textContent,
        verdict: !document.getElementById('verdict').hidden,
        words: document.getElementById('words').textContent.split("\\n"),
        unsafe: [...document.querySelectorAll('.register.alarm')].map((card) => card.dataset.register),
        layers: [...document.querySelectorAll('#findings-layers .layer span')].map((name) => name.textContent),
        wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
      })`);
    }
    return { shown, said: page.said };
  } finally {
    await close();
  }
}

console.log(JSON.stringify(await (chromium ? inChromium() : inNode())));
