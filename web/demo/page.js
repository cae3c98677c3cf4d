// The page: two tabs. Each begins when it is first shown.
import { at } from "./dom.js";
import { beginDoctor } from "./doctor/doctor.js";
import { beginPhotos } from "./photos.js";

const TABS = { photos: beginPhotos, doctor: beginDoctor };
const begun = new Set();

function show(name, focus = false) {
  for (const other of Object.keys(TABS)) {
    const tab = at(`tab-${other}`), chosen = other === name;
    tab.ariaSelected = String(chosen);
    tab.tabIndex = chosen ? 0 : -1;
    at(other).hidden = !chosen;
    if (chosen && focus) tab.focus();
  }
  history.replaceState(null, "", name === "photos" ? location.pathname : `#${name}`);
  if (begun.has(name)) return;
  begun.add(name);
  TABS[name]();
}

const named = () => (Object.hasOwn(TABS, location.hash.slice(1)) ? location.hash.slice(1) : "photos");
for (const name of Object.keys(TABS)) {
  at(`tab-${name}`).onclick = () => show(name);
  at(`tab-${name}`).onkeydown = ({ key }) => {
    const names = Object.keys(TABS), step = { ArrowRight: 1, ArrowLeft: -1 }[key];
    if (step) show(names.at((names.indexOf(name) + step) % names.length), true);
  };
}
addEventListener("hashchange", () => show(named()));
// A file that misses its zone does not replace the page.
for (const name of ["dragover", "drop"]) addEventListener(name, (event) => event.preventDefault());
show(named());
