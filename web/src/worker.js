// A worker of a network of several threads. It enters the module, on the memory of the page's instance, and stays there.
import { instantiate } from "./runtime.js";

/**
 * @param {{ postMessage(message: unknown): void }} port to who started it
 * @param {{ module: WebAssembly.Module, memory: WebAssembly.Memory, thread: number, stack: number, locals: number,
 *   origin: number }} task `stack`: where it ends, from which it grows down; `origin`: of the page's clock
 */
function enter(port, { module, memory, thread, stack, locals, origin }) {
  const fail = (code, text) => {
    throw new Error(text);
  };
  const wasm = instantiate(module, fail, { memory, origin });
  wasm.__stack_pointer.value = stack;
  wasm.__wasm_init_tls(locals);
  port.postMessage("ready");
  try {
    wasm.oaq_web_serve(thread);
  } finally {
    wasm.oaq_web_break();
  }
}

if (globalThis.process?.versions?.node)
  import("node:worker_threads").then(({ parentPort }) => parentPort.once("message", (task) => enter(parentPort, task)));
else globalThis.addEventListener("message", ({ data }) => enter(globalThis, data), { once: true });
