// The dialogs of the work page: help, and what can be undone.

import { button, element, keyHint } from "./dom.js";
import { digitOf } from "./keys.js";
import { dialog, textElement } from "./shell.js";

const KEYS = [
  ["1 … 9", "choose the label with this number; also on the number pad"],
  ["Enter", "save and go on (in a text: Ctrl+Enter)"],
  ["↓ ↑", "go to the label after or before; in a text, write"],
  ["← →", "the question before or after"],
  ["s", "skip: this question is not asked again"],
  ["f", "ask the manager about this question"],
  ["u", "undo what was done last; again for the one before, up to ten"],
  ["Shift u", "choose what to undo"],
  ["e", "correct the answer"],
  ["n", "add a reason to the label you chose"],
  ["i", "open or close how to judge"],
  ["Esc", "leave a text, close a dialog"],
  ["?", "this help"],
];

/** Show the keys. */
export function helpDialog(queue) {
  return dialog("Keys", (form, close) => {
    const list = element("dl", { class: "keys" });
    for (const [key, words] of KEYS) {
      list.append(element("dt", {}, element("kbd", {}, key)), element("dd", {}, words));
    }
    if (queue.advance_on_digit) {
      const words = "In this queue the digit of the last label saves and goes on by itself.";
      form.append(element("p", { class: "hint" }, words));
    }
    const words = "Everything can also be done with the mouse. Nothing you type in a text field is a key.";
    const done = button("Close", { class: "button primary", autofocus: true }, () => close());
    form.append(list, element("p", { class: "hint" }, words), element("div", { class: "dialog-buttons" }, done));
  });
}

const KINDS = { answer: "Answered", skip: "Skipped", flag: "Asked" };

/** Let one choose what to undo; gives the item's id or null. */
export function undoDialog(recent) {
  return dialog("Undo", (form, close) => {
    if (recent.length === 0) form.append(element("p", {}, "There is nothing to undo."));
    const list = element("ol", { class: "undo-list" });
    recent.forEach((one, place) => {
      const key = (place + 1) % 10;
      const choose = button("", { class: "undo-entry", autofocus: place === 0 }, () => close(one.item_id));
      choose.append(keyHint(String(key)));
      const what = one.summary ? `${KINDS[one.kind]}, ${one.summary}` : KINDS[one.kind];
      choose.append(textElement("b", { dir: "auto" }, what));
      choose.append(textElement("span", { dir: "auto", class: "undo-question" }, one.question));
      list.append(element("li", {}, choose));
    });
    form.addEventListener("keydown", (event) => {
      const digit = digitOf(event);
      if (digit === null || event.repeat) return;
      const one = recent[(digit + 9) % 10];
      if (one) close(one.item_id);
    });
    form.append(list, element("div", { class: "dialog-buttons" }, button("Cancel", { class: "button" }, () => close())));
  });
}
