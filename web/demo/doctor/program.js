// `oaq doctor`, the program itself, on CPython for WebAssembly: a file's bytes go in, its diagnosis comes out.
import { Python } from "../python/python.js";

const LIBRARY = "/usr/local/lib/python315.zip", OAQ = "/lib/oaq.zip", FOLDER = "/in";
const TOO_MUCH = "takes more memory than a page has here; oaq doctor on the command line may read it";
const CODE = `
import json
from pathlib import Path
from oaq.cli.model_file import open_diagnosed
from oaq.doctor import diagnose
from oaq.errors import OaqError
from oaq.escape import escape_message
from oaq.report.doctor import headlines
from oaq.report.html.doctor import render

def answer(path):
    try:
        model = open_diagnosed(Path(path))
        diagnosis = diagnose(
            model.opened.program, (), unsigned=model.unsigned, islands=model.islands, notes=model.imported.notes
        )
        return {"diagnosis": diagnosis.to_json(), "words": headlines(diagnosis, Path(path).name), "page": render(diagnosis)}
    except OaqError as error:
        return {"error": escape_message(str(error)).replace("${FOLDER}/", "")}
    except (MemoryError, RecursionError):
        return {"error": f"{Path(path).name}: ${TOO_MUCH}"}
`;

/** The doctor in this thread. */
export class Doctor {
  #files;
  #module;
  #python;

  /**
   * @param {WebAssembly.Module} module the interpreter
   * @param {Uint8Array} library its standard library and NumPy
   * @param {Uint8Array} oaq the program, and what reads ONNX and TFLite
   */
  constructor(module, library, oaq) {
    this.#module = module;
    this.#files = { [LIBRARY]: library, [OAQ]: oaq };
    this.#python = this.#start();
  }

  #start() {
    const python = new Python(this.#module, this.#files, [OAQ]);
    python.run(CODE);
    return python;
  }

  /**
   * Diagnose a file.
   * @param {string} name with its suffix, which says what kind of file it is
   * @param {Uint8Array} bytes
   * @returns {{ diagnosis: object, words: string[], page: string } | { error: string }} what `oaq doctor --json` prints
   *   besides the file's name, what it says in words, and its page
   */
  diagnose(name, bytes) {
    const path = `${FOLDER}/${name.replaceAll("/", "_")}`;
    try {
      this.#python ??= this.#start();
      this.#python.put(path, bytes);
      return JSON.parse(this.#python.run(`print(json.dumps(answer(${JSON.stringify(path)})))`));
    } catch (error) {
      this.#python = null;  // what failed inside has left it in no state to go on: the next file gets another
      // A RangeError: the engine's stack is used up, before Python counts that it calls itself too often.
      return { error: `${name}: ${error.cause instanceof RangeError ? TOO_MUCH : `could not be looked at: ${error.message}`}` };
    } finally {
      this.#python?.remove(path);
    }
  }
}

/** A module and the files beside it, from a folder that `python -m benchmarks.web.python` has filled. */
export async function fetchDoctor(folder, report = () => {}) {
  const [interpreter, library, oaq] = await Promise.all(
    ["python.wasm.gz", "library.zip", "oaq.zip"].map(async (name) => {
      const response = await fetch(new URL(name, folder));
      if (!response.ok) throw new Error(`${name}: the server answers ${response.status}; make web-demo writes it`);
      return counted(response, report);
    }));
  const plain = new Response(interpreter.body.pipeThrough(new DecompressionStream("gzip")),
    { headers: { "content-type": "application/wasm" } });
  const [module, ...files] = await Promise.all([
    WebAssembly.compileStreaming(plain), library.arrayBuffer(), oaq.arrayBuffer()]);
  return new Doctor(module, ...files.map((buffer) => new Uint8Array(buffer)));
}

// A response whose bytes are reported as they come.
function counted(response, report) {
  const meter = new TransformStream({
    transform(chunk, controller) {
      report(chunk.length);
      controller.enqueue(chunk);
    },
  });
  return new Response(response.body.pipeThrough(meter));
}
