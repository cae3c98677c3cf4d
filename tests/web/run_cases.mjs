// Runs plans in WebAssembly, one after another, in one process.
//
//   node run_cases.mjs BUILD.wasm           a line of standard input for each case, its fields between tabs:
//                                             plan, inputs, outputs (paths), batch
//                                           prints "ok", or "failed" and why
//   node run_cases.mjs BUILD.wasm --rows    names of the rows, a line each
import { readFileSync, writeFileSync } from "node:fs";
import { createInterface } from "node:readline";

import { Session, rowsOf } from "../../web/src/runtime.js";

const module = new WebAssembly.Module(readFileSync(process.argv[2]));
if (process.argv[3] === "--rows") {
  for (const row of rowsOf(module)) console.log(row);
} else {
  for await (const line of createInterface({ input: process.stdin })) {
    const [plan, inputs, outputs, batch] = line.split("\t");
    try {
      writeFileSync(outputs, run(readFileSync(plan), readFileSync(inputs), Number(batch)));
      console.log("ok");
    } catch (error) {
      console.log(`failed ${error.message}`);
    }
  }
}

// Inputs hold all samples of the first input, then those of the second; outputs likewise.
function run(plan, x, batch) {
  const session = new Session(module, plan);
  const bytes = session.inputs.reduce((sum, tensor) => sum + tensor.bytes, 0);
  if (x.length !== batch * bytes) throw new Error(`${x.length} bytes of inputs`);
  const results = session.outputs.map(() => []);
  for (let sample = 0; sample < batch; ++sample) {
    let begin = 0;
    const values = session.inputs.map((tensor) => {
      const at = begin + sample * tensor.bytes;
      begin += batch * tensor.bytes;
      return new Uint8Array(x.subarray(at, at + tensor.bytes));
    });
    session.run(values).forEach((y, i) => results[i].push(y));
  }
  return Buffer.concat(results.flat());
}
