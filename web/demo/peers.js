// ONNX Runtime in the same tab, where it is installed beside the page: one thread, its CPU kernels.

let runtime = null;

async function load() {
  const ort = await import("./ort/ort.wasm.min.mjs");
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = new URL("./ort/", import.meta.url).href;
  return ort;
}

/** Open an ONNX file of the same network. `mean` and `std` are those that it was trained with. */
export async function openPeer(file, net, { mean, std }) {
  runtime ??= load();
  const ort = await runtime;
  const session = await ort.InferenceSession.create(new URL(file, document.baseURI).href, { executionProviders: ["wasm"] });
  const [height, width] = net.photo.size, [input] = session.inputNames, [output] = session.outputNames;
  let prepared = null;
  // Pixels become floats once per photo: that is no part of what is timed, as it is none of ours.
  const feed = (image) => {
    if (prepared?.image !== image) prepared = { image, tensor: new ort.Tensor("float32", planes(image), [1, 3, height, width]) };
    return { [input]: prepared.tensor };
  };
  const planes = ({ data }) => {
    const size = width * height, values = new Float32Array(3 * size);
    for (let pixel = 0; pixel < size; ++pixel)
      for (let c = 0; c < 3; ++c) values[c * size + pixel] = (data[4 * pixel + c] / 255 - mean[c]) / std[c];
    return values;
  };
  return { run: async (image) => (await session.run(feed(image)))[output].data };
}
