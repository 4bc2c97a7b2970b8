// What a person changed: words of a text, or lines of JSON. Bounded in time whatever it is given:
// where two texts have too little in common, all of the one is taken out and all of the other put in.

import { appendText, button, element, grouped } from "./dom.js";
import { prettyJson } from "./json_view.js";

// Steps of the search for what is common; a few milliseconds.
const STEPS_MAX = 3_000_000;
const CHANGES_MAX = 1_200;
// Words of a changed passage are compared up to this many.
const WORDS_MAX = 20_000;
const CONTEXT_LINES = 3;
const CONTEXT_CHARACTERS = 300;
const WORD =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}]|[\p{L}\p{N}\p{M}_]+|\s|[^\s]/gu;

/** The changes between two texts, word by word: [{kind: "same"|"removed"|"added", text}]. */
export function wordChanges(before, after) {
  const joined = [];
  for (const change of changes(linesOf(before), linesOf(after))) {
    const removed = change.removed.join("");
    const added = change.added.join("");
    if (change.same.length) push(joined, "same", change.same.join(""));
    else for (const each of wordsOf(removed, added)) push(joined, each.kind, each.text);
  }
  return joined;
}

/** The changes between two texts, line by line, each line an entry. */
export function lineChanges(before, after) {
  return changes(before.split("\n"), after.split("\n")).flatMap((change) => [
    ...change.same.map((text) => ({ kind: "same", text })),
    ...change.removed.map((text) => ({ kind: "removed", text })),
    ...change.added.map((text) => ({ kind: "added", text })),
  ]);
}

function linesOf(text) {
  return text.match(/[^\n]*\n|[^\n]+$/g) ?? [];
}

function wordsOf(removed, added) {
  const before = removed.match(WORD) ?? [];
  const after = added.match(WORD) ?? [];
  if (before.length + after.length > WORDS_MAX) {
    return [
      { kind: "removed", text: removed },
      { kind: "added", text: added },
    ];
  }
  const found = [];
  for (const change of settled(changes(before, after))) {
    push(found, "same", change.same.join(""));
    push(found, "removed", change.removed.join(""));
    push(found, "added", change.added.join(""));
  }
  return found;
}

function push(list, kind, text) {
  if (!text) return;
  if (list.at(-1)?.kind === kind) list.at(-1).text += text;
  else list.push({ kind, text });
}

/** Let a space between two changes be a part of them: a phrase reads better than its words. */
function settled(found) {
  const result = [];
  for (const change of found) {
    const last = result.at(-1);
    const beforeLast = result.at(-2);
    const isGap = last && beforeLast && last.same.length && last.same.join("").trim() === "";
    if (isGap && !change.same.length && !beforeLast.same.length && last.same.length === 1) {
      result.pop();
      beforeLast.removed.push(...last.same, ...change.removed);
      beforeLast.added.push(...last.same, ...change.added);
    } else {
      result.push(change);
    }
  }
  return result;
}

// --- the search -------------------------------------------------------------------------------------

/** Runs of {same, removed, added}; in each either same or the other two are empty. */
function changes(before, after) {
  let start = 0;
  while (start < before.length && start < after.length && before[start] === after[start]) start += 1;
  let end = 0;
  const most = Math.min(before.length, after.length) - start;
  while (end < most && before[before.length - 1 - end] === after[after.length - 1 - end]) end += 1;
  const removed = before.slice(start, before.length - end);
  const added = after.slice(start, after.length - end);
  return [
    { same: before.slice(0, start), removed: [], added: [] },
    ...middle(removed, added),
    { same: before.slice(before.length - end), removed: [], added: [] },
  ].filter((change) => change.same.length || change.removed.length || change.added.length);
}

function middle(before, after) {
  const trace = before.length && after.length ? search(before, after) : null;
  if (trace === null) return [{ same: [], removed: before, added: after }];
  // Walked from the end: pairs of what is the same, then gathered into runs.
  let [x, y] = [before.length, after.length];
  const pairs = [];
  for (let depth = trace.length - 1; depth >= 0; depth -= 1) {
    const reached = trace[depth];
    const diagonal = x - y;
    const isDown = depth !== 0 && comesFromAbove(reached, diagonal, depth);
    const previous = depth === 0 ? 0 : isDown ? diagonal + 1 : diagonal - 1;
    const fromX = depth === 0 ? 0 : reached.get(previous);
    const fromY = depth === 0 ? 0 : fromX - previous;
    const firstX = depth === 0 ? 0 : isDown ? fromX : fromX + 1;
    while (x > firstX && y > 0) pairs.push([--x, --y]);
    [x, y] = [fromX, fromY];
  }
  return gathered(before, after, pairs.reverse());
}

function gathered(before, after, pairs) {
  const found = [];
  let [x, y] = [0, 0];
  for (const [nextX, nextY] of [...pairs, [before.length, after.length]]) {
    if (nextX > x || nextY > y) {
      found.push({ same: [], removed: before.slice(x, nextX), added: after.slice(y, nextY) });
    }
    if (nextX < before.length) {
      const last = found.at(-1);
      if (last?.same.length) last.same.push(before[nextX]);
      else found.push({ same: [before[nextX]], removed: [], added: [] });
    }
    [x, y] = [nextX + 1, nextY + 1];
  }
  return found;
}

function comesFromAbove(reached, diagonal, depth) {
  if (diagonal === -depth) return true;
  if (diagonal === depth) return false;
  return reached.get(diagonal - 1) < reached.get(diagonal + 1);
}

/** Myers's greedy search; what each depth had reached before it, or null when it costs too much. */
function search(before, after) {
  const trace = [];
  let reached = new Diagonals(0);
  let steps = 0;
  for (let depth = 0; depth <= Math.min(CHANGES_MAX, before.length + after.length); depth += 1) {
    trace.push(reached);
    const next = new Diagonals(depth);
    for (let diagonal = -depth; diagonal <= depth; diagonal += 2) {
      let x = 0;
      if (depth > 0) {
        const isDown = comesFromAbove(reached, diagonal, depth);
        x = isDown ? reached.get(diagonal + 1) : reached.get(diagonal - 1) + 1;
      }
      const start = x;
      while (x < before.length && x - diagonal < after.length && before[x] === after[x - diagonal]) {
        x += 1;
      }
      next.set(diagonal, x);
      if (x >= before.length && x - diagonal >= after.length) return trace;
      steps += 1 + x - start;
    }
    if (steps > STEPS_MAX) return null;
    reached = next;
  }
  return null;
}

class Diagonals {
  constructor(depth) {
    this.depth = depth;
    this.furthest = new Int32Array(2 * depth + 1).fill(-1);
  }

  get(diagonal) {
    return this.furthest[diagonal + this.depth] ?? -1;
  }

  set(diagonal, x) {
    this.furthest[diagonal + this.depth] = x;
  }
}

// --- as elements ------------------------------------------------------------------------------------

const TAGS = { same: "span", removed: "del", added: "ins" };

/** Draw what changed from *before* to *after*; JSON by lines, anything else by words. */
export function renderDiff(before, after, { kind = "text" } = {}) {
  const area = element("div", { class: `diff diff-${kind}`, role: "group", "aria-label": "Changes" });
  const isJson = kind === "json";
  const found = isJson
    ? lineChanges(prettyJson(before), prettyJson(after))
    : wordChanges(before, after);
  if (!found.some((change) => change.kind !== "same")) {
    area.append(element("p", { class: "diff-none" }, "Nothing is changed."));
  } else if (isJson) {
    appendLines(area, found);
  } else {
    area.dir = "auto";
    found.forEach((change, place) => appendWords(area, change, place, found.length));
  }
  return area;
}

function appendWords(area, change, place, length) {
  const made = element(TAGS[change.kind]);
  area.append(made);
  const most = CONTEXT_CHARACTERS * 2;
  if (change.kind !== "same" || change.text.length <= most) {
    appendText(made, change.text);
    return;
  }
  // Of a long passage that stayed, what stands next to a change is enough.
  const head = place === 0 ? "" : change.text.slice(0, CONTEXT_CHARACTERS);
  const tail = place === length - 1 ? "" : change.text.slice(-CONTEXT_CHARACTERS);
  const hidden = change.text.length - head.length - tail.length;
  appendText(made, head);
  made.append(
    folded(`${grouped(hidden)} unchanged characters`, () => {
      made.replaceChildren();
      appendText(made, change.text);
    }),
  );
  appendText(made, tail);
}

function appendLines(area, found) {
  const isNear = new Uint8Array(found.length);
  found.forEach((change, place) => {
    if (change.kind === "same") return;
    const start = Math.max(0, place - CONTEXT_LINES);
    isNear.fill(1, start, Math.min(found.length, place + CONTEXT_LINES + 1));
  });
  for (let place = 0; place < found.length; ) {
    if (isNear[place]) {
      area.append(line(found[place]));
      place += 1;
      continue;
    }
    let end = place;
    while (end < found.length && !isNear[end]) end += 1;
    const hidden = found.slice(place, end);
    const fold = folded(`${grouped(hidden.length)} unchanged lines`, () =>
      fold.replaceWith(...hidden.map(line)),
    );
    area.append(fold);
    place = end;
  }
}

function line(change) {
  const made = element(change.kind === "same" ? "div" : TAGS[change.kind], { class: "diff-line" });
  appendText(made, change.text || " ");
  return made;
}

function folded(text, open) {
  return button(`… ${text} …`, { class: "quiet-button diff-fold" }, open);
}
