// Fields of forms: a label above, a hint beneath.

import { button, element } from "./dom.js";
import { textElement } from "./shell.js";

let number = 0;

/** A field with its *label* above it and a *hint* beneath. */
export function labelled(label, field, { hint = "", isWide = false } = {}) {
  const id = `field-${(number += 1)}`;
  const named = field.matches("input, select, textarea") ? field : field.querySelector("input");
  named.id ||= id;
  const area = element("div", { class: isWide ? "form-field is-wide" : "form-field" });
  area.append(element("label", { for: named.id, class: "form-label" }, label), field);
  if (hint) {
    const said = element("p", { class: "hint", id: `${id}-hint` }, hint);
    named.setAttribute("aria-describedby", said.id);
    area.append(said);
  }
  return area;
}

/** A box to be ticked. */
export function tick(label, isChecked = false, hint = "") {
  const input = element("input", { type: "checkbox" });
  input.checked = isChecked;
  const area = element("label", { class: "tick" }, input, element("span", { class: "tick-text" }, label));
  if (hint) area.append(element("span", { class: "hint" }, hint));
  return { area, input };
}

/** A choice among [value, text]; the first one, if none is named. */
export function select(choices, value = choices[0]?.[0]) {
  const field = element("select", { class: "field" });
  for (const [one, text] of choices) field.append(textElement("option", { value: one }, text));
  field.value = value;
  return field;
}

/** One line of text; *choices* are proposed. */
export function line({ value = "", placeholder = "", type = "text", ...more } = {}, choices = null) {
  const field = element("input", { class: "field", type, placeholder, autocomplete: "off", dir: type === "text" ? "auto" : null, ...more });
  field.value = value;
  if (choices === null) return field;
  const list = element("datalist", { id: `list-${(number += 1)}` });
  field.setAttribute("list", list.id);
  field.choices = list;
  propose(field, choices);
  return field;
}

/** Propose *choices* in a field that has a list. */
export function propose(field, choices) {
  field.choices.replaceChildren(...choices.map((one) => element("option", { value: one })));
}

/** A list of texts, to which one adds by Enter: people, for instance. */
export function chips(given, { placeholder, choices = [], shown = (text) => text, changed = () => {} }) {
  let texts = [...given];
  const field = line({ placeholder }, choices);
  const list = element("span", { class: "chip-list" });
  const area = element("div", { class: "chips" }, list, field, field.choices);
  const draw = () => {
    list.replaceChildren(
      ...texts.map((text) => {
        const name = shown(text);
        const remove = button("×", { class: "quiet-button", "aria-label": `Remove ${name}` }, () => {
          texts = texts.filter((one) => one !== text);
          draw();
          changed();
          field.focus();
        });
        return element("span", { class: "chip" }, textElement("span", { dir: "auto" }, name), remove);
      }),
    );
  };
  const add = () => {
    const text = field.value.trim();
    field.value = "";
    if (!text || texts.includes(text)) return;
    texts.push(text);
    draw();
    changed();
  };
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    add();
  });
  field.addEventListener("change", add);
  draw();
  return { area, field, texts: () => (field.value.trim() ? [...texts, field.value.trim()] : texts) };
}

/** A form's part with a heading. */
export function part(title, ...children) {
  return element("section", { class: "card form-part" }, element("h2", {}, title), ...children);
}
