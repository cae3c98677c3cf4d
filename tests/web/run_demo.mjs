// Opens the demo page in headless Chromium and says what it shows.
//
//   node run_demo.mjs SITE CHROMIUM FILE      FILE is chosen as a photo
import { ISOLATED, serve, start } from "./browser.mjs";

const [site, chromium, file] = process.argv.slice(2);
const server = await serve({ "/": site }, ISOLATED);
const { page, close } = await start(chromium);
const idle = "!document.getElementById('measure').disabled";
try {
  const widths = {};
  for (const width of [390, 1280]) {
    await page.resize(width, 900);
    await page.open(`${server.origin}/demo/`);
    await page.until(`document.querySelectorAll('#classes li').length > 0 && document.querySelector('#note').textContent`);
    widths[width] = await page.evaluate("document.documentElement.scrollWidth");
  }
  const texts = (selector) => page.evaluate(`[...document.querySelectorAll('${selector}')].map((e) => e.textContent)`);
  const before = await texts("#classes span");
  await page.files("#file", [file]);
  await page.until(`document.getElementById('shown').src.startsWith('blob:') && ${idle}`);
  const shown = { classes: await texts("#classes span"), times: await texts("#times span"),
    cpus: await page.evaluate("navigator.hardwareConcurrency"),
    layers: (await texts(".layer")).length, seal: (await texts("#seal"))[0], status: (await texts("#status"))[0] };
  await page.evaluate("document.getElementById('network').selectedIndex = 1; "
    + "document.getElementById('network').dispatchEvent(new Event('change'))");
  await page.until(`!document.getElementById('boxes').hidden && document.querySelectorAll('#classes li').length > 0 && ${idle}`);
  const objects = await texts("#classes .object span");
  const [size, drawn] = await page.evaluate(`(() => {
    const canvas = document.getElementById('boxes'), { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    return [[canvas.width, canvas.height], data.some((value) => value > 0)];
  })()`);
  const loaded = await page.evaluate("performance.getEntriesByType('resource').map((entry) => new URL(entry.name).origin)");
  const selected = () => page.evaluate("[...document.querySelectorAll('[role=tab]')].map((tab) => tab.ariaSelected)");
  const tabs = [await selected()];
  await page.evaluate("document.getElementById('tab-photos').focus()");
  await page.key("ArrowRight");
  tabs.push(await selected());
  console.log(JSON.stringify({
    foreign: loaded.filter((origin) => origin !== server.origin && origin !== "null"), tabs,
    widths, before, ...shown, objects, size, drawn, said: page.said,
  }));
} finally {
  await close();
  server.close();
}
