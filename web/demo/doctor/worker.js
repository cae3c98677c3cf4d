// The doctor in a thread of its own, so that the page stays alive while it works. In: { id, name, bytes }. Out: { read }
// while it loads, { ready } or { failed }, then { id, answer }.
import { fetchDoctor } from "./program.js";

let read = 0, last = 0;
const loading = fetchDoctor(new URL("../python/", import.meta.url), (bytes) => {
  read += bytes;
  if (performance.now() - last < 100) return;
  last = performance.now();
  postMessage({ read });
});
loading.then(() => postMessage({ ready: true }), (error) => postMessage({ failed: error.message }));

onmessage = async ({ data: { id, name, bytes } }) => {
  const doctor = await loading.catch(() => null);
  if (doctor) postMessage({ id, answer: doctor.diagnose(name, bytes) });
};
