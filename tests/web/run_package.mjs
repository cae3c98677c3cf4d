// Loads a network by the npm package and runs photos, in Node or in headless Chromium.
//
//   node run_package.mjs FOLDER NAME PHOTOS WHERE [CHROMIUM]
//     FOLDER   holds NAME.json and its plans
//     PHOTOS   bytes of RGBA photos of the network's size, one after another
//     WHERE    node or chromium
//
// Prints JSON: for each build the signature, the integers of the photos' inputs and of the first output, as base64.
import { readFileSync } from "node:fs";
import { fileURLToPath, pathToFileURL } from "node:url";

import { serve, start } from "./browser.mjs";

const [folder, name, photos, where, chromium] = process.argv.slice(2);
const root = fileURLToPath(new URL("../../web/", import.meta.url));

// Runs here or in the page; `bytes` are base64, as is what it returns.
async function runAll(library, url, bytes) {
  const oaq = await import(library), result = {};
  const raw = Uint8ClampedArray.from(atob(bytes), (c) => c.charCodeAt(0));
  const encode = (arrays) => btoa(arrays.map((a) => Array.from(a, (v) => String.fromCharCode(v)).join("")).join(""));
  for (const build of oaq.builds()) {
    const net = await oaq.load(url, { build });
    const [height, width] = net.photo.size, images = [];
    for (let at = 0; at < raw.length; at += 4 * width * height) {
      const data = raw.slice(at, at + 4 * width * height);
      images.push(typeof ImageData === "function" ? new ImageData(data, width, height) : { data, width, height });
    }
    result[build] = {
      signature: net.measure(), layers: net.layers.length, steps: net.profile().length, labels: net.labels.length,
      inputs: encode(images.map((image) => net.integers(image))), outputs: encode(images.map((image) => net.run(image)[0])),
      best: images.map((image) => net.classify(image, 1)[0].index),
    };
  }
  return result;
}

const bytes = readFileSync(photos).toString("base64");
if (where === "node") {
  const place = pathToFileURL(`${folder}/${name}.json`).href;
  console.log(JSON.stringify(await runAll(pathToFileURL(`${root}src/index.js`).href, place, bytes)));
} else {
  const site = await serve({ "/": root, "/net/": folder });
  const browser = await start(chromium);
  try {
    await browser.page.open(`${site.origin}/test/blank.html`);
    const expression = `(${runAll})("/src/index.js", "/net/${name}.json", ${JSON.stringify(bytes)})`;
    console.log(JSON.stringify(await browser.page.evaluate(expression)));
  } finally {
    await browser.close();
    site.close();
  }
}
