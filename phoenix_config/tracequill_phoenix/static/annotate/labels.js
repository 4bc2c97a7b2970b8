// The labels of a question as fields. It holds what has been chosen (values, as the API has them) and
// which label the digits go to; what is done with it is the page's.

import { button, element, keyHint } from "./dom.js";
import { takesText } from "./keys.js";
import { say, textElement } from "./shell.js";

const SCALE_MAX = 9;

let numberOfCards = 0;

/** The numbers of a small scale, which digits choose; none for others. */
export function scaleOf({ kind, lower_bound: low, upper_bound: high }) {
  const isSmall = Number.isInteger(low) && Number.isInteger(high) && low >= 0 && high <= SCALE_MAX;
  if (kind !== "CONTINUOUS" || !isSmall || high - low < 2) return [];
  return Array.from({ length: high - low + 1 }, (_, place) => low + place);
}

/** Whether a value says something. */
export function isGiven(label, value) {
  if (!value) return false;
  if (label.kind === "CATEGORICAL") return label.multiple ? value.labels?.length > 0 : Boolean(value.label);
  if (label.kind === "CONTINUOUS") return typeof value.score === "number";
  return Boolean(value.text?.trim());
}

/** Whether it is chosen by digits; a text is written. */
function isPicked(label) {
  return label.kind !== "FREEFORM";
}

function wordsMissing({ kind }) {
  if (kind === "FREEFORM") return "Please write something here.";
  return "Please choose.";
}

export class Labels {
  #cards = [];
  // The label that was chosen last; whether the marked text has been written in.
  #last = -1;
  #wasInText = false;

  /** *events*: changed(), picked(label): a label was chosen by one digit or click; hasArrows: whether
   * the page takes the arrows, which a text then says. */
  constructor(labels, events) {
    this.labels = labels;
    this.events = events;
    this.values = {};
    this.active = 0;
    this.area = element("div", { class: "labels" });
    this.#cards = labels.map((label, place) => this.#cardOf(label, place));
    this.area.append(...this.#cards.map((card) => card.area));
  }

  /** Show *values*, those of another question. */
  show(values) {
    // A field that has the focus would keep what was typed for the question before.
    if (this.area.contains(document.activeElement)) document.activeElement.blur();
    this.values = structuredClone(values ?? {});
    for (const card of this.#cards) card.draw(this.values[card.label.name]);
    this.#last = -1;
    this.#wasInText = false;
    const open = this.#nextOpen(0);
    this.#setActive(open >= 0 ? open : Math.max(0, this.labels.findIndex(isPicked)), true);
    this.problems([]);
  }

  setDisabled(isDisabled) {
    this.area.inert = isDisabled;
    this.area.classList.toggle("is-off", isDisabled);
  }

  /** The required labels without a value, and whether a number is out of its bounds. */
  missing() {
    const open = this.labels.filter(
      (label) => label.required && !isGiven(label, this.values[label.name]),
    );
    return open.map((label) => label.name);
  }

  /** Sentences about what does not fit. */
  wrong() {
    return this.#cards.map((card) => card.wrong()).filter(Boolean);
  }

  /** What is sent: labels without a value are absent. */
  given() {
    const given = {};
    for (const label of this.labels) {
      const value = this.values[label.name];
      if (isGiven(label, value)) given[label.name] = value;
    }
    return given;
  }

  /** Mark the labels of these names, and go to the first. */
  problems(names) {
    for (const card of this.#cards) {
      const isMissing = names.includes(card.label.name);
      card.area.classList.toggle("is-missing", isMissing);
      card.problem.textContent = isMissing ? wordsMissing(card.label) : "";
    }
    const first = this.labels.findIndex((label) => names.includes(label.name));
    if (first < 0) return;
    this.#setActive(first, true);
    const focused = document.activeElement;
    if (this.#cards[first].text) this.#cards[first].text.focus();
    // Digits are to choose now, not to be typed.
    else if (this.area.contains(focused) && takesText(focused)) focused.blur();
  }

  /** A digit was pressed; whether a label took it. */
  digit(digit) {
    return this.#cards[this.#pickedPlace()]?.digit(digit) ?? false;
  }

  /** Go to the label after (1) or before (-1) this one. */
  move(step) {
    // Where the mark stands on a text from the start, the first arrow goes into it.
    const isEntered = !this.#cards[this.active]?.text || this.#wasInText;
    const wanted = isEntered ? this.active + step : this.active;
    const place = Math.min(this.labels.length - 1, Math.max(0, wanted));
    this.#setActive(place, true);
    const card = this.#cards[place];
    if (card.text) card.text.focus();
    const { name, description } = card.label;
    say(description ? `${name}: ${description}` : name);
  }

  /** Open the reason of the marked label, or of the one that was chosen last. */
  openReason() {
    const place = this.#pickedPlace();
    const label = this.labels[place];
    const hasValue = label && isGiven(label, this.values[label.name]);
    this.#cards[hasValue || this.#last < 0 ? place : this.#last]?.openReason();
  }

  /** Where digits go: never to a text, but to what was chosen last, or to the first that is chosen. */
  #pickedPlace() {
    if (this.labels[this.active] && isPicked(this.labels[this.active])) return this.active;
    return this.#last >= 0 ? this.#last : this.labels.findIndex(isPicked);
  }

  /** The first label from *start* on that is chosen and has no value yet; -1 where there is none. */
  #nextOpen(start) {
    const isOpen = (label) => isPicked(label) && !isGiven(label, this.values[label.name]);
    return this.labels.findIndex((label, place) => place >= start && isOpen(label));
  }

  #setActive(place, isSeen) {
    if (place !== this.active) this.#wasInText = false;
    this.active = place;
    this.#cards.forEach((card, at) => {
      card.area.classList.toggle("is-active", at === place);
      if (card.text && this.events.hasArrows) card.text.placeholder = `Press ${at < place ? "↑" : "↓"} to write`;
    });
    if (isSeen) this.#cards[place]?.area.scrollIntoView({ block: "nearest" });
  }

  #set(label, value) {
    const old = this.values[label.name];
    const reason = old?.explanation;
    if (value === null) delete this.values[label.name];
    else this.values[label.name] = reason ? { ...value, explanation: reason } : value;
    const card = this.#cards[this.labels.indexOf(label)];
    card.draw(this.values[label.name]);
    if (isGiven(label, this.values[label.name])) {
      card.area.classList.remove("is-missing");
      card.problem.textContent = "";
    }
    this.events.changed();
  }

  #picked(label) {
    const place = this.labels.indexOf(label);
    this.#last = place;
    const rest = this.#nextOpen(place + 1);
    this.#setActive(place, false);
    if (rest >= 0 && !label.multiple) this.#setActive(rest, true);
    this.events.picked(label);
  }

  #cardOf(label, place) {
    const area = element("div", { class: "label-card" });
    const id = `label-${(numberOfCards += 1)}`;
    const problem = element("p", { class: "problem", role: "alert", id: `${id}-problem` });
    area.append(textElement("span", { class: "label-name", dir: "auto" }, label.name));
    if (!label.required) area.append(element("span", { class: "label-optional", id: `${id}-optional` }, "optional"));
    if (label.description) {
      area.append(textElement("p", { class: "label-words", dir: "auto", id: `${id}-words` }, label.description));
    }
    const make = { CATEGORICAL: choiceField, CONTINUOUS: numberField, FREEFORM: textField }[label.kind];
    const set = (value) => this.#set(label, value);
    const field = make(label, { set, value: () => this.values[label.name], picked: () => this.#picked(label) });
    const reason = reasonField((text) => this.#setReason(label, text));
    area.append(field.area, problem);
    field.named.setAttribute("aria-describedby", `${id}-words ${id}-optional ${id}-problem`);
    if (label.kind !== "FREEFORM") area.append(reason.area);
    area.addEventListener("pointerdown", () => this.#setActive(place, false));
    area.addEventListener("focusin", () => {
      this.#setActive(place, false);
      this.#wasInText = true;
    });
    const draw = (value) => {
      field.draw(value);
      reason.draw(value?.explanation ?? "", isGiven(label, value));
    };
    const { digit, text = null, wrong = () => null } = field;
    return { label, area, problem, draw, digit, text, wrong, openReason: reason.open };
  }

  #setReason(label, text) {
    const value = this.values[label.name];
    if (!value) return;
    if (text.trim()) value.explanation = text;
    else delete value.explanation;
    this.events.changed();
  }
}

// --- the fields -------------------------------------------------------------------------------------

function choiceField(label, { set, value, picked }) {
  const role = label.multiple ? "group" : "radiogroup";
  const area = element("div", { class: "choices", role, "aria-label": label.name });
  const type = label.multiple ? "checkbox" : "radio";
  const inputs = label.values.map(({ label: text }, place) => {
    const input = element("input", { type, name: `label-${label.name}`, class: "choice-input" });
    const hint = place < 9 ? keyHint(String(place + 1)) : element("span", { class: "no-key" });
    const choice = element("label", { class: "choice" }, input, hint);
    choice.append(textElement("span", { class: "choice-text", dir: "auto" }, text));
    input.addEventListener("change", () => choose(text));
    area.append(choice);
    return [text, input];
  });
  const choose = (text) => {
    if (label.multiple) {
      const chosen = new Set(value()?.labels ?? []);
      if (!chosen.delete(text)) chosen.add(text);
      const order = label.values.map((one) => one.label).filter((one) => chosen.has(one));
      set(order.length ? { labels: order } : null);
    } else set({ label: text });
    const isChosen = label.multiple ? value()?.labels?.includes(text) : true;
    say(`${text}${isChosen ? "" : " removed"}`);
    picked();
  };
  const clear = button("Clear", { class: "quiet-button choice-clear" }, () => set(null));
  if (!label.required && !label.multiple) area.append(clear);
  return {
    area,
    named: area,
    draw: (shown) => {
      for (const [text, input] of inputs) {
        input.checked = label.multiple ? Boolean(shown?.labels?.includes(text)) : shown?.label === text;
      }
      clear.hidden = !shown?.label;
    },
    digit: (digit) => {
      const one = digit > 0 ? label.values[digit - 1] : undefined;
      if (one) choose(one.label);
      return Boolean(one);
    },
  };
}

function numberField(label, { set, value, picked }) {
  const { lower_bound: low, upper_bound: high } = label;
  const scale = scaleOf(label);
  const field = element("input", {
    class: "field number",
    type: "number",
    step: "any",
    inputmode: "decimal",
    min: low,
    max: high,
    "aria-label": label.name,
    placeholder: boundsText(low, high),
  });
  const give = (text) => {
    const number = text.trim() === "" ? NaN : Number(text);
    set(Number.isFinite(number) ? { score: number } : null);
  };
  let isTyping = false;
  field.addEventListener("input", () => {
    isTyping = true;
    give(field.value);
    isTyping = false;
  });
  const buttons = scale.map((number) =>
    button(String(number), { class: "scale-button", "aria-pressed": "false" }, () => {
      set({ score: number });
      picked();
    }),
  );
  const steps = element("div", { class: "scale", role: "group", "aria-label": label.name }, ...buttons);
  return {
    area: element("div", { class: "number-area" }, scale.length ? steps : field),
    named: scale.length ? steps : field,
    draw: (shown) => {
      if (!isTyping) field.value = shown?.score ?? "";
      buttons.forEach((one, place) => one.setAttribute("aria-pressed", String(shown?.score === scale[place])));
    },
    digit: (digit) => {
      if (scale.includes(digit)) {
        set({ score: digit });
        say(String(digit));
        picked();
      } else if (scale.length === 0) {
        field.value = String(digit);
        give(field.value);
        field.focus();
      }
      return scale.length === 0 || scale.includes(digit);
    },
    wrong: () => {
      if (field.validity.badInput) return `${label.name}: this is no number.`;
      const score = value()?.score;
      if (typeof score !== "number") return null;
      const isOut = (low !== null && score < low) || (high !== null && score > high);
      return isOut ? `${label.name}: please give a number ${boundsText(low, high)}.` : null;
    },
  };
}

function boundsText(low, high) {
  if (low !== null && high !== null) return `from ${low} to ${high}`;
  if (low !== null) return `of ${low} or more`;
  return high === null ? "a number" : `of ${high} or less`;
}

function textField(label, { set }) {
  const field = element("textarea", { class: "field", rows: "3", dir: "auto", "aria-label": label.name });
  let isTyping = false;
  field.addEventListener("input", () => {
    isTyping = true;
    set(field.value.trim() ? { text: field.value } : null);
    isTyping = false;
  });
  return {
    area: field,
    named: field,
    text: field,
    draw: (shown) => {
      if (!isTyping) field.value = shown?.text ?? "";
    },
    digit: () => false,
  };
}

function reasonField(set) {
  const field = element("textarea", { class: "field reason", rows: "2", dir: "auto", "aria-label": "Reason" });
  field.hidden = true;
  field.addEventListener("input", () => set(field.value));
  const open = () => {
    if (control.disabled) return;
    field.hidden = false;
    control.hidden = true;
    field.focus();
  };
  const control = button("Add a reason", { class: "quiet-button reason-button" }, open);
  return {
    area: element("div", { class: "reason-area" }, control, field),
    open,
    draw: (text, isGivenNow) => {
      control.disabled = !isGivenNow && !text;
      if (document.activeElement !== field) field.value = text;
      field.hidden = !text && document.activeElement !== field;
      control.hidden = !field.hidden;
    },
  };
}
