// Workers that share a network's memory: whether this page may have any, how many, and their start.

/** Pages of 64 KB that shared memory begins with, and those it may grow to: what the modules were linked for. */
const PAGES = { initial: 64, maximum: 16384 };
/** Threads of a network if nothing is asked for, at most: more gain little, and take CPUs from the page. */
const MOST_BY_DEFAULT = 4;
export const MOST_THREADS = 256;

/** Whether workers may share memory here: in Node, and in pages that are cross-origin isolated. */
export function canShare() {
  return typeof SharedArrayBuffer === "function" && globalThis.crossOriginIsolated !== false;
}

/** Threads that a network has if nothing is asked for: in an isolated page one for each CPU, four at most; else one. */
export function defaultThreads() {
  if (!globalThis.crossOriginIsolated || typeof Worker !== "function" || !canShare()) return 1;
  return Math.min(Math.max(globalThis.navigator?.hardwareConcurrency ?? 1, 1), MOST_BY_DEFAULT);
}

/** Memory for several threads; throws where the engine has no addresses left for it. */
export function sharedMemory() {
  return new WebAssembly.Memory({ ...PAGES, shared: true });
}

/**
 * Start a worker for each task and wait until they are inside the module, or about to enter it.
 * @param {object[]} tasks what worker.js is told
 * @returns {Promise<{ stop(): void }>}
 */
export async function startWorkers(tasks) {
  const url = new URL("./worker.js", import.meta.url), workers = [];
  const stop = () => workers.forEach((worker) => worker.terminate());
  const isNode = Boolean(globalThis.process?.versions?.node);
  const Kind = isNode ? (await import("node:worker_threads")).Worker : Worker;
  try {
    await Promise.all(tasks.map((task) => new Promise((resolve, reject) => {
      const worker = isNode ? new Kind(url) : new Kind(url, { type: "module" });
      workers.push(worker);
      const failed = (error) => reject(new Error(error?.message || "it cannot be loaded"));
      if (isNode) worker.once("message", resolve).once("error", failed);
      else Object.assign(worker, { onmessage: resolve, onerror: failed });
      worker.postMessage(task);
    })));
  } catch (error) {
    stop();
    throw error;
  }
  if (isNode) workers.forEach((worker) => worker.unref());
  return { stop };
}
