// The labels of a queue: chosen among Phoenix's annotation configs or made here.

import { button, element } from "./dom.js";
import { labelled, line, select, tick } from "./fields.js";
import { textElement } from "./shell.js";

const KINDS = { CATEGORICAL: "one of several words", CONTINUOUS: "a number", FREEFORM: "a text" };
const NEW = "\u0000new";

export class LabelForm {
  #labels = [];

  /** *known*: the configs of Phoenix; *labels*: those of the queue. */
  constructor(known, labels, changed) {
    this.known = known;
    this.changed = changed;
    this.#labels = labels.map((label) => ({ ...label, isKnown: true }));
    this.list = element("ul", { class: "label-list" });
    this.choice = select([]);
    this.choice.addEventListener("change", () => this.#chosen());
    this.area = element("div", { class: "label-form" }, this.list, labelled("Add a label", this.choice));
    this.#draw();
  }

  /** The names of the labels. */
  names() {
    return this.#labels.map(({ name }) => name.trim()).filter(Boolean);
  }

  /** The labels as the API has them; throws an Error with a sentence where one is not complete. */
  given() {
    if (this.#labels.length === 0) throw new Error("Please add at least one label.");
    return this.#labels.map((label) => {
      const { name, required, multiple, isKnown } = label;
      if (!name.trim()) throw new Error("Please give each label a name.");
      if (isKnown) return { name, required, multiple };
      if (label.kind === "CATEGORICAL" && label.values.length < 2) {
        throw new Error(`Please give the label “${name}” at least two words to choose from.`);
      }
      const { kind, values, lower_bound, upper_bound, direction, description } = label;
      const own = { name: name.trim(), kind, required, multiple, direction, description: description || "" };
      if (kind === "CATEGORICAL") return { ...own, values };
      return kind === "CONTINUOUS" ? { ...own, lower_bound, upper_bound } : own;
    });
  }

  #chosen() {
    const { value } = this.choice;
    const label = this.known.find(({ name }) => name === value);
    if (label) this.#labels.push({ ...label, required: true, multiple: false, isKnown: true });
    else if (value === NEW) {
      this.#labels.push({
        name: "", kind: "CATEGORICAL", required: true, multiple: false, isKnown: false, description: "",
        values: [{ label: "good", score: 1 }, { label: "bad", score: 0 }],
        lower_bound: 1, upper_bound: 5, direction: "MAXIMIZE",
      });
    }
    this.#draw();
    const last = this.list.lastElementChild;
    (last?.querySelector('input[type="text"]') ?? last?.querySelector("input"))?.focus();
    this.changed();
  }

  #draw() {
    this.list.replaceChildren(...this.#labels.map((label, place) => this.#cardOf(label, place)));
    const used = new Set(this.names());
    const free = this.known.filter(({ name }) => !used.has(name));
    const options = [["", "Choose …"], [NEW, "A new label"], ...free.map(({ name, kind }) => [name, `${name} (${KINDS[kind]})`])];
    this.choice.replaceChildren(...options.map(([value, text]) => textElement("option", { value }, text)));
  }

  #cardOf(label, place) {
    const card = element("li", { class: "label-edit" });
    const head = element("div", { class: "label-edit-head" });
    if (label.isKnown) head.append(textElement("b", { dir: "auto" }, label.name), element("span", { class: "hint" }, KINDS[label.kind]));
    else card.append(this.#newFields(label));
    if (label.isKnown && label.values?.length) {
      card.append(textElement("p", { class: "hint", dir: "auto" }, label.values.map((one) => one.label).join(" · ")));
    }
    const required = tick("Required", label.required);
    required.input.addEventListener("change", () => (label.required = required.input.checked));
    head.append(required.area);
    if (label.kind === "CATEGORICAL") {
      const multiple = tick("Several may hold", label.multiple);
      multiple.input.addEventListener("change", () => (label.multiple = multiple.input.checked));
      head.append(multiple.area);
    }
    head.append(this.#buttons(place));
    card.prepend(head);
    return card;
  }

  #buttons(place) {
    const move = (step) => () => {
      const [label] = this.#labels.splice(place, 1);
      this.#labels.splice(place + step, 0, label);
      this.#draw();
    };
    const remove = () => {
      this.#labels.splice(place, 1);
      this.#draw();
      this.changed();
    };
    const { name } = this.#labels[place];
    const up = button("↑", { class: "quiet-button", "aria-label": `${name} further up`, disabled: place === 0 }, move(-1));
    const isLast = place === this.#labels.length - 1;
    const down = button("↓", { class: "quiet-button", "aria-label": `${name} further down`, disabled: isLast }, move(1));
    const away = button("Remove", { class: "quiet-button", "aria-label": `Remove ${name}` }, remove);
    return element("span", { class: "label-edit-buttons" }, up, down, away);
  }

  #newFields(label) {
    const name = line({ value: label.name, placeholder: "quality" });
    name.addEventListener("input", () => {
      label.name = name.value;
      this.changed();
    });
    const kind = select(Object.entries(KINDS), label.kind);
    kind.addEventListener("change", () => {
      label.kind = kind.value;
      label.multiple &&= label.kind === "CATEGORICAL";
      this.#draw();
    });
    const description = line({ value: label.description, placeholder: "What is asked; shown with the label" });
    description.addEventListener("input", () => (label.description = description.value));
    const area = element("div", { class: "form-grid" }, labelled("Name", name), labelled("Kind", kind));
    area.append(labelled("Explanation", description, { isWide: true }));
    if (label.kind === "CATEGORICAL") area.append(valuesField(label));
    if (label.kind === "CONTINUOUS") area.append(...boundFields(label));
    return area;
  }
}

function valuesField(label) {
  const field = element("textarea", { class: "field", rows: "3", dir: "auto" });
  field.value = label.values.map(({ label: text, score }) => (score === null ? text : `${text} = ${score}`)).join("\n");
  field.addEventListener("input", () => {
    label.values = field.value.split("\n").map((text) => text.trim()).filter(Boolean).map(valueOf);
  });
  const hint = "One word on each line, in the order of the keys 1 to 9; with “= number” for a score.";
  return labelled("Words to choose from", field, { hint, isWide: true });
}

function valueOf(text) {
  const found = /^(.*\S)\s*=\s*(-?\d+(?:\.\d+)?)$/.exec(text);
  return found ? { label: found[1], score: Number(found[2]) } : { label: text, score: null };
}

function boundFields(label) {
  return [["lower_bound", "Smallest"], ["upper_bound", "Largest"]].map(([key, text]) => {
    const field = line({ type: "number", value: label[key] ?? "", step: "any", placeholder: "no limit" });
    field.addEventListener("input", () => (label[key] = field.value === "" ? null : Number(field.value)));
    return labelled(text, field);
  });
}

