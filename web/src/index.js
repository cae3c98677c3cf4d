// Integer networks in the browser: the same integers as everywhere else, checked when they are loaded.
import { decodeBoxes, isBoxes } from "./detect.js";
import { OaqError, builds, fetchBytes, open, supports } from "./runtime.js";
import { sha256 } from "./sha256.js";
import { MOST_THREADS, defaultThreads } from "./workers.js";

export { OaqError, builds, defaultThreads, supports };

const FORMAT = "oaq web 1";
/** Fixed inputs of a signature; a file that asks for more would keep a page busy. */
const MOST_SAMPLES = 1024;
const HEX = /^[0-9a-f]{64}$/;

/**
 * Load a network that `oaq export --web` wrote.
 * @param {string | URL} url of its .json
 * @param {import("./index.js").LoadOptions} [options]
 * @returns {Promise<Network>}
 */
export async function load(url, options = {}) {
  const place = new URL(url, globalThis.document?.baseURI ?? import.meta.url);
  const manifest = readManifest(await fetchBytes(place), place);
  if (options.certificate !== undefined && options.certificate !== manifest.certificate)
    throw new OaqError(
      `${place}: its certificate is ${manifest.certificate.slice(0, 16)}..., not the one asked for, ` +
        `${String(options.certificate).slice(0, 16)}...: this is another network, or another proof`, "certificate");
  const build = chooseBuild(manifest, options.build, place);
  const wasm = (name) => options.wasm?.[name] ?? new URL(`../wasm/oaq-${name}.wasm`, import.meta.url);
  const threads = chooseThreads(options, build);
  let session, bytes;
  const plan = () => (bytes ??= planOf(manifest.plans[build], place));
  try {
    session = await open(build, threads, wasm, plan);
  } catch (error) {
    // Nobody asked for threads: a page whose policy forbids workers, or whose server lacks their module, gets one.
    if (options.threads !== undefined || !["no-threads", "not-found"].includes(error.code)) throw error;
    session = await open(build, 1, wasm, plan);
  }
  const network = new Network(manifest, build, session);
  try {
    if (options.check !== false) network.check();
  } catch (error) {
    network.close();
    throw error;
  }
  return network;
}

async function planOf({ file, bytes, sha256: digest }, place) {
  const plan = await fetchBytes(new URL(file, place));
  if (plan.length !== bytes || sha256(plan) !== digest)
    throw new OaqError(
      `${file}: this is not the plan that ${place} names (${plan.length} bytes, ${bytes} expected, or other contents). ` +
        "Copy the whole folder that oaq export --web wrote", "damaged");
  return plan;
}

function chooseThreads({ threads: wanted, wasm }, build) {
  // Who says where modules are, and names none for threads, has none.
  if (wanted === undefined) return wasm?.[build] && !wasm[`${build}-threads`] ? 1 : defaultThreads();
  if (!Number.isInteger(wanted) || wanted < 1 || wanted > MOST_THREADS)
    throw new OaqError(`threads is a whole number from 1 to ${MOST_THREADS}, not ${wanted}`, "bad-argument");
  return wanted;
}

/** A network ready to run. */
export class Network {
  #manifest;
  #session;

  constructor(manifest, build, session) {
    this.#manifest = manifest;
    this.#session = session;
    /** "relaxed" or "simd128": the module that computes it. */
    this.build = build;
  }

  get name() {
    return this.#manifest.name;
  }

  /** Threads that share its work: workers and the one that calls `run`. */
  get threads() {
    return this.#session.threads;
  }

  /** Chunks of work that each of its threads has computed in all runs, the calling one first. */
  shares() {
    return this.#session.shares();
  }

  /** End its workers. It runs no more; a network of one thread need not be closed. */
  close() {
    this.#session.close();
  }

  /** SHA-256 of its outputs on fixed inputs: what `oaq verify` prints too. */
  get signature() {
    return this.#manifest.signature.sha256;
  }

  /** SHA-256 of the certificate that it was proved by. */
  get certificate() {
    return this.#manifest.certificate;
  }

  get inputs() {
    return this.#session.inputs;
  }

  get outputs() {
    return this.#session.outputs;
  }

  /** Names of classes, in order of the first output; empty where the file names none. */
  get labels() {
    return this.#manifest.labels;
  }

  /** How a photo becomes the input: { size, resize, fit, tables }; null where the file does not say. */
  get photo() {
    return this.#manifest.photo;
  }

  /** What is proved of every layer of the chosen plan, in order of execution. */
  get layers() {
    return this.#manifest.plans[this.build].layers;
  }

  /**
   * Run one sample.
   * @param {Uint8Array | Uint8ClampedArray | ImageData | (Uint8Array | ImageData)[]} input integers, channels last; or a
   *   photo of just the right size; an array of these where there are several inputs
   * @returns {Uint8Array[]} integers of each output
   */
  run(input) {
    const inputs = Array.isArray(input) ? input : [input];
    return this.#session.run(inputs.map((values) => (isImage(values) ? this.integers(values) : values)));
  }

  #neededPhoto(advice = "") {
    const { photo } = this.#manifest;
    if (!photo) throw new OaqError(`${this.name}: its file does not say how a photo becomes integers${advice}`, "photo");
    return photo;
  }

  /** The input's integers for a photo of the right size. */
  integers(image) {
    const photo = this.#neededPhoto("; give a Uint8Array"), [height, width] = photo.size;
    if (image.width !== width || image.height !== height)
      throw new OaqError(
        `${this.name}: the photo has ${image.width} x ${image.height} pixels, the network wants ${width} x ${height}; ` +
          "net.prepare(image) scales and crops one", "photo");
    const channels = photo.tables.length, result = new Uint8Array(width * height * channels), { data } = image;
    for (let pixel = 0, to = 0; pixel < width * height; ++pixel)
      for (let channel = 0; channel < channels; ++channel)
        result[to++] = photo.tables[channel][data[4 * pixel + channel]];
    return result;
  }

  /**
   * Scale and crop a picture to what the network wants. Browsers scale each in their own way, so these pixels are not
   * those of another program; what is computed from them is.
   * @param {CanvasImageSource} source
   * @returns {ImageData}
   */
  prepare(source) {
    const photo = this.#neededPhoto(), [height, width] = photo.size;
    const canvas = typeof OffscreenCanvas === "function" ? new OffscreenCanvas(width, height)
      : Object.assign(document.createElement("canvas"), { width, height });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.imageSmoothingQuality = "high";
    context.drawImage(source, ...placement(photo, sizeOf(source), [width, height]));
    return context.getImageData(0, 0, width, height);
  }

  /** Real values of an output's integers. */
  reals(integers, output = 0) {
    const { scale, zeroPoint } = this.outputs[output];
    return Float32Array.from(integers, (value) => scale * (value - zeroPoint));
  }

  /**
   * The likeliest classes of a photo.
   * @param {Uint8Array | ImageData} input
   * @param {number} [count]
   * @returns {{ label: string, index: number, score: number, probability: number }[]} largest first
   */
  classify(input, count = 5) {
    const scores = this.reals(this.run(input)[0]);
    const most = scores.reduce((a, b) => Math.max(a, b), -Infinity);
    const total = scores.reduce((sum, score) => sum + Math.exp(score - most), 0);
    return Array.from(scores, (score, index) => ({ index, score }))
      .sort((a, b) => b.score - a.score || a.index - b.index)
      .slice(0, count)
      .map(({ index, score }) => ({
        label: this.labels[index] ?? `class ${index}`, index, score, probability: Math.exp(score - most) / total,
      }));
  }

  /**
   * The objects of a photo, of a file whose task is "detect".
   * @param {Uint8Array | ImageData} input
   * @param {CanvasImageSource} [picture] that `prepare` made the input of: boxes are in its pixels then, and otherwise
   *   shares of the input
   * @param {number} [least] score; that of the file from which on boxes are drawn if it is left out
   * @returns {{ label: string, index: number, score: number, box: [number, number, number, number] }[]} the surest
   *   first; a box is left, top, right, bottom
   */
  detect(input, picture, least) {
    const task = this.#manifest.detect;
    if (!task) throw new OaqError(`${this.name}: its file does not say where boxes lie in the outputs`, "bad-argument");
    const outputs = this.run(input).map((integers, i) => ({ ...this.outputs[i], integers }));
    const place = picture ? seenPart(this.#neededPhoto("; leave the picture out"), sizeOf(picture)) : null;
    return decodeBoxes(task, outputs).filter(({ score }) => score >= (least ?? task.decoder.visible))
      .map(({ index, score, box }) => ({
        label: this.labels[index] || `class ${index}`, index, score, box: place ? onPicture(box, place, sizeOf(picture)) : box,
      }));
  }

  /** What the network is for: "classify", "detect", ...; null where the file does not say. */
  get task() {
    return this.#manifest.task ?? null;
  }

  /** Milliseconds of each layer in the last run, in the order of `layers`. */
  profile() {
    return this.#session.profile();
  }

  /** The signature that this engine computes. */
  measure() {
    const outputs = this.outputs.map(() => []), start = { at: 0 };
    const samples = this.#manifest.signature.samples;
    const inputs = this.inputs.map((tensor) =>
      Array.from({ length: samples }, () => {
        const values = this.#session.fixed(tensor, start.at);
        start.at += tensor.bytes;
        return values;
      }));
    for (let sample = 0; sample < samples; ++sample)
      this.#session.run(inputs.map((values) => values[sample])).forEach((values, i) => outputs[i].push(values));
    const encoder = new TextEncoder();
    return sha256(...this.outputs.flatMap(({ name, shape }, i) => [
      encoder.encode(`${name}\n(${[samples, ...shape].join(", ")})\n`), ...outputs[i]]));
  }

  /** Compare the signature with what this engine computes; throws where they differ. */
  check() {
    const computed = this.measure();
    if (computed !== this.signature)
      throw new OaqError(
        `${this.name}: this engine computes the signature ${computed.slice(0, 16)}..., the file has ` +
          `${this.signature.slice(0, 16)}...: the files do not belong together, or the engine computes other integers. ` +
          "Write the folder again with oaq export --web", "signature");
  }
}

function isImage(value) {
  return typeof value === "object" && value !== null && "data" in value && "width" in value && "height" in value;
}

// Arguments of drawImage: the part of the picture that the network sees, on the whole canvas.
function placement(photo, [fromWidth, fromHeight], [width, height]) {
  if (photo.fit === "stretch") return [0, 0, fromWidth, fromHeight, 0, 0, width, height];
  if (photo.fit === "pad") {
    const scale = Math.min(width / fromWidth, height / fromHeight);
    const size = [fromWidth, fromHeight].map((side) => Math.max(Math.round(side * scale), 1));
    return [0, 0, fromWidth, fromHeight, Math.floor((width - size[0]) / 2), Math.floor((height - size[1]) / 2), ...size];
  }
  // The shorter side becomes `resize` pixels, of which the middle is taken; without it, as much as fits.
  const scale = photo.resize ? photo.resize / Math.min(fromWidth, fromHeight)
    : Math.max(width / fromWidth, height / fromHeight);
  const size = [Math.min(width / scale, fromWidth), Math.min(height / scale, fromHeight)];
  return [(fromWidth - size[0]) / 2, (fromHeight - size[1]) / 2, ...size, 0, 0, width, height];
}

function sizeOf(source) {
  const size = [source.naturalWidth || source.videoWidth || source.displayWidth || source.width,
    source.naturalHeight || source.videoHeight || source.displayHeight || source.height];
  if (!size.every((side) => side > 0)) throw new OaqError("the picture has no pixels; wait until it is loaded", "photo");
  return size;
}

// The rectangle of a picture that the whole input shows: x, y, width, height in its pixels. It may reach beyond it.
function seenPart({ size, ...photo }, from) {
  const [height, width] = size, part = placement(photo, from, [width, height]);
  const scale = [part[2] / part[6], part[3] / part[7]];
  return [part[0] - part[4] * scale[0], part[1] - part[5] * scale[1], width * scale[0], height * scale[1]];
}

const onPicture = (box, [x, y, width, height], size) =>
  box.map((share, i) => Math.min(Math.max((i % 2 ? y : x) + share * (i % 2 ? height : width), 0), size[i % 2]));

function chooseBuild(manifest, wanted, place) {
  const written = Object.keys(manifest.plans), here = builds();
  if (!here.length)
    throw new OaqError("this engine has no SIMD in WebAssembly; Chrome 91, Firefox 89, Safari 16.4 or newer have it", "engine");
  if (wanted !== undefined && !here.includes(wanted))
    throw new OaqError(`this engine does not run the build ${wanted}; it runs ${here.join(", ")}`, "engine");
  if (wanted !== undefined && !written.includes(wanted))
    throw new OaqError(`${place}: there is no plan for ${wanted}; there are ${written.join(", ")}`, "engine");
  const build = wanted ?? here.find((name) => written.includes(name));
  if (!build) throw new OaqError(`${place}: has plans for ${written.join(", ")}; this engine runs ${here.join(", ")}`, "engine");
  return build;
}

function readManifest(bytes, place) {
  const refuse = (what) => {
    throw new OaqError(`${place}: ${what}. Write it with oaq export --web`, "damaged");
  };
  let manifest;
  try {
    manifest = JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    refuse("this is not JSON");
  }
  if (manifest?.format !== FORMAT) refuse(`this is no network of the format "${FORMAT}"`);
  const { plans, signature, certificate } = manifest;
  if (!plans || !Object.keys(plans).length) refuse("it names no plan");
  const isCount = Number.isInteger(signature?.samples) && signature.samples >= 1 && signature.samples <= MOST_SAMPLES;
  if (!HEX.test(certificate) || !HEX.test(signature?.sha256) || !isCount)
    refuse("its certificate or its signature is missing");
  for (const [build, plan] of Object.entries(plans))
    if (typeof plan.file !== "string" || !HEX.test(plan.sha256) || !Array.isArray(plan.layers))
      refuse(`its plan ${build} is incomplete`);
  const photo = manifest.photo ?? null;
  if (photo && !(photo.size?.length === 2 && photo.tables?.every((table) => table.length === 256)))
    refuse("what it says of photos is incomplete");
  if (manifest.detect && !isBoxes(manifest.detect)) refuse("what it says of boxes is incomplete");
  return { ...manifest, labels: manifest.labels ?? [], photo };
}
