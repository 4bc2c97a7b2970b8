// Which command a key means. It knows keys and elements, not what a command does.

const LETTERS = {
  s: "skip",
  f: "flag",
  u: "undo",
  e: "correct",
  n: "reason",
  i: "instructions",
  "?": "help",
};
const ARROWS = {
  ArrowUp: "label-before",
  ArrowDown: "label-after",
  ArrowLeft: "item-before",
  ArrowRight: "item-after",
};
const TEXT_TYPES = new Set(["text", "search", "number", "email", "url", "password", "datetime-local", "date"]);

/** Whether what is typed at *element* becomes text. */
export function takesText(element) {
  if (!(element instanceof Element)) return false;
  if (element.isContentEditable || element.matches("textarea, select")) return true;
  return element.matches("input") && TEXT_TYPES.has(element.type);
}

/** Whether *event* belongs to the composition of a character, which Enter only ends. */
export function isComposing(event) {
  return event.isComposing || event.keyCode === 229;
}

/** The digit of *event* by the key's position, whatever the layout writes there; else null. */
export function digitOf(event) {
  const found = /^(?:Digit|Numpad)([0-9])$/.exec(event.code ?? "");
  return found ? Number(found[1]) : null;
}

/** The command that *event* means on the work page: {name, digit?}, or null. */
export function commandOf(event) {
  if (isComposing(event) || event.altKey) return null;
  const isCommand = event.ctrlKey || event.metaKey;
  const isEnter = event.key === "Enter";
  if (isCommand) return isEnter && !event.shiftKey ? { name: "save" } : null;
  if (takesText(event.target)) return inText(event, isEnter);
  if (isEnter) return isEnterOfControl(event.target) || event.shiftKey ? null : { name: "save" };
  return plain(event);
}

function inText(event, isEnter) {
  if (event.key === "Escape") return { name: "leave-text" };
  const isOneLine = event.target.matches("input");
  return isEnter && isOneLine && !event.shiftKey ? { name: "save" } : null;
}

// A button that has the focus is pressed by Enter, as everywhere.
function isEnterOfControl(element) {
  return element instanceof Element && element.closest("button, a[href], summary, [role=tab]") !== null;
}

function plain(event) {
  const digit = digitOf(event);
  // Shift and a digit are a character on one layout and the digit itself on another (AZERTY).
  if (digit !== null && event.key !== "?") return { name: "digit", digit };
  if (Object.hasOwn(ARROWS, event.key)) return event.shiftKey ? null : { name: ARROWS[event.key] };
  const letter = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (letter === "u" && event.shiftKey) return { name: "undo-list" };
  if (letter === "Escape") return { name: "leave-text" };
  return Object.hasOwn(LETTERS, letter) ? { name: LETTERS[letter] } : null;
}
