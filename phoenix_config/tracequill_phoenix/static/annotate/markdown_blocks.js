// The lines of a Markdown text become a tree of plain blocks. Knows no document.
//
// Blocks: {kind: "paragraph", text}, {kind: "heading", level, text}, {kind: "code", language, text},
// {kind: "rule"}, {kind: "quote", blocks}, {kind: "list", isOrdered, start, isTight, items: [{task,
// blocks}]}, {kind: "table", aligns, rows: [[text]]}. HTML is text. Nesting is bounded, and each
// line is read once for each level.

const DEPTH_MAX = 12;
const COLUMNS_MAX = 60;
const FENCE = /^( {0,3})(`{3,}|~{3,})([^`]*)$/;
const RULE = /^ {0,3}([-*_])[ \t]*(?:\1[ \t]*){2,}$/;
const HEADING = /^ {0,3}(#{1,6})(?=[ \t]|$)/;
const UNDERLINE = /^ {0,3}(=+|-+)[ \t]*$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( {0,3})([-+*]|\d{1,9}[.)])(?=[ \t]|$)/;
const DELIMITER_ROW = /^ {0,3}\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$/;
const TASK = /^\[([ xX])\](?=[ \t])/;

/** Parse a Markdown text. */
export function parseBlocks(text) {
  const lines = text.replace(/\r\n?/g, "\n").split("\n").map(untabbed);
  return blocksOf(lines, 0);
}

function untabbed(line) {
  // Tabs indent to the next multiple of four.
  return line.replace(/^[ \t]{0,200}/, (indent) => {
    let width = 0;
    for (const character of indent) width += character === "\t" ? 4 - (width % 4) : 1;
    return " ".repeat(width);
  });
}

function isBlank(line) {
  return line.trim() === "";
}

function indentOf(line) {
  return line.length - line.trimStart().length;
}

function blocksOf(lines, depth) {
  if (depth > DEPTH_MAX) return [{ kind: "paragraph", text: lines.join("\n") }];
  const blocks = [];
  let at = 0;
  while (at < lines.length) {
    if (isBlank(lines[at])) {
      at += 1;
      continue;
    }
    const [block, end] = blockAt(lines, at, depth);
    blocks.push(block);
    at = end;
  }
  return blocks;
}

function blockAt(lines, at, depth) {
  const line = lines[at];
  if (line.startsWith("    ")) return indentedCode(lines, at);
  if (FENCE.test(line)) return fencedCode(lines, at);
  if (HEADING.test(line)) return [heading(line), at + 1];
  if (RULE.test(line)) return [{ kind: "rule" }, at + 1];
  if (QUOTE.test(line)) return quote(lines, at, depth);
  if (ITEM.test(line)) return list(lines, at, depth);
  if (isTable(lines, at)) return table(lines, at);
  return paragraph(lines, at);
}

/** Whether a line ends the paragraph before it. */
function interrupts(line) {
  if (FENCE.test(line) || HEADING.test(line) || RULE.test(line) || QUOTE.test(line)) return true;
  const item = ITEM.exec(line);
  return item !== null && !/^(?!1[.)])\d/.test(item[2]) && !isBlank(line.slice(item[0].length));
}

/** Whether *line*, which lies outside, still belongs to the paragraph that *before* ends. */
function goesOn(before, line) {
  if (isBlank(line) || isBlank(before) || interrupts(line) || ITEM.test(line)) return false;
  return !HEADING.test(before) && !RULE.test(before) && !FENCE.test(before);
}

/** Such a line is text: no line of code, and no line below a heading. */
function lazy(line) {
  const text = line.trimStart();
  return UNDERLINE.test(text) ? `\\${text}` : text;
}

function indentedCode(lines, at) {
  let end = at;
  while (end < lines.length && (lines[end].startsWith("    ") || isBlank(lines[end]))) end += 1;
  while (isBlank(lines[end - 1])) end -= 1;
  const text = lines.slice(at, end).map((line) => line.slice(4));
  return [{ kind: "code", language: "", text: text.join("\n") }, end];
}

function fencedCode(lines, at) {
  const [, indent, fence, info] = FENCE.exec(lines[at]);
  const text = [];
  let end = at + 1;
  for (; end < lines.length; end += 1) {
    const line = lines[end].trim();
    const closes = line.length >= fence.length && line === fence[0].repeat(line.length);
    if (closes && indentOf(lines[end]) < 4) break;
    text.push(lines[end].slice(Math.min(indent.length, indentOf(lines[end]))));
  }
  const language = info.trim().split(/\s/, 1)[0].slice(0, 40);
  return [{ kind: "code", language, text: text.join("\n") }, end + 1];
}

function heading(line) {
  const level = HEADING.exec(line)[1].length;
  let text = line.trimStart().slice(level).trim();
  let end = text.length;
  while (text[end - 1] === "#") end -= 1;
  if (end === 0 || text[end - 1] === " ") text = text.slice(0, end).trimEnd();
  return { kind: "heading", level, text };
}

function quote(lines, at, depth) {
  const inner = [];
  let end = at;
  let isFenced = false;
  for (; end < lines.length; end += 1) {
    const line = lines[end];
    if (QUOTE.test(line)) {
      inner.push(line.replace(QUOTE, ""));
      if (FENCE.test(inner.at(-1))) isFenced = !isFenced;
    } else if (isFenced || !goesOn(inner.at(-1), line)) {
      break;
    } else {
      inner.push(lazy(line));
    }
  }
  return [{ kind: "quote", blocks: blocksOf(inner, depth + 1) }, end];
}

// --- lists ------------------------------------------------------------------------------------

function list(lines, at, depth) {
  const first = ITEM.exec(lines[at]);
  const type = first[2].at(-1);
  const items = [];
  let end = at;
  let isTight = true;
  while (end < lines.length) {
    const marker = ITEM.exec(lines[end]);
    if (marker === null || marker[2].at(-1) !== type || RULE.test(lines[end])) break;
    const [inner, next, endsBlank] = item(lines, end, marker);
    const task = TASK.exec(inner[0]);
    if (task) inner[0] = inner[0].slice(task[0].length);
    const blocks = blocksOf(inner, depth + 1);
    if (inner.some((line, place) => isBlank(line) && place > 0) && blocks.length > 1) {
      isTight = false;
    }
    items.push({ task: task ? task[1].toLowerCase() : "", blocks });
    const goesOn = next < lines.length && ITEM.exec(lines[next])?.[2].at(-1) === type;
    if (endsBlank && goesOn) isTight = false;
    end = next;
  }
  const isOrdered = /\d/.test(first[2]);
  const start = isOrdered ? parseInt(first[2], 10) : 1;
  return [{ kind: "list", isOrdered, start, isTight, items }, end];
}

/** The lines of one item, where the next begins, and whether blank lines lie between. */
function item(lines, at, marker) {
  const after = lines[at].slice(marker[0].length);
  const space = indentOf(after);
  const width = marker[0].length + (isBlank(after) || space > 4 ? 1 : space);
  const inner = [lines[at].slice(width)];
  let isFenced = FENCE.test(inner[0]);
  let end = at + 1;
  const isEmpty = isBlank(inner[0]) && end < lines.length && isBlank(lines[end]);
  for (; end < lines.length; end += 1) {
    const line = lines[end];
    if (isEmpty && !isBlank(line)) break;
    if (isBlank(line)) {
      inner.push("");
    } else if (indentOf(line) >= width) {
      inner.push(line.slice(width));
    } else if (isFenced || !goesOn(inner.at(-1), line)) {
      break;
    } else {
      inner.push(lazy(line));
    }
    if (FENCE.test(inner.at(-1))) isFenced = !isFenced;
  }
  let endsBlank = false;
  while (inner.length > 1 && isBlank(inner.at(-1))) {
    inner.pop();
    endsBlank = true;
  }
  return [inner, end, endsBlank];
}

// --- tables and paragraphs ----------------------------------------------------------------------

function isTable(lines, at) {
  const below = lines[at + 1];
  if (!lines[at].includes("|") || below === undefined || !below.includes("-")) return false;
  if (!DELIMITER_ROW.test(below)) return false;
  return cells(lines[at]).length === cells(below).length;
}

function table(lines, at) {
  const aligns = cells(lines[at + 1]).map((cell) => {
    const isStart = cell.startsWith(":");
    if (cell.endsWith(":")) return isStart ? "center" : "end";
    return isStart ? "start" : "";
  });
  const rows = [cells(lines[at])];
  let end = at + 2;
  for (; end < lines.length && lines[end].includes("|") && !isBlank(lines[end]); end += 1) {
    const row = cells(lines[end]).slice(0, aligns.length);
    while (row.length < aligns.length) row.push("");
    rows.push(row);
  }
  return [{ kind: "table", aligns, rows }, end];
}

/** The cells of a row; a pipe in code or behind a backslash is part of its cell. */
function cells(line) {
  const found = [""];
  for (const piece of line.trim().match(/\\.|`[^`]*`|\||[^\\`|]+|[\\`]/gsu) ?? []) {
    if (piece === "|" && found.length < COLUMNS_MAX) found.push("");
    else found[found.length - 1] += piece === "\\|" ? "|" : piece;
  }
  if (found[0].trim() === "") found.shift();
  if (found.length > 1 && found.at(-1).trim() === "") found.pop();
  return found.map((cell) => cell.trim());
}

function paragraph(lines, at) {
  let end = at + 1;
  for (; end < lines.length; end += 1) {
    const line = lines[end];
    if (isBlank(line)) break;
    const underline = UNDERLINE.exec(line);
    if (underline) {
      const text = lines.slice(at, end).join("\n").trim();
      return [{ kind: "heading", level: underline[1][0] === "=" ? 1 : 2, text }, end + 1];
    }
    if (interrupts(line) || isTable(lines, end)) break;
  }
  const text = lines.slice(at, end).map((line) => line.trimStart());
  return [{ kind: "paragraph", text: text.join("\n").trimEnd() }, end];
}
