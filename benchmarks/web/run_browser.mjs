// What the benchmark asks of one isolated page in headless Chromium: times of both builds, on one thread and on several,
// and of onnxruntime-web on one; first results.
//
//   node run_browser.mjs SITE ROUNDS CHROMIUM      SITE as benchmarks.web.demo writes it; prints JSON
import { ISOLATED, serve, start } from "../../tests/web/browser.mjs";

const [site, rounds, chromium] = process.argv.slice(2);

// Runs in the page: every contender of a network in turns, so that none has the machine to itself.
async function compare(network, photo, rounds) {
  const oaq = await import("/src/index.js");
  const { openPeer } = await import("/demo/peers.js");
  const { timesOf } = await import("/demo/times.js");
  const image = Object.assign(new Image(), { src: `/demo/${photo}` });
  await image.decode();
  const contenders = [];
  let pixels = null, expected = null;
  const chosen = oaq.builds().flatMap((build) => [...new Set([1, oaq.defaultThreads()])].map((threads) => ({ build, threads })));
  for (const { build, threads } of chosen) {
    const net = await oaq.load(`/demo/${network.file}`, { build, threads });
    pixels ??= net.prepare(image);
    const [y] = net.run(pixels);
    expected ??= y;
    if (y.some((value, i) => value !== expected[i])) throw new Error(`${build}: other integers than ${oaq.builds()[0]}`);
    if (net.measure() !== net.signature) throw new Error(`${build}: another signature`);
    const name = `oaq ${build}${threads > 1 ? `, ${threads} threads` : ""}`;
    contenders.push({ name, run: () => net.run(pixels), best: y.indexOf(Math.max(...y)), net });
  }
  for (const peer of network.peers) {
    const opened = await openPeer(`/demo/${peer.file}`, contenders[0].net, peer);
    const y = await opened.run(pixels);
    contenders.push({ name: `onnxruntime-web ${peer.precision}`, run: () => opened.run(pixels), best: y.indexOf(Math.max(...y)) });
  }
  const times = contenders.map(() => []);
  for (const { run } of contenders) await timesOf(run, 20);
  for (let round = 0; round < rounds; ++round)
    for (const [i, { run }] of contenders.entries()) times[i].push(...(await timesOf(run, 3)));
  for (const { net } of contenders) net?.close();
  return contenders.map(({ name, best }, i) => ({ name, best, times: times[i] }));
}

const server = await serve({ "/": site }, ISOLATED);
const browser = await start(chromium);
try {
  const { page } = browser;
  await page.open(`${server.origin}/demo/`);
  await page.until("performance.getEntriesByName('oaq-first-result').length > 0");
  const first = await page.evaluate("performance.getEntriesByName('oaq-first-result')[0].startTime");
  await page.open(`${server.origin}/blank.html`);
  const demo = await page.evaluate("fetch('/demo/demo.json').then((answer) => answer.json())");
  const networks = {};
  for (const network of demo.networks)
    networks[network.title] = await page.evaluate(
      `(${compare})(${JSON.stringify(network)}, ${JSON.stringify(demo.samples[0])}, ${rounds})`);
  const { product } = await browser.page.browser.send("Browser.getVersion");
  console.log(JSON.stringify({ first, networks, product }));
} finally {
  await browser.close();
  server.close();
}
