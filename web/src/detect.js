// From the integers of a detector's outputs to boxes: what oaq.tasks.detect computes, in float64.
import { OaqError } from "./runtime.js";

const LARGEST = 1e30, LARGEST_EXPONENT = 60;

const isList = (values, isRight) => Array.isArray(values) && values.length > 0 && values.every(isRight);
const isCount = (value) => Number.isInteger(value) && value >= 1;
const isPart = (part) => typeof part?.output === "string" && Number.isInteger(part.first) && Number.isInteger(part.last);
const isGrid = (grid) => isCount(grid?.rows) && isCount(grid.columns) && isList(grid.sizes, (size) => size?.length === 2);
const isHead = (head) => isPart(head?.boxes) && isPart(head.scores) && isList(head.grids, isGrid);
const isEdge = (edge) => Array.isArray(edge?.sizes) && edge.sizes.every(isCount) && Array.isArray(edge.axes) &&
  edge.axes.flat().length === edge.sizes.length && edge.sizes.every((_, axis) => edge.axes.flat().includes(axis));

/** Whether a file's `detect` is whole: what `oaq export --web` writes, and `decodeBoxes` reads. */
export const isBoxes = (task) => isList(task?.decoder?.heads, isHead) && isList(task.edges, isEdge) &&
  task.decoder.scales?.length === 4 && task.decoder.bins >= 0 && isCount(task.decoder.most);

/**
 * Objects of one sample, the surest first; boxes as shares of the network's input.
 * @param {object} task `detect` of the file: { decoder, edges }
 * @param {{ integers: Uint8Array, scale: number, zeroPoint: number }[]} outputs of the network
 * @returns {{ index: number, score: number, box: [number, number, number, number] }[]} left, top, right, bottom
 */
export function decodeBoxes({ decoder, edges }, outputs) {
  const boxes = [], scores = [], width = 4 * Math.max(decoder.bins, 1);
  for (const head of decoder.heads) {
    const count = head.grids.reduce((sum, { rows, columns, sizes }) => sum + rows * columns * sizes.length, 0);
    const [codes, likely] = [head.boxes, head.scores].map((part) => numbers(part, edges, outputs, count));
    if (codes[0].length !== width)
      throw new OaqError(`detect: ${head.boxes.output} holds ${codes[0].length} numbers per box, not ${width}`, "damaged");
    const { places, cells } = anchors(head.grids);
    codes.forEach((code, i) => boxes.push(decoder.coder === "center_size"
      ? centreSize(code, places[i], decoder.scales) : distances(code, places[i], cells[i], decoder.bins)));
    for (const row of likely) scores.push(activated(row, decoder.activation));
  }
  return pick(decoder, boxes, scores);
}

// Numbers by anchor of an output, in the order that the file's own outputs have.
function numbers({ output: name, first, last, channels_last: channelsLast }, edges, outputs, count) {
  const edge = name ? edges.find((other) => other.name === name) : edges[0];
  if (!edge) throw new OaqError(`detect: the network has no output ${name}`, "damaged");
  const { integers = [], scale, zeroPoint } = outputs[edge.output] ?? {}, size = edge.sizes.reduce((a, b) => a * b, 1);
  if (integers.length !== size)
    throw new OaqError(`detect: ${edge.name} holds ${integers.length} numbers, not ${edge.sizes.join(" x ")}`, "damaged");
  const order = edge.axes.flat(), channels = edge.axes.length ? edge.axes[0].reduce((n, axis) => n * edge.sizes[axis], 1) : 1;
  const y = permuted(Float64Array.from(integers, (q) => clip(Math.fround(scale * (q - zeroPoint)), -LARGEST, LARGEST)), edge.sizes, order);
  if (y.length % count)
    throw new OaqError(`detect: ${edge.name} holds ${y.length} numbers, which ${count} anchors do not share`, "damaged");
  const places = y.length / channels, width = y.length / count;
  const at = channelsLast ? (i) => y[i] : (i) => y[(i % channels) * places + Math.floor(i / channels)];
  return Array.from({ length: count }, (_, anchor) =>
    Array.from({ length: width }, (_, i) => at(anchor * width + i)).slice(first, last || undefined));
}

// Numbers of an array of `sizes` in another order of its axes.
function permuted(values, sizes, order) {
  if (order.every((axis, i) => axis === i)) return values;
  const strides = sizes.map((_, axis) => sizes.slice(axis + 1).reduce((a, b) => a * b, 1));
  const result = new Float64Array(values.length), index = new Array(order.length).fill(0);
  for (let to = 0, from = 0; to < values.length; ++to) {
    result[to] = values[from];
    for (let i = order.length - 1; i >= 0; --i) {
      from += strides[order[i]];
      if (++index[i] < sizes[order[i]]) break;
      from -= index[i] * strides[order[i]];
      index[i] = 0;
    }
  }
  return result;
}

function anchors(grids) {
  const places = [], cells = [];
  for (const { rows, columns, sizes } of grids)
    for (let row = 0; row < rows; ++row)
      for (let column = 0; column < columns; ++column)
        for (const [height, width] of sizes) {
          places.push({ y: (row + 0.5) / rows, x: (column + 0.5) / columns, height, width });
          cells.push([1 / columns, 1 / rows]);
        }
  return { places, cells };
}

function centreSize(code, { y, x, height, width }, scales) {
  const [dy, dx, h, w] = code.map((value, i) => value / scales[i]);
  const middle = [x + dx * width, y + dy * height];
  const half = [w, h].map((value, i) => 0.5 * [width, height][i] * Math.exp(clip(value, -LARGEST_EXPONENT, LARGEST_EXPONENT)));
  return [middle[0] - half[0], middle[1] - half[1], middle[0] + half[0], middle[1] + half[1]];
}

function distances(code, { y, x }, [width, height], bins) {
  const sides = bins ? [0, 1, 2, 3].map((side) =>
    softmax(code.slice(side * bins, (side + 1) * bins)).reduce((sum, share, i) => sum + share * i, 0)) : code;
  return [x - sides[0] * width, y - sides[1] * height, x + sides[2] * width, y + sides[3] * height];
}

function activated(row, activation) {
  if (activation === "softmax") return softmax(row);
  if (activation === "sigmoid") return row.map((value) => 1 / (1 + Math.exp(-clip(value, -LARGEST_EXPONENT, LARGEST_EXPONENT))));
  return row;
}

function softmax(row) {
  const most = row.reduce((a, b) => Math.max(a, b), -Infinity), powers = row.map((value) => Math.exp(value - most));
  const total = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / total);
}

function pick(decoder, boxes, scores) {
  const valid = boxes.flatMap((box, i) => (box.some(Number.isNaN) ? [] : [i]));
  const cut = new Map(valid.map((i) => [i, boxes[i].map((value) => clip(value, 0, 1))]));
  const picked = [], classes = scores[0]?.length ?? 0;
  for (let index = 0; index < classes; ++index) {
    if (index === decoder.background) continue;
    const likely = valid.filter((i) => scores[i][index] >= decoder.score)
      .map((i) => ({ index, score: scores[i][index], box: cut.get(i) }));
    picked.push(...suppressed(likely, decoder.overlap, decoder.most));
  }
  return picked.sort((a, b) => b.score - a.score).slice(0, decoder.most);
}

// The surest, without those that overlap a surer one by more than `overlap`.
function suppressed(objects, overlap, most) {
  let pending = objects.sort((a, b) => b.score - a.score);
  const picked = [];
  while (pending.length && picked.length < most) {
    const [first, ...others] = pending;
    picked.push(first);
    pending = others.filter(({ box }) => shared(first.box, box) <= overlap);
  }
  return picked;
}

// Intersection over union; 0 for boxes without area.
function shared(a, b) {
  const side = (i) => Math.max(Math.min(a[i + 2], b[i + 2]) - Math.max(a[i], b[i]), 0);
  const area = (box) => Math.max(box[2] - box[0], 0) * Math.max(box[3] - box[1], 0);
  const common = side(0) * side(1), union = area(a) + area(b) - common;
  return union > 0 ? common / union : 0;
}

const clip = (value, lo, hi) => Math.min(Math.max(value, lo), hi);
