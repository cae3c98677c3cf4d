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
  for (const { box: [left, top, right, bottom], label, score, index } of [...objects].reverse()) {
    context.strokeStyle = context.fillStyle = colour(index);
    context.strokeRect(left, top, right - left, bottom - top);
    const text = `${label} ${(100 * score).toFixed(0)} %`, high = Math.max(unit * 3.6, 13);
    const wide = Math.min(context.measureText(text).width + unit * 1.2, width);
    const x = Math.min(Math.max(left, 0), width - wide), y = top >= high ? top - high : Math.max(top, 0);
    context.fillRect(x, y, wide, high);
    context.fillStyle = "#fff";
    context.fillText(text, x + unit * 0.6, y + unit * 0.5, wide - unit);
  }
}
