// Markdown as elements. Links lead to http, https and mailto alone and show where; an image is the
// text of a link and is never loaded; HTML is shown as it was written.

import { appendText, button, copy, element, link, safeAddress } from "./dom.js";
import { parseBlocks } from "./markdown_blocks.js";
import { parseInline } from "./markdown_inline.js";

// Deeper than this only text remains: a browser's layout is not made for thousands of levels.
const NESTING_MAX = 30;
// Longer texts are shown as they were written.
export const MARKDOWN_CHARACTERS_MAX = 60_000;

/** Give *text* as a fragment of elements. */
export function renderMarkdown(text) {
  const fragment = document.createDocumentFragment();
  if (text.length > MARKDOWN_CHARACTERS_MAX) {
    fragment.append(plainBlock(text));
  } else {
    appendBlocks(fragment, parseBlocks(text), "auto");
  }
  return fragment;
}

/** A text with its lines as they were written. */
export function plainBlock(text) {
  const block = element("div", { class: "plain-text", dir: "auto" });
  appendText(block, text);
  return block;
}

/** Code with its language and a button that copies it. */
export function codeBlock(text, language = "", label = "Code") {
  const name = language ? `${label}, ${language}` : label;
  const code = element("code", {});
  appendText(code, text);
  const header = element("figcaption", { class: "code-header" }, element("span", {}, language));
  header.append(
    button("Copy", { class: "quiet-button", "aria-label": `Copy the ${name}` }, (event) =>
      copy(text, event.currentTarget),
    ),
  );
  const area = { class: "code-text", dir: "ltr", tabindex: "0", role: "region", "aria-label": name };
  return element("figure", { class: "code" }, header, element("pre", area, code));
}

// The outermost block finds its direction by itself; a block inside it must have no direction of its
// own, or the outer one would not look at its text.
function appendBlocks(parent, blocks, direction, isTight = false) {
  for (const block of blocks) parent.append(blockOf(block, direction, isTight));
}

function blockOf(block, dir, isTight) {
  if (block.kind === "code") return codeBlock(block.text, block.language);
  if (block.kind === "rule") return element("hr");
  if (block.kind === "list") return listOf(block, dir);
  if (block.kind === "table") return tableOf(block);
  if (block.kind === "quote") {
    const quote = element("blockquote", { dir });
    appendBlocks(quote, block.blocks, null);
    return quote;
  }
  if (block.kind === "heading") {
    // The page has headings of its own above these.
    const level = Math.min(6, block.level + 2);
    return inlineIn(element(`h${level}`, { dir }), block.text);
  }
  return inlineIn(element(isTight ? "div" : "p", { dir }), block.text);
}

function listOf(block, dir) {
  const start = block.isOrdered && block.start !== 1 ? String(block.start) : null;
  const list = element(block.isOrdered ? "ol" : "ul", { dir, start });
  for (const item of block.items) {
    const entry = element("li", { class: item.task ? "task" : null });
    if (item.task) {
      const isDone = item.task === "x";
      const label = isDone ? "done" : "not done";
      entry.append(
        element("span", { role: "img", class: "task-box", "aria-label": label }, isDone ? "☑" : "☐"),
      );
    }
    appendBlocks(entry, item.blocks, null, block.isTight);
    list.append(entry);
  }
  return list;
}

function tableOf(block) {
  const rows = block.rows.map((cells, place) => {
    const row = element("tr");
    cells.forEach((text, column) => {
      const align = block.aligns[column];
      const name = place === 0 ? "th" : "td";
      const attributes = { dir: "auto", class: align ? `align-${align}` : null };
      if (place === 0) attributes.scope = "col";
      row.append(inlineIn(element(name, attributes), text));
    });
    return row;
  });
  const table = element("table", {}, element("thead", {}, rows[0]));
  if (rows.length > 1) table.append(element("tbody", {}, ...rows.slice(1)));
  const area = { class: "table", tabindex: "0", role: "region", "aria-label": "Table" };
  return element("div", area, table);
}

// --- inside a paragraph ---------------------------------------------------------------------------

const ELEMENTS = { emphasis: "em", strong: "strong", deleted: "del" };

function inlineIn(parent, text) {
  appendInline(parent, parseInline(text), 0);
  return parent;
}

function appendInline(parent, nodes, depth, isInLink = false) {
  if (depth > NESTING_MAX) {
    appendText(parent, textOf(nodes));
    return;
  }
  for (const node of nodes) {
    if (node.kind === "text") {
      appendText(parent, node.text);
    } else if (node.kind === "break") {
      parent.append(element("br"));
    } else if (node.kind === "code") {
      const code = element("code", { dir: "ltr" });
      appendText(code, node.text);
      parent.append(code);
    } else if (isInLink && node.address !== undefined) {
      // A link holds no other: of an address or image inside it the text remains.
      appendInline(parent, node.children, depth + 1, isInLink);
    } else if (node.kind === "link") {
      parent.append(linkOf(node, depth));
    } else if (node.kind === "image") {
      parent.append(imageOf(node));
    } else {
      const made = element(ELEMENTS[node.kind]);
      appendInline(made, node.children, depth + 1, isInLink);
      parent.append(made);
    }
  }
}

function linkOf(node, depth) {
  const fill = (area) => appendInline(area, node.children, depth + 1, true);
  const made = link(node.address, fill, node.title);
  if (safeAddress(node.address) === null) {
    made.title = "This address is not opened from here";
    if (textOf(node.children) !== node.address) appendText(made, ` (${node.address.slice(0, 200)})`);
  }
  return made;
}

function imageOf(node) {
  const name = textOf(node.children) || "image";
  return link(node.address, (area) => appendText(area, `Image not loaded: ${name}`), node.title);
}

/** The text of nodes, however deep they lie. */
function textOf(nodes) {
  const texts = [];
  const waiting = [...nodes].reverse();
  while (waiting.length) {
    const node = waiting.pop();
    if (node.children) waiting.push(...[...node.children].reverse());
    else texts.push(node.text ?? "\n");
  }
  return texts.join("");
}
