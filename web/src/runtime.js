// The native core in WebAssembly: which build this engine runs, one instance per network, functions of oaq.h.
import { canShare, sharedMemory, startWorkers } from "./workers.js";

/** Status codes of oaq.h. */
const CODES = { 1: "bad-argument", 2: "bad-plan", 3: "no-memory", 4: "no-threads" };
const MAX_RANK = 8;
/** Bytes of an oaq_tensor where addresses have 32 bits, and where its members begin. */
const TENSOR = { size: 60, name: 0, rank: 4, dims: 8, bytes: 40, scale: 44, zeroPoint: 48, lo: 52, hi: 56 };
const OPTIONS_SIZE = 8;
/** Bytes of a worker's stack, as many as the modules give their first thread. */
const STACK = 262144;

/** The builds, the quickest first. */
export const BUILDS = ["relaxed", "simd128"];

/** An error that says what, where, and what to do next. `code` is for programs. */
export class OaqError extends Error {
  constructor(message, code) {
    super(message);
    this.name = "OaqError";
    this.code = code;
  }
}

// Modules of one function each, whose one instruction an engine knows or not.
const PROBES = {
  // (func (result v128) (i16x8.relaxed_dot_i8x16_i7x16_s (i32x4.splat (i32.const 0)) (i32x4.splat (i32.const 0))))
  relaxed: [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 15, 1, 13, 0, 65, 0, 253, 17, 65, 0,
    253, 17, 253, 146, 2, 11],
  // (func (result v128) (i32x4.splat (i32.const 0)))
  simd128: [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 8, 1, 6, 0, 65, 0, 253, 17, 11],
};

/**
 * The module of a build for so many threads, and the session that runs `plan` in it.
 * @param {string} build
 * @param {number} threads
 * @param {(name: string) => unknown} place of a module, by the name of its file without its end
 * @param {() => Promise<Uint8Array>} plan
 */
export async function open(build, threads, place, plan) {
  if (threads === 1) {
    const [module, bytes] = await Promise.all([compile(place(build)), plan()]);
    return new Session(module, bytes);
  }
  if (!canShare())
    throw new OaqError(
      `${threads} threads need shared memory, which this page does not have: serve it with the headers ` +
        "Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp", "engine");
  const [module, bytes] = await Promise.all([compile(place(`${build}-threads`)), plan()]);
  return Session.ofThreads(module, bytes, threads);
}

/** Whether this engine runs a build: "relaxed" or "simd128". */
export function supports(build) {
  return build in PROBES && typeof WebAssembly === "object" && WebAssembly.validate(new Uint8Array(PROBES[build]));
}

/** The builds that this engine runs, the quickest first. */
export function builds() {
  return BUILDS.filter(supports);
}

/** A compiled module, once per build and place. */
const compiled = new Map();

/** Compile a build. `source`: bytes, or a URL to fetch; modules are kept by URL. */
export async function compile(source) {
  if (source instanceof ArrayBuffer || ArrayBuffer.isView(source)) return WebAssembly.compile(source);
  const key = String(source);
  if (!compiled.has(key)) {
    const made = fetchBytes(source).then((bytes) => WebAssembly.compile(bytes));
    compiled.set(key, made);
    made.catch(() => compiled.delete(key));
  }
  return compiled.get(key);
}

/** The bytes of a URL; of a file: URL too where there is Node. */
export async function fetchBytes(url) {
  const place = new URL(url, globalThis.document?.baseURI ?? import.meta.url);
  if (place.protocol === "file:" && globalThis.process?.versions?.node) {
    const { readFile } = await import("node:fs/promises");
    try {
      return await readFile(place);
    } catch (error) {
      throw new OaqError(`${place}: ${error.code === "ENOENT" ? "there is no such file" : error.message}`, "not-found");
    }
  }
  let response;
  try {
    response = await fetch(place);
  } catch (error) {
    throw new OaqError(`${place}: it cannot be fetched: ${error.message}`, "not-found");
  }
  if (!response.ok) throw new OaqError(`${place}: the server answers ${response.status}`, "not-found");
  return new Uint8Array(await response.arrayBuffer());
}

/** Ends the workers of sessions that nothing refers to any more. */
const forgotten = new FinalizationRegistry((workers) => workers.stop());

/** A network in an instance of its own. */
export class Session {
  #wasm;
  #session;
  #inputs;
  #outputs;
  #x = [];
  #y = [];
  #pointers;
  #failure = null;
  #workers = null;

  /**
   * Load a plan for several threads, which are workers.
   * @param {WebAssembly.Module} module a build for threads
   * @param {Uint8Array} plan its bytes, as `oaq export --web` or `oaq plan` writes them
   * @param {number} threads 2 or more
   */
  static async ofThreads(module, plan, threads) {
    let memory;
    try {
      memory = sharedMemory();
    } catch (error) {
      throw new OaqError(`there is no memory that ${threads} threads could share: ${error.message}`, "no-threads");
    }
    const session = new Session(module, plan, { threads, memory });
    try {
      session.#workers = await startWorkers(session.#tasks(module, memory, threads));
    } catch (error) {
      throw new OaqError(`no ${threads - 1} workers can be started: ${error.message}. Ask for one thread`, "no-threads");
    }
    forgotten.register(session, session.#workers, session);
    return session;
  }

  /**
   * Load a plan.
   * @param {WebAssembly.Module} module a build
   * @param {Uint8Array} plan its bytes, as `oaq export --web` or `oaq plan` writes them
   * @param {{ threads: number, memory?: WebAssembly.Memory }} [sharing] by `ofThreads` alone
   */
  constructor(module, plan, { threads, memory } = { threads: 1 }) {
    const fail = (code, text) => {
      this.#failure = new OaqError(text, CODES[code]);
      throw this.#failure;
    };
    this.#wasm = instantiate(module, fail, { memory });
    /** Threads that share the work. */
    this.threads = threads;
    const bytes = this.#allocate(plan.length);
    this.#memory().set(plan, bytes);
    const options = this.#allocate(OPTIONS_SIZE), place = this.#allocate(4);
    this.#view().setInt32(options, threads, true);
    this.#view().setUint32(options + 4, 0, true);
    this.#check(this.#wasm.oaq_load(bytes, plan.length, options, place));
    this.#session = this.#view().getUint32(place, true);
    for (const pointer of [bytes, options, place]) this.#wasm.free(pointer);
    this.#inputs = this.#tensors("input");
    this.#outputs = this.#tensors("output");
    this.#pointers = this.#allocate(4 * (this.#inputs.length + this.#outputs.length));
    this.#x = this.#inputs.map((tensor) => this.#allocate(tensor.bytes));
    this.#y = this.#outputs.map((tensor) => this.#allocate(tensor.bytes));
    [...this.#x, ...this.#y].forEach((at, i) => this.#view().setUint32(this.#pointers + 4 * i, at, true));
  }

  /** Inputs: name, shape (without the batch, channels last), scale, zeroPoint, lo, hi, bytes. */
  get inputs() {
    return this.#inputs;
  }

  /** Outputs, likewise. */
  get outputs() {
    return this.#outputs;
  }

  /**
   * Run one sample.
   * @param {Uint8Array[]} inputs integers of each input
   * @returns {Uint8Array[]} integers of each output
   */
  run(inputs) {
    if (this.#failure) throw new OaqError(`the network has failed before: ${this.#failure.message}`, "failed");
    if (inputs.length !== this.#inputs.length)
      throw new OaqError(`${inputs.length} inputs are given; the network has ${this.#inputs.length}`, "bad-argument");
    inputs.forEach((values, i) => {
      const { name, bytes, shape } = this.#inputs[i];
      if (!(values instanceof Uint8Array || values instanceof Uint8ClampedArray))
        throw new OaqError(`input ${name}: a Uint8Array of integers is needed`, "bad-argument");
      if (values.length !== bytes)
        throw new OaqError(
          `input ${name}: ${values.length} integers are given; ${shape.join(" x ")} are ${bytes}`, "bad-argument");
      this.#memory().set(values, this.#x[i]);
    });
    const outputs = this.#pointers + 4 * this.#inputs.length;
    this.#check(this.#wasm.oaq_run(this.#session, this.#pointers, outputs, 1));
    return this.#outputs.map(({ bytes }, i) => this.#memory().slice(this.#y[i], this.#y[i] + bytes));
  }

  /** Chunks of work that each thread has computed in all runs, the calling one first. */
  shares() {
    return Array.from({ length: this.threads }, (_, thread) => this.#wasm.oaq_web_chunks(thread));
  }

  /** End the workers; the network runs no more. */
  close() {
    forgotten.unregister(this);
    this.#workers?.stop();
    this.#workers = null;
    this.#failure ??= new OaqError("it was closed", "failed");
  }

  // What each worker is told. Its stack and its thread's own variables stay allocated as long as the memory does.
  #tasks(module, memory, threads) {
    const locals = this.#wasm.__tls_size.value;
    return Array.from({ length: threads - 1 }, (_, i) => ({
      module, memory, thread: i + 1, stack: (this.#allocate(STACK) + STACK) & ~15, locals: this.#allocate(locals + 16) + 15 & ~15,
      origin: performance.timeOrigin,
    }));
  }

  /** Milliseconds of each step in the last run. */
  profile() {
    const count = this.#wasm.oaq_web_profile(this.#session, 0, 0), at = this.#allocate(8 * count);
    this.#wasm.oaq_web_profile(this.#session, at, count);
    const times = Array.from({ length: count }, (_, i) => this.#view().getFloat64(at + 8 * i, true));
    this.#wasm.free(at);
    return times;
  }

  /** Fixed pseudo-random inputs of a signature: the integers of words `start` and on, for one input. */
  fixed(tensor, start) {
    const at = this.#allocate(tensor.bytes);
    this.#wasm.oaq_web_fill(at, tensor.bytes, start, tensor.lo, tensor.hi);
    const values = this.#memory().slice(at, at + tensor.bytes);
    this.#wasm.free(at);
    return values;
  }

  #tensors(kind) {
    const count = this.#wasm[`oaq_${kind}_count`](this.#session), at = this.#allocate(TENSOR.size), tensors = [];
    for (let i = 0; i < count; ++i) {
      this.#check(this.#wasm[`oaq_describe_${kind}`](this.#session, i, at));
      tensors.push(Object.freeze(readTensor(this.#view(), at)));
    }
    this.#wasm.free(at);
    return Object.freeze(tensors);
  }

  #check(status) {
    if (status) throw new OaqError(readText(this.#view(), this.#wasm.oaq_error()), CODES[status]);
  }

  #allocate(bytes) {
    const at = this.#wasm.malloc(Math.max(bytes, 1)) >>> 0;
    if (!at) throw new OaqError(`there is no memory for ${bytes} bytes more`, "no-memory");
    return at;
  }

  // Growing memory leaves older views empty, so none is kept.
  #memory() {
    return new Uint8Array(this.#wasm.memory.buffer);
  }

  #view() {
    return new DataView(this.#wasm.memory.buffer);
  }
}

/** Names of the kernel rows of a build. */
export function rowsOf(module) {
  const wasm = instantiate(module, (code, text) => {
    throw new OaqError(text, CODES[code]);
  });
  const room = 256, at = wasm.malloc(room) >>> 0;
  const count = wasm.oaq_web_row(0, at, 0);
  return Array.from({ length: count }, (_, i) => {
    wasm.oaq_web_row(i, at, room);
    return readText(new DataView(wasm.memory.buffer), at);
  });
}

/**
 * An instance of a build; its exports.
 * @param {WebAssembly.Module} module
 * @param {(code: number, text: string) => never} fail
 * @param {{ memory?: WebAssembly.Memory, origin?: number }} [shared] `memory`: of several threads; `origin`: of the clock
 *   that they share, given to workers alone
 */
export function instantiate(module, fail, { memory, origin } = {}) {
  let wasm = null;
  const shift = origin === undefined ? 0 : performance.timeOrigin - origin;
  const view = () => new DataView(wasm.memory.buffer);
  // What the C library wants of a system; of all that, only the clock is ever asked.
  const refused = 52;
  const system = {
    clock_time_get: (_id, _precision, to) => {
      view().setBigUint64(to, BigInt(Math.round((performance.now() + shift) * 1e6)), true);
      return 0;
    },
    fd_close: () => refused,
    fd_seek: () => refused,
    fd_write: () => refused,
    proc_exit: (code) => fail(1, `the module ended with code ${code}`),
  };
  const page = { fail: (code, text) => fail(code, readText(view(), text >>> 0)) };
  const imports = { oaq: page, wasi_snapshot_preview1: system, env: memory ? { memory } : {} };
  const { exports } = new WebAssembly.Instance(module, imports);
  wasm = memory ? { ...exports, memory } : exports;
  if (origin === undefined) wasm._initialize();
  return wasm;
}

function readTensor(view, at) {
  const rank = Math.min(view.getInt32(at + TENSOR.rank, true), MAX_RANK);
  return {
    name: readText(view, view.getUint32(at + TENSOR.name, true)),
    shape: Object.freeze(Array.from({ length: rank }, (_, i) => view.getInt32(at + TENSOR.dims + 4 * i, true))),
    bytes: view.getUint32(at + TENSOR.bytes, true),
    scale: view.getFloat32(at + TENSOR.scale, true),
    zeroPoint: view.getInt32(at + TENSOR.zeroPoint, true),
    lo: view.getInt32(at + TENSOR.lo, true),
    hi: view.getInt32(at + TENSOR.hi, true),
  };
}

function readText(view, at) {
  let end = at;
  while (view.getUint8(end)) ++end;
  return new TextDecoder().decode(new Uint8Array(view.buffer, at, end - at).slice());
}
