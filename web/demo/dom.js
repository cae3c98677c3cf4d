// What both tabs build their elements with.

export const at = (id) => document.getElementById(id);

export const make = (tag, fields = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), fields);
  element.append(...children);
  return element;
};

/** A line with a bar behind it: a name, a value, and which part of the width it is. */
export function bar(tag, name, value, part, ours) {
  const element = make(tag, { className: ours ? "bar ours" : "bar" }, make("span", { textContent: name, title: name }),
    make("b", { textContent: value }));
  element.style.setProperty("--part", part);
  return element;
}

/** A layer's line: a bar that takes a part of its width, with a mark where the register ends. */
export function layerLine({ name, title, part, mark, text, alarm = false }) {
  const gauge = make("i");
  gauge.style.setProperty("--part", part);
  gauge.style.setProperty("--mark", mark);
  return make("div", { className: alarm ? "layer alarm" : "layer", title: `${name}: ${title}` }, make("span", { textContent: name }), gauge,
    make("b", { textContent: text }));
}

/** A zone that takes files dropped on it, and opens the picker when it is clicked or entered. */
export function fileZone(zone, input, take) {
  zone.addEventListener("click", () => input.click());
  zone.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    input.click();
  });
  for (const name of ["dragover", "dragleave", "drop"])
    zone.addEventListener(name, (event) => {
      event.preventDefault();
      zone.classList.toggle("over", name === "dragover");
      if (name === "drop" && event.dataTransfer.files.length) take(event.dataTransfer.files[0]);
    });
  input.addEventListener("change", () => {
    if (input.files.length) take(input.files[0]);
    input.value = "";  // so that the same file can be chosen again
  });
}

/** Write to a line of status. */
export function say(line, text, alarm = false) {
  line.textContent = text;
  line.classList.toggle("alarm", alarm);
}
