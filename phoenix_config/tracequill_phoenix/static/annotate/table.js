// A table that can be read by a screen reader and scrolled where it is narrow.

import { element } from "./dom.js";

/**
 * A table of *columns* (texts) and *rows* (lists of texts or elements); the first cell is a heading.
 * A column in brackets is named only to those who listen.
 */
export function table(label, columns, rows) {
  const head = element("tr", {}, ...columns.map(columnOf));
  const body = rows.map((cells) =>
    element("tr", {}, ...cells.map((cell, place) => (place ? element("td", {}, cell) : element("th", { scope: "row" }, cell)))),
  );
  const made = element("table", { class: "data" }, element("caption", { class: "off-screen" }, label));
  made.append(element("thead", {}, head), element("tbody", {}, ...body));
  return element("div", { class: "table-area", tabindex: "0", role: "region", "aria-label": label }, made);
}

function columnOf(text) {
  const said = /^\[(.*)\]$/.exec(text)?.[1];
  const name = said ? element("span", { class: "off-screen" }, said) : text;
  return element("th", { scope: "col" }, name);
}

/** A number with its name. */
export function figure(name, text, hint = "") {
  const made = element("div", { class: "figure" }, element("dt", {}, name), element("dd", {}, text));
  if (hint) made.append(element("dd", { class: "hint" }, hint));
  return made;
}
