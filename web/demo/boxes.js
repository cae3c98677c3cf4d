// Frames around what a detector found, on a canvas that lies on the photo.

/** A colour of a class; neighbours differ. */
export const colour = (index) => `hsl(${(index * 137.5) % 360} 75% 45%)`;

/** Draw over a picture, in its own pixels. */
export function drawBoxes(canvas, picture, objects) {
  const width = picture.naturalWidth || picture.width, height = picture.naturalHeight || picture.height;
  Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d"), unit = Math.max(width, height) / 100;
  context.lineWidth = Math.max(unit * 0.5, 1);
  context.font = `600 ${Math.max(unit * 2.6, 9)}px system-ui, "Liberation Sans", sans-serif`;
  context.textBaseline = "top";
  for (const { box: [left, top, right, bottom], index } of [...objects].reverse()) {
    context.strokeStyle = colour(index);
    context.strokeRect(left, top, right - left, bottom - top);
  }
  const high = Math.max(unit * 3.6, 13), taken = [];
  for (const { box, label, score, index } of objects) {
    const text = `${label} ${(100 * score).toFixed(0)} %`;
    const wide = Math.min(context.measureText(text).width + unit * 1.2, width);
    const [x, y] = placeOf(box, [wide, high], [width, height], taken);
    taken.push([x, y, x + wide, y + high]);
    context.fillStyle = colour(index);
    context.fillRect(x, y, wide, high);
    context.fillStyle = "#fff";
    context.fillText(text, x + unit * 0.6, y + unit * 0.5, wide - unit);
  }
}

/**
 * Where a label stands: above its box, inside it, at its other corners, or further down, so that it hides none that is
 * there already. The surest come first and so have the best places.
 * @param {number[]} box left, top, right, bottom
 * @param {number[]} label width, height
 * @param {number[]} picture width, height
 * @param {number[][]} taken left, top, right, bottom of other labels
 * @returns {number[]} left, top
 */
export function placeOf([left, top, right, bottom], [wide, high], [width, height], taken) {
  const within = (value, most) => Math.min(Math.max(value, 0), Math.max(most, 0));
  const isFree = ([x, y]) => taken.every(([a, b, c, d]) => x >= c || a >= x + wide || y >= d || b >= y + high);
  const starts = [left, right - wide], lines = [top - high, top, bottom - high, bottom];
  for (let y = top + high; y + high < bottom; y += high) lines.push(y);
  const places = lines.filter((y) => y >= 0 && y + high <= height)
    .flatMap((y) => starts.map((x) => [within(x, width - wide), y]));
  return places.find(isFree) ?? places[0] ?? [within(left, width - wide), within(top, height - high)];
}
