// The doctor's tab: a file goes to the thread that runs `oaq doctor`; what it says becomes a verdict, a list of registers
// and a bar per layer.
import { at, fileZone, layerLine, make, say } from "../dom.js";

/** Whose registers they are, for people who do not know them by their names. */
const CPUS = {
  "avx2-acc32": "x86 with AVX2, before VNNI",
  "avx2-fbgemm": "x86 with AVX2, PyTorch's FBGEMM",
  "avx2-acc32x2": "x86 with AVX2, oaq's rows for dynamic layers",
  "avx2-acc16": "x86 with AVX2, 16-bit sums over a whole layer",
  avx512bw: "x86 with AVX-512, before VNNI",
  vnni: "x86 with VNNI, Arm with dot products",
  "neon-mlal-pair": "Arm before v8.2: Raspberry Pi 3 and 4",
  "neon-acc16": "Arm with NEON, 16-bit sums over a whole layer",
  "wasm-relaxed-i7": "browsers, relaxed SIMD",
};
const SIZE = 28e6;  // of what is loaded first, about, for the bar only

const state = { worker: null, ready: null, waiting: new Map(), id: 0, answer: null, name: "" };

/** Show the tab for the first time. */
export async function beginDoctor() {
  fileZone(at("model-drop"), at("model-file"), (file) => look(file.name, () => file.arrayBuffer()));
  at("save").onclick = save;
  startWorker();
  const demo = await (await fetch("demo.json")).json();
  at("model-samples").replaceChildren(...(demo.models ?? []).map(({ title, file }) =>
    make("button", { type: "button", textContent: title, onclick: () => look(file.split("/").at(-1), () => fetched(file)) })));
}

async function fetched(file) {
  const response = await fetch(file);
  if (!response.ok) throw new Error(`the server answers ${response.status}`);
  return response.arrayBuffer();
}

function startWorker() {
  const line = at("doctor-status"), progress = at("doctor-progress");
  say(line, "Loading Python, once ...");
  progress.hidden = false;
  state.ready = new Promise((resolve, reject) => {
    state.worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
    state.worker.onerror = (event) => reject(new Error(event.message || "this browser does not run it"));
    state.worker.onmessage = ({ data }) => {
      if (data.read) progress.value = Math.min(data.read / SIZE, 1);
      else if (data.ready) resolve();
      else if (data.failed) reject(new Error(data.failed));
      else {
        state.waiting.get(data.id)?.(data.answer);
        state.waiting.delete(data.id);
      }
    };
  });
  state.ready.then(() => {
    progress.hidden = true;
    performance.mark("oaq-doctor-ready");
    if (!state.id) say(line, "");  // else a file was chosen meanwhile, and the line says so
  }, (error) => {
    progress.hidden = true;
    say(line, cannotStart(error), true);
  });
}

const cannotStart = (error) => `The doctor cannot start here: ${error.message}`;

// `read` gives the file's bytes, or fails: it may be a folder, too large for the browser, or gone.
async function look(name, read) {
  const turn = ++state.id, line = at("doctor-status");
  state.name = name;
  say(line, `Looking at ${name} ...`);
  at("verdict").hidden = at("findings").hidden = true;
  const answer = await read().then((buffer) => diagnose(turn, name, new Uint8Array(buffer)),
    (error) => ({ error: `${name}: cannot be read: ${error.message}` }));
  if (turn !== state.id) return;  // another file was chosen meanwhile
  if (answer.error) return say(line, answer.error, true);
  state.answer = answer;
  say(line, "");
  show(answer);
}

async function diagnose(id, name, bytes) {
  try {
    await state.ready;
  } catch (error) {
    return { error: cannotStart(error) };
  }
  return new Promise((resolve) => {
    state.waiting.set(id, resolve);
    state.worker.postMessage({ id, name, bytes }, [bytes.buffer]);
  });
}

function show({ diagnosis, words }) {
  const { safe, layers, registers, deciding, islands } = diagnosis;
  at("verdict").className = safe ? "wide safe" : "wide unsafe";
  at("verdict-title").textContent = safe ? `${state.name}: safe` : `${state.name}: some input makes it overflow`;
  const unsafe = registers.filter((one) => deciding.includes(one.name) && !one.safe).length;
  const sums = `${layers.length} ${layers.length === 1 ? "layer sums" : "layers sum"} 8-bit products`;
  const inFloat = islands.length ? ` What stays in float was not looked at: ${islands.length} part${islands.length > 1 ? "s" : ""}.` : "";
  at("verdict-words").textContent = !layers.length ? `Nothing here sums 8-bit products.${inFloat}` : safe
    ? `${sums}; on the registers that runtimes use unasked, every one is proved for every input.${inFloat}`
    : `${sums}; ${unsafe} of ${deciding.length} kinds of registers that runtimes use unasked can be left.${inFloat}`;
  at("words").textContent = words.join("\n");
  at("registers").replaceChildren(...registers.map((one) => card(one, deciding.includes(one.name), layers.length)));
  const first = registers.find((one) => deciding.includes(one.name) && !one.safe) ?? registers[0];
  choose(first.name);
  at("verdict").hidden = false;
  at("verdict-title").focus();
}

function card(register, decides, total) {
  const proved = total - register.unsafe_layers;
  const button = make("button", { type: "button", role: "radio", className: register.safe ? "register" : "register alarm" },
    make("b", { textContent: CPUS[register.name] ?? register.name }),
    make("code", { textContent: register.name }),
    make("span", { textContent: register.safe ? `safe: ${proved} of ${total} layers` : `${register.unsafe_layers} of ${total} layers can overflow` }),
    make("small", { textContent: decides ? "used unasked" : "used where it is chosen" }));
  button.dataset.register = register.name;
  button.onclick = () => choose(register.name);
  button.onkeydown = ({ key }) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[key];
    if (!step) return;
    const cards = [...at("registers").children], next = cards.at((cards.indexOf(button) + step) % cards.length);
    choose(next.dataset.register);
    next.focus();
  };
  return button;
}

function choose(name) {
  for (const other of at("registers").children) {
    other.ariaChecked = String(other.dataset.register === name);
    other.tabIndex = other.dataset.register === name ? 0 : -1;
  }
  const { diagnosis } = state.answer, register = diagnosis.registers.find((one) => one.name === name);
  at("findings-title").textContent = `Layer by layer: ${CPUS[name] ?? name}`;
  at("findings-about").textContent = register.found_in;
  at("findings-layers").replaceChildren(...diagnosis.layers.map((layer) => line(layer, layer.verdicts[name])));
  at("findings").hidden = !diagnosis.layers.length;
}

/** Bits of the two's complement register that holds both ends. */
function bitsOf(lo, hi) {
  return 1 + Math.ceil(Math.log2(Math.max(hi + 1, -lo, 1)));
}

/** A layer may have more outputs than a function takes arguments. */
const largest = (values) => values.reduce((a, b) => Math.max(a, b));

function line(layer, verdict) {
  // Where only the 32 bits behind are left, those are the register that decides.
  const narrow = verdict.safe || verdict.why || verdict.lo.some((lo, i) => lo < verdict.register[0] || verdict.hi[i] > verdict.register[1]);
  const register = narrow ? verdict.register : [-(2 ** 31), 2 ** 31 - 1], { lo, hi } = narrow ? verdict : verdict.total;
  const used = largest(lo.map((least, i) => Math.max(least / register[0], hi[i] / register[1])));
  const bits = largest(lo.map((least, i) => bitsOf(least, hi[i]))), width = bitsOf(...register), at = verdict.worst_output;
  const count = `${verdict.unsafe_outputs.length} of ${layer.outputs}`;
  const text = verdict.safe ? `${width} bits, ${percent(used)} full` : verdict.why ? "undefined" : `${count}, ${bits} bits`;
  const title = `${layer.kind}, ${layer.terms} products an output. ${verdict.why ? `${verdict.why}.` :
    `Output ${at}: a register of ${width} bits can be asked to hold ${lo[at]} to ${hi[at]}.`}${verdict.note ? ` ${verdict.note}.` : ""}`;
  return layerLine({ name: layer.node, title, part: Math.min(used, 2) / 2, mark: 0.5, text, alarm: !verdict.safe });
}

const percent = (part) => (part < 0.01 ? "below 1 %" : `${Math.floor(100 * part)} %`);

function save() {
  const url = URL.createObjectURL(new Blob([state.answer.page], { type: "text/html" }));
  make("a", { href: url, download: `${state.name}.doctor.html` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
