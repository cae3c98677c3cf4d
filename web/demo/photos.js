// The tab of photos: a photo, what it is, how long that takes beside ONNX Runtime, and what is proved.
import * as oaq from "../src/index.js";
import { colour, drawBoxes } from "./boxes.js";
import { at, bar, fileZone, layerLine, make, say as sayIn } from "./dom.js";
import { openPeer } from "./peers.js";
import { median, sleep, timesOf } from "./times.js";

const RUNS = 12;
const state = { demo: null, networks: new Map(), peers: new Map(), source: null, turn: 0 };

/** Show the tab for the first time. */
export function beginPhotos() {
  begin().catch(fail);
}

async function begin() {
  state.demo = await (await fetch("demo.json")).json();
  for (const { title } of state.demo.networks) at("network").append(make("option", { textContent: title }));
  state.demo.samples.forEach((sample, index) => {
    const image = make("img", { src: sample, alt: `Sample ${index + 1}`, loading: "lazy" });
    const button = make("button", { type: "button", onclick: () => take(sample, button) }, image);
    at("samples").append(button);
  });
  fileZone(at("drop"), at("file"), (file) => take(URL.createObjectURL(file)));
  at("choose").onclick = () => at("file").click();
  at("camera").onclick = useCamera;
  at("measure").onclick = measure;
  at("network").onchange = () => openNetwork().then(changePhoto).catch(fail);
  await openNetwork();
  at("loaded").hidden = false;
  await take(state.demo.samples[0], at("samples").firstChild);
}

// The chosen network in the quickest build; others are loaded when they are timed, each once.
async function openNetwork() {
  const [build] = oaq.builds();
  say(`Loading ${state.demo.networks[at("network").selectedIndex].title} ...`);
  showProof(await networkOf(build));
  say("");
}

// A sample gives way to the one that the network has something to say of; a photo of one's own stays.
async function changePhoto() {
  const buttons = [...at("samples").children], { sample } = state.demo.networks[at("network").selectedIndex];
  if (sample !== undefined && buttons.some((button) => button.ariaPressed === "true"))
    return take(state.demo.samples[sample], buttons[sample]);
  await answer();
  await measure();
}

async function networkOf(build, threads = 1) {
  const { file } = state.demo.networks[at("network").selectedIndex], key = `${build} ${threads} ${file}`;
  if (!state.networks.has(key)) state.networks.set(key, await oaq.load(file, { build, threads }));
  return state.networks.get(key);
}

async function take(url, button) {
  stopCamera();
  for (const other of at("samples").children) other.ariaPressed = String(other === button);
  const image = at("shown");
  image.src = url;
  try {
    await image.decode();
  } catch {
    return say("This file is not a picture that the browser reads.", true);
  }
  state.source = image;
  say("");
  await answer();
  await measure();
}

async function answer() {
  if (!state.source) return;
  const net = await networkOf(oaq.builds()[0]), isDetector = net.task === "detect";
  at("question").textContent = isDetector ? "What is there" : "What it is";
  at("boxes").hidden = !isDetector;
  at("drop").classList.toggle("whole", isDetector);
  if (isDetector) showObjects(net.detect(net.prepare(state.source), state.source));
  else at("classes").replaceChildren(...net.classify(net.prepare(state.source)).map(({ label, probability }) =>
    bar("li", label, `${(100 * probability).toFixed(1)} %`, probability, true)));
  performance.mark("oaq-first-result");
}

function showObjects(objects) {
  drawBoxes(at("boxes"), state.source, objects);
  at("classes").replaceChildren(...objects.map(({ label, score, index }) => {
    const line = bar("li", label, `${(100 * score).toFixed(0)} %`, score, true);
    line.style.setProperty("--swatch", colour(index));
    line.classList.add("object");
    return line;
  }));
  if (!objects.length) at("classes").replaceChildren(make("li", { className: "small", textContent: "Nothing that it knows." }));
}

// One after another, so that none takes the CPU from another; a new photo ends it.
async function measure() {
  const turn = ++state.turn, net = await networkOf(oaq.builds()[0]), image = net.prepare(state.source), rows = [];
  const show = () => {
    const slowest = Math.max(...rows.map(({ time }) => time ?? 0), 1e-9);
    at("times").replaceChildren(...rows.map(({ name, time, words, ours }) =>
      bar("div", name, time === null ? words : `${time.toFixed(1)} ms`, (time ?? 0) / slowest, ours)));
  };
  at("measure").disabled = true;
  for (const build of oaq.builds())
    for (const threads of new Set([1, oaq.defaultThreads()])) {
      const name = `oaq, ${build === "relaxed" ? "relaxed SIMD" : "SIMD128"}${threads > 1 ? `, ${threads} threads` : ""}`;
      rows.push({ name, time: null, words: "...", ours: true, build, threads });
    }
  for (const peer of state.demo.networks[at("network").selectedIndex].peers)
    rows.push({ name: `onnxruntime-web, ${peer.precision}`, time: null, words: "...", ours: false, peer });
  show();
  for (const row of rows) {
    try {
      if (row.build) {
        const own = await networkOf(row.build, row.threads);
        row.run = () => own.run(image);
      } else {
        if (!state.peers.has(row.peer.file)) state.peers.set(row.peer.file, await openPeer(row.peer.file, net, row.peer));
        row.run = () => state.peers.get(row.peer.file).run(image);
      }
      row.time = median(await timesOf(row.run, RUNS, () => turn === state.turn));
    } catch (error) {
      row.words = "did not run";
      console.warn(`${row.name}: ${error.message}`);
    }
    if (turn !== state.turn) return;
    show();
    await sleep();
  }
  at("measure").disabled = false;
  at("note").textContent = `Median of ${RUNS} runs in this tab, one thread if nothing is said, without scaling the photo` +
    (rows.some(({ peer }) => peer) ? "." : "; onnxruntime-web is not installed here.");
}

function showProof(net) {
  const bits = net.layers.filter(({ bits }) => bits !== null), narrow = bits.filter(({ bits }) => bits === 16).length;
  at("seal").textContent = `${bits.length} of ${bits.length} layers proved for every photo, ${narrow} of them in 16 bits ` +
    `(${net.build === "relaxed" ? "relaxed SIMD" : "SIMD128"}). This browser computed the signature ` +
    `${net.signature.slice(0, 16)}..., as the reference did; certificate ${net.certificate.slice(0, 16)}...`;
  at("layers").replaceChildren(...bits.map((layer) => {
    const spills = layer.run === null || layer.sum_bits <= 16 ? "" : `, ${layer.run.toFixed(1)} steps`;
    const title = `${layer.row}: its registers of ${layer.bits} bits are at most ${Math.round(100 * layer.used)} % full`;
    return layerLine({ name: layer.name, title, part: layer.sum_bits / 32, mark: 0.5, text: `${layer.sum_bits} bits${spills}` });
  }));
}

async function useCamera() {
  const video = at("video");
  if (!video.hidden) {
    const canvas = make("canvas", { width: video.videoWidth, height: video.videoHeight });
    canvas.getContext("2d").drawImage(video, 0, 0);
    return take(canvas.toDataURL("image/png"));
  }
  try {
    video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch (error) {
    return say(`There is no camera here: ${error.message}`, true);
  }
  await video.play();
  [video.hidden, at("shown").hidden] = [false, true];
  at("camera").textContent = "Take the photo";
}

function stopCamera() {
  const video = at("video");
  for (const track of video.srcObject?.getTracks() ?? []) track.stop();
  video.srcObject = null;
  [video.hidden, at("shown").hidden] = [true, false];
  at("camera").textContent = "Use the camera";
}

const say = (text, alarm = false) => sayIn(at("status"), text, alarm);

function fail(error) {
  say(error.message, true);
  console.error(error);
}
