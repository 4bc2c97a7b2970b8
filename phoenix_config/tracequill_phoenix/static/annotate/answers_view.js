// Answers as elements, for lists: what was said, by whom and when.

import { renderDiff } from "./diff.js";
import { element } from "./dom.js";
import { textElement } from "./shell.js";

/** One value as words. */
export function valueText(value) {
  if (!value) return "";
  if (value.label !== undefined) return value.label;
  if (value.labels) return value.labels.join(", ");
  if (typeof value.score === "number") return String(value.score);
  return value.text ?? "";
}

/** The values of an answer, each with its label's name and reason, in the order of *labels*. */
export function valuesOf(values, labels) {
  const list = element("ul", { class: "values" });
  const names = labels.map(({ name }) => name);
  // A label that the queue has no more comes last.
  const place = (name) => (names.indexOf(name) + 1 || names.length + 1);
  const given = Object.entries(values ?? {}).sort(([one], [other]) => place(one) - place(other));
  for (const [name, value] of given) {
    const entry = element("li", {}, textElement("span", { class: "value-name", dir: "auto" }, `${name}: `));
    entry.append(textElement("b", { dir: "auto" }, valueText(value)));
    if (value.explanation) entry.append(textElement("span", { class: "value-reason", dir: "auto" }, `Reason: ${value.explanation}`));
    list.append(entry);
  }
  return list;
}

/** A correction, as what changed. */
export function correctionOf(before, correction) {
  if (!correction) return null;
  const fold = element("details", { class: "fold" }, element("summary", {}, "Corrected answer"));
  const inside = element("div", { class: "fold-inside" });
  fold.append(inside);
  // The list has only the beginning of an answer: then there is nothing to compare with.
  const isWhole = before !== null && before.length < 300;
  fold.addEventListener("toggle", () => {
    if (inside.hasChildNodes()) return;
    inside.append(
      isWhole
        ? renderDiff(before, correction.text)
        : textElement("div", { class: "plain-text", dir: "auto" }, correction.diff || correction.text),
    );
  });
  return fold;
}

/** A time as people write it. */
export function timeOf(at) {
  if (!at) return element("span", {}, "–");
  return element("time", { datetime: at, class: "hint" }, new Date(at).toLocaleString());
}

/** Seconds as people say them. */
export function secondsText(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 90) return `${Math.round(seconds * 10) / 10} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 90 ? `${minutes} min` : `${Math.round(minutes / 6) / 10} h`;
}
