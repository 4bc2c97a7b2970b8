// Correcting the answer: its texts, JSON and tool arguments as fields, and what changed beneath.
// In comes conversation.answer, out comes {text, message} as the API has it, or null.

import { textOf } from "./conversation.js";
import { renderDiff } from "./diff.js";
import { button, element } from "./dom.js";
import { textElement } from "./shell.js";

const DIFF_WAIT_MS = 150;
const LINES_MAX = 24;

export class Correction {
  #fields = [];
  #timer = null;
  #changed;

  /** *answer*: conversation.answer; *correction*: what was said before, or null. */
  constructor(answer, correction, changed) {
    this.answer = answer;
    this.#changed = changed;
    this.area = element("section", { class: "correction", "aria-label": "Correct the answer" });
    this.area.append(element("h3", { class: "correction-title" }, "Correct the answer"));
    const words = "Write the answer as it should have been. The answer itself stays as it is.";
    this.area.append(element("p", { class: "hint" }, words));
    const before = correction?.message ?? answer.message;
    for (const editable of editables(answer)) this.#addField(editable, valueAt(before, editable));
    const remove = button("Remove the correction", { class: "quiet-button" }, () => this.reset());
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
    field.value = text;
    // A textarea turns \r\n into \n: the answer is compared as it would stand there.
    const original = asTyped(editable.text);
    const made = { editable, original, field, problem, diff: element("div", { class: "correction-diff" }) };
    const fit = () => (field.rows = Math.min(LINES_MAX, Math.max(4, field.value.split("\n").length + 1)));
    fit();
    field.addEventListener("input", () => {
      fit();
      this.#changed();
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#drawDiff(made), DIFF_WAIT_MS);
    });
    this.#fields.push(made);
    const title = textElement("span", { class: "correction-label" }, editable.label);
    this.area.append(element("label", {}, title, field), problem, made.diff);
    this.#drawDiff(made);
  }

  #drawDiff({ editable, original, field, problem, diff }) {
    problem.textContent = this.#problemOf(editable, field.value);
    if (field.value === original) diff.replaceChildren();
    else diff.replaceChildren(renderDiff(original, field.value, { kind: editable.kind }));
  }

  #problemOf(editable, text) {
    if (editable.kind !== "json" || text === asTyped(editable.text)) return "";
    try {
      JSON.parse(text);
      return "";
    } catch (error) {
      return `This is not valid JSON: ${error.message}`;
    }
  }

  focus() {
    this.#fields[0]?.field.focus();
    this.area.scrollIntoView({ block: "nearest" });
  }

  /** Sentences about what does not fit. */
  wrong() {
    return this.#fields
      .map(({ editable, field }) => this.#problemOf(editable, field.value))
      .filter(Boolean);
  }

  /** The correction, or null when nothing differs from the answer. */
  given() {
    if (this.#fields.every(({ original, field }) => field.value === original)) return null;
    const message = structuredClone(this.answer.message ?? { role: "assistant", content: "" });
    for (const { editable, original, field } of this.#fields) {
      if (field.value !== original) put(message, editable.path, field.value);
    }
    return { text: textOf(message), message };
  }

  reset() {
    for (const made of this.#fields) {
      made.field.value = made.original;
      this.#drawDiff(made);
    }
    this.#changed();
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
