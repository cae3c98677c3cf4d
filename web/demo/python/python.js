// CPython for WASI, in this thread: files go in, code runs, what it prints comes out. One interpreter, turn by turn.
import { Exit, System } from "./wasi.js";

const PROGRAM = "/usr/local/bin/python.wasm";

/** An interpreter. */
export class Python {
  #system;
  #wasm;

  /**
   * @param {WebAssembly.Module} module the interpreter
   * @param {Record<string, Uint8Array>} files by absolute path: the standard library first of all
   * @param {string[]} path folders and zip files to import from
   */
  constructor(module, files, path) {
    this.#system = new System([PROGRAM], { HOME: "/" });
    for (const [name, bytes] of Object.entries(files)) this.#system.put(name, bytes);
    const imports = { wasi_snapshot_preview1: this.#system.importsOf(module), host: { call: () => 0n } };
    this.#wasm = new WebAssembly.Instance(module, imports).exports;
    this.#system.attach(this.#wasm.memory);
    this.#wasm._initialize();
    this.run(`import sys; sys.path[:0] = ${JSON.stringify(path)}; sys.dont_write_bytecode = True`);
  }

  put(path, bytes) {
    this.#system.put(path, bytes);
  }

  remove(path) {
    this.#system.remove(path);
  }

  /**
   * Run code; names stay for the next turn.
   * @returns {string} what it printed
   * @throws an error whose `cause` is what Python returned, or what the engine threw: then the interpreter cannot go on
   */
  run(code) {
    const text = new TextEncoder().encode(code), at = this.#wasm.host_alloc(text.length) >>> 0;
    new Uint8Array(this.#wasm.memory.buffer, at, text.length).set(text);
    let status;
    try {
      status = this.#wasm.turn(at, text.length);
    } catch (error) {
      status = error instanceof Exit ? error.code : error;
    }
    const [said, complained] = [this.#system.take(1), this.#system.take(2)];
    if (status !== 0) throw new Error(`Python: ${status}: ${complained.trim().slice(-2000)}`, { cause: status });
    return said;
  }
}
