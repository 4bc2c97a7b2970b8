// JSON as a tree that folds. Read here and not by JSON.parse: a number keeps every digit as it was
// recorded, and a key that occurs twice is shown twice.

import { appendText, button, element, grouped } from "./dom.js";

const DEPTH_MAX = 60;
const CHARACTERS_MAX = 500_000;
// Of a long list this many entries are drawn at once.
const ENTRIES_SHOWN = 100;
// Up to this many values everything is open at first.
const VALUES_OPEN = 60;
const TOKEN =
  /[ \t\n\r]*(?:([{}[\],:])|("(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*")|(-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?)|(true|false|null))/y;

/** Parse *text*; null for what is no JSON, or more than a page can draw. */
export function parseJson(text) {
  if (text.length > CHARACTERS_MAX) return null;
  try {
    const reader = new Reader(text);
    const value = reader.value(0);
    return reader.isAtEnd() ? value : null;
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

class Reader {
  constructor(text) {
    this.text = text;
    this.at = 0;
    this.next();
  }

  next() {
    TOKEN.lastIndex = this.at;
    const found = TOKEN.exec(this.text);
    this.at = found ? TOKEN.lastIndex : this.at;
    this.token = found;
  }

  isAtEnd() {
    return this.token === null && this.text.slice(this.at).trim() === "";
  }

  is(sign) {
    return this.token?.[1] === sign;
  }

  take(sign) {
    if (!this.is(sign)) throw new SyntaxError(`no ${sign}`);
    this.next();
  }

  value(depth) {
    if (depth > DEPTH_MAX || this.token === null) throw new SyntaxError("no value");
    const [, sign, string, number, word] = this.token;
    if (sign === "{") return this.entries("object", "}", depth);
    if (sign === "[") return this.entries("list", "]", depth);
    if (sign) throw new SyntaxError("no value");
    this.next();
    const source = string ?? number ?? word;
    return { kind: string ? "string" : number ? "number" : "word", source };
  }

  entries(kind, end, depth) {
    const entries = [];
    this.next();
    while (!this.is(end)) {
      if (entries.length) this.take(",");
      let key = null;
      if (kind === "object") {
        key = this.token?.[2];
        if (key === undefined) throw new SyntaxError("no key");
        this.next();
        this.take(":");
      }
      entries.push({ key, value: this.value(depth + 1) });
    }
    this.next();
    return { kind, entries };
  }
}

/** JSON with two spaces for each level; a text that is none as it is. */
export function prettyJson(text) {
  const value = parseJson(text);
  if (value === null) return text;
  const lines = [];
  write(value, "", "", "", lines);
  return lines.join("\n");
}

function write(value, indent, before, after, lines) {
  if (!value.entries || value.entries.length === 0) {
    const empty = value.kind === "object" ? "{}" : "[]";
    lines.push(indent + before + (value.source ?? empty) + after);
    return;
  }
  const [open, close] = value.kind === "object" ? "{}" : "[]";
  lines.push(indent + before + open);
  value.entries.forEach((entry, place) => {
    const key = entry.key === null ? "" : `${entry.key}: `;
    const comma = place < value.entries.length - 1 ? "," : "";
    write(entry.value, `${indent}  `, key, comma, lines);
  });
  lines.push(indent + close + after);
}

// --- as elements --------------------------------------------------------------------------------

/** Draw JSON; null where *text* is none. */
export function renderJson(text, label = "JSON") {
  const value = parseJson(text);
  if (value === null) return null;
  const isSmall = count(value, VALUES_OPEN) <= VALUES_OPEN;
  const area = { class: "json", dir: "ltr", role: "group", "aria-label": label };
  const openLevels = isSmall ? DEPTH_MAX : 2;
  if (!value.entries?.length) return element("div", area, drawn(value, openLevels));
  const list = element("ul", { class: `json-${value.kind}` });
  appendEntries(list, value.entries, 0, openLevels - 1);
  return element("div", area, list);
}

function count(value, most) {
  let counted = 0;
  const waiting = [value];
  while (waiting.length && counted <= most) {
    counted += 1;
    for (const entry of waiting.pop().entries ?? []) {
      if (waiting.length > most) break;
      waiting.push(entry.value);
    }
  }
  return counted;
}

function drawn(value, openLevels) {
  if (value.kind === "string") return stringOf(value.source);
  if (!value.entries) return element("span", { class: `json-${value.kind}` }, value.source);
  if (value.entries.length === 0) return element("span", {}, value.kind === "object" ? "{}" : "[]");
  const many = value.entries.length;
  const noun = value.kind === "object" ? "field" : "entry";
  const plural = value.kind === "object" ? "fields" : "entries";
  const words = `${grouped(many)} ${many === 1 ? noun : plural}`;
  const summary = element("summary", {}, element("span", { class: "json-count" }, words));
  const fold = element("details", { class: "json-fold", open: openLevels > 0 }, summary);
  const list = element("ul", { class: `json-${value.kind}` });
  let isFilled = false;
  const fill = () => {
    if (isFilled) return;
    isFilled = true;
    appendEntries(list, value.entries, 0, openLevels - 1);
  };
  if (openLevels > 0) fill();
  else fold.addEventListener("toggle", fill);
  fold.append(list);
  return fold;
}

function appendEntries(list, entries, from, openLevels) {
  const end = Math.min(entries.length, from + ENTRIES_SHOWN);
  for (let place = from; place < end; place += 1) {
    const { key, value } = entries[place];
    const row = element("li", {});
    if (key !== null) {
      const name = element("span", { class: "json-key" });
      appendText(name, decoded(key));
      row.append(name, element("span", { class: "json-colon" }, ": "));
    }
    row.append(drawn(value, openLevels));
    list.append(row);
  }
  const left = entries.length - end;
  if (left === 0) return;
  const more = button(`Show more (${grouped(left)} left)`, { class: "quiet-button" }, () => {
    more.parentElement.remove();
    appendEntries(list, entries, end, openLevels);
  });
  list.append(element("li", {}, more));
}

function stringOf(source) {
  const text = decoded(source);
  const isBlock = text.includes("\n");
  const made = element("span", { class: isBlock ? "json-string json-lines" : "json-string", dir: "auto" });
  appendText(made, isBlock ? text : `"${text}"`);
  return made;
}

function decoded(source) {
  // Our own grammar has checked it already.
  return JSON.parse(source);
}
