// Correcting the answer: its texts, JSON and tool arguments as fields, and what changed beneath.
// In comes conversation.answer, out comes {text, message} as the API has it, or null.

import { textOf } from "./conversation.js";
import { renderDiff } from "./diff.js";
import { button, element } from "./dom.js";
import { jsonProblem, layoutOf } from "./json_layout.js";
import { textElement } from "./shell.js";

const DIFF_WAIT_MS = 150;
const LINES_MAX = 24;
const AS_IT_IS = (text) => ({ shown: text, back: (typed) => typed });

export class Correction {
  #fields = [];
  #changed;

  /** *answer*: conversation.answer; *correction*: what was said before, or null. */
  constructor(answer, correction, { changed, removed }) {
    this.answer = answer;
    this.#changed = changed;
    this.area = element("section", { class: "correction", "aria-label": "Correct the answer" });
    this.area.append(element("h3", { class: "correction-title" }, "Correct the answer"));
    const words = "Write the answer as it should have been. The answer itself stays as it is.";
    this.area.append(element("p", { class: "hint" }, words));
    const before = correction?.message ?? answer.message;
    for (const editable of editables(answer)) this.#addField(editable, valueAt(before, editable));
    const remove = button("Remove the correction", { class: "quiet-button" }, removed);
    this.area.append(element("div", { class: "correction-buttons" }, remove));
  }

  #addField(editable, text) {
    const problem = element("p", { class: "problem", role: "alert" });
    const field = element("textarea", {
      class: editable.kind === "json" ? "field mono" : "field",
      dir: editable.kind === "json" ? "ltr" : "auto",
      spellcheck: editable.kind === "json" ? "false" : null,
      "aria-label": editable.label,
    });
    const layout = editable.kind === "json" ? layoutOf(editable.text) : AS_IT_IS(editable.text);
    const isLaidOut = layout.shown !== editable.text;
    field.value = isLaidOut ? layoutOf(text).shown : text;
    // A textarea turns \r\n into \n: the answer is compared as it would stand there.
    const original = asTyped(layout.shown);
    const diff = element("div", { class: "correction-diff" });
    const made = { editable, original, field, problem, diff, back: layout.back };
    let timer = null;
    const fit = () => (field.rows = Math.min(LINES_MAX, Math.max(4, field.value.split("\n").length + 1)));
    fit();
    field.addEventListener("input", () => {
      fit();
      this.#changed();
      clearTimeout(timer);
      timer = setTimeout(() => this.#drawDiff(made), DIFF_WAIT_MS);
    });
    this.#fields.push(made);
    const title = textElement("span", { class: "correction-label" }, editable.label);
    this.area.append(element("label", {}, title, field), problem, made.diff);
    this.#drawDiff(made);
  }

  #drawDiff({ editable, original, field, problem, diff }) {
    problem.textContent = problemOf(editable, original, field.value);
    field.setAttribute("aria-invalid", String(problem.textContent !== ""));
    // JSON that is no JSON yet would be compared as a whole, and all of it be new.
    const kind = problem.textContent ? "text" : editable.kind;
    if (field.value === original) diff.replaceChildren();
    else diff.replaceChildren(renderDiff(original, field.value, { kind }));
  }

  focus() {
    this.#fields[0]?.field.focus();
    this.area.scrollIntoView({ block: "nearest" });
  }

  /** Sentences about what does not fit. */
  wrong() {
    return this.#fields
      .map(({ editable, original, field }) => [editable.label, problemOf(editable, original, field.value)])
      .filter(([, problem]) => problem)
      .map(([label, problem]) => `${label}: ${problem}`);
  }

  /** The correction, or null when nothing differs from the answer. */
  given() {
    if (this.#fields.every(({ original, field }) => field.value === original)) return null;
    const message = structuredClone(this.answer.message ?? { role: "assistant", content: "" });
    for (const { editable, original, field, back } of this.#fields) {
      if (field.value !== original) put(message, editable.path, back(field.value));
    }
    return { text: textOf(message), message };
  }
}

/** Whether this answer can be corrected in the page. */
export function isCorrectable(answer) {
  return Boolean(answer) && !answer.truncated && editables(answer).length > 0;
}

function editables(answer) {
  if (answer.editable.length || answer.message) return answer.editable;
  // The model gave no answer: there may be one.
  return [{ path: ["content"], kind: "text", label: "Answer", text: "" }];
}

// What was recorded without being JSON is no fault of who corrects it.
function problemOf({ kind }, original, text) {
  return kind === "json" && text !== original ? jsonProblem(text) : "";
}

function valueAt(message, { path, text }) {
  let value = message;
  for (const step of path) value = value?.[step];
  return typeof value === "string" ? value : text;
}

function put(message, path, text) {
  let place = message;
  for (const step of path.slice(0, -1)) place = place[step];
  place[path.at(-1)] = text;
}

function asTyped(text) {
  return text.replaceAll(/\r\n?/g, "\n");
}
