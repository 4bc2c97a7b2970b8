// A table that can be read by a screen reader and scrolled where it is narrow.

import { element } from "./dom.js";

/** A table of *columns* (texts) and *rows* (lists of texts or elements); the first cell is a heading. */
export function table(label, columns, rows) {
  const head = element("tr", {}, ...columns.map((text) => element("th", { scope: "col" }, text)));
  const body = rows.map((cells) =>
    element("tr", {}, ...cells.map((cell, place) => (place ? element("td", {}, cell) : element("th", { scope: "row" }, cell)))),
  );
  const made = element("table", { class: "data" }, element("caption", { class: "off-screen" }, label));
  made.append(element("thead", {}, head), element("tbody", {}, ...body));
  return element("div", { class: "table-area", tabindex: "0", role: "region", "aria-label": label }, made);
}

/** A number with its name. */
export function figure(name, text, hint = "") {
  const made = element("div", { class: "figure" }, element("dt", {}, name), element("dd", {}, text));
  if (hint) made.append(element("dd", { class: "hint" }, hint));
  return made;
}
