// One part of a message as elements: text, JSON, image, call of a tool, document and the rest.
// The parts come from annotate/parts.py; whatever they hold is shown and never followed.

import { appendText, button, copy, element, grouped, link, startOf } from "./dom.js";
import { renderJson } from "./json_view.js";
import { codeBlock, plainBlock, renderMarkdown } from "./markdown.js";

const IMAGE = /^data:image\/(?:avif|bmp|gif|jpe?g|png|webp);base64,[A-Za-z0-9+/]+=*$/i;
// A text up to its limit is shown whole; of a longer one so much that reading on is worth a click.
const FOLD_CHARACTERS = 3_000;
const FOLD_LINES = 45;
const DOCUMENT_CHARACTERS = 700;

const RENDERERS = {
  text: textPart,
  json: jsonPart,
  code: (part) => withNote(part, codeBlock(part.text, part.language)),
  image: imagePart,
  tool_call: callPart,
  tool_result: resultPart,
  reasoning: reasoningPart,
  document: documentPart,
  file: filePart,
};

/** Draw *part*. *options*: limit (characters before a text folds), texts (each text that can be
 * shown as it was written adds a function here). */
export function renderPart(part, options = {}) {
  const render = RENDERERS[part.kind] ?? unknownPart;
  return render(part, options);
}

/** A part that opens and shuts; *fill* draws its inside when it is opened first. */
export function folding(title, attributes, fill, isOpen = false) {
  const summary = element("summary", {}, title);
  const inside = element("div", { class: "fold-inside" });
  const fold = element("details", { ...attributes, open: isOpen }, summary, inside);
  const open = () => {
    if (!inside.hasChildNodes()) fill(inside);
  };
  if (isOpen) open();
  else fold.addEventListener("toggle", open, { once: true });
  return fold;
}

/** The number of bytes as people write it. */
export function bytes(size) {
  if (size < 1000) return `${size} bytes`;
  return size < 1e6 ? `${Math.round(size / 1000)} kB` : `${(size / 1e6).toFixed(1)} MB`;
}

// --- texts --------------------------------------------------------------------------------------

function textPart(part, { limit = FOLD_CHARACTERS, texts = [] } = {}) {
  const area = element("div", { class: "text-part" });
  const start = beginning(part.text, limit);
  let isWhole = start.length === part.text.length;
  let isAsWritten = part.format === "plain";
  const draw = () => {
    const shown = isWhole ? part.text : start;
    area.replaceChildren(isAsWritten ? plainBlock(shown) : renderMarkdown(shown));
    if (!isWhole) {
      const words = `… Show all ${grouped(part.size)} characters`;
      area.append(
        button(words, { class: "fold-button", "aria-expanded": "false" }, () => {
          isWhole = true;
          draw();
          area.setAttribute("tabindex", "-1");
          area.focus();
        }),
      );
    } else if (part.truncated) {
      area.append(cutNote(part));
    }
  };
  if (!isAsWritten) {
    texts.push((asWritten) => {
      isAsWritten = asWritten;
      draw();
    });
  }
  draw();
  return area;
}

function beginning(text, limit) {
  // A little more than the limit is not worth a click either.
  let start = text.length <= limit * 1.3 ? text : startOf(text, limit);
  let at = -1;
  for (let lines = 0; lines < FOLD_LINES; lines += 1) {
    at = start.indexOf("\n", at + 1);
    if (at === -1) return start;
  }
  const isNearEnd = start.length === text.length && start.indexOf("\n", at + 300) === -1;
  if (!isNearEnd) start = start.slice(0, at);
  return start;
}

function cutNote(part) {
  const words =
    `The first ${grouped(part.text.length)} of ${grouped(part.size)} characters are shown; ` +
    "the rest is in Phoenix.";
  return element("p", { class: "cut-note" }, words);
}

function withNote(part, drawn) {
  return part.truncated ? element("div", {}, drawn, cutNote(part)) : drawn;
}

function jsonPart(part, { label = "JSON" } = {}) {
  const tree = part.truncated ? null : renderJson(part.text, label);
  if (tree === null) return withNote(part, codeBlock(part.text, "", label));
  const copying = button("Copy", { class: "quiet-button", "aria-label": `Copy the ${label}` }, (event) =>
    copy(part.text, event.currentTarget),
  );
  return element("div", { class: "json-part" }, copying, tree);
}

function unknownPart(part) {
  const text = typeof part.text === "string" ? part.text : JSON.stringify(part);
  const words = "This part is of a kind that is not known; it is shown as it was recorded.";
  const drawn = renderJson(text, "part") ?? codeBlock(text);
  return element("div", {}, element("p", { class: "cut-note" }, words), drawn);
}

// --- tools --------------------------------------------------------------------------------------

function callPart(part, options) {
  const name = element("code", { class: "tool-name" });
  appendText(name, part.name || "a tool without a name");
  const header = element("div", { class: "tool-header" }, element("span", {}, "Called "), name);
  const label = `Call of ${part.name || "a tool"}`;
  const call = element("section", { class: "tool-call", "aria-label": label }, header);
  if (part.arguments.text.trim() === "{}") header.append(" without arguments");
  else call.append(jsonPart(part.arguments, { label: `arguments of ${part.name || "the tool"}` }));
  for (const result of part.results) call.append(resultOf(result, part.name, options));
  return call;
}

function resultPart(part, options) {
  return resultOf(part, part.name, options);
}

function resultOf(result, name, options) {
  const of = name ? `Result of ${name}` : "Result of a tool";
  const area = element("section", { class: "tool-result", "aria-label": of });
  area.append(element("div", { class: "tool-header" }, "Result"));
  if (result.parts.length === 0) area.append(element("p", { class: "cut-note" }, "It is empty."));
  for (const part of result.parts) area.append(renderPart(part, { ...options, limit: 1200 }));
  return area;
}

// --- what is not text ---------------------------------------------------------------------------

function imagePart(part) {
  if (IMAGE.test(part.url)) {
    const image = element("img", { src: part.url, alt: "Image in this message", decoding: "async" });
    const words = { class: "image-button", "aria-label": "Enlarge the image", "aria-pressed": "false" };
    const control = button("", words, () => {
      const isLarge = control.classList.toggle("is-large");
      control.setAttribute("aria-pressed", String(isLarge));
    });
    control.append(image);
    image.addEventListener("error", () => {
      control.replaceWith(placeholder("This image is damaged and cannot be drawn."));
    });
    return element("figure", { class: "image" }, control);
  }
  if (part.why === "outside") {
    const drawn = placeholder("This image lies elsewhere and is not loaded: ");
    drawn.append(link(part.target, (area) => appendText(area, part.target)));
    return drawn;
  }
  const reasons = {
    too_large: `An image of ${bytes(part.size)} is too large to be shown here; it is in Phoenix.`,
    hidden: "The application hid this image.",
  };
  return placeholder(reasons[part.why] ?? "What was recorded as an image cannot be drawn.");
}

function placeholder(text) {
  return element("p", { class: "placeholder" }, text);
}

function filePart(part) {
  const facts = [part.name, part.mime_type, part.size ? bytes(part.size) : ""].filter(Boolean);
  const noun = { audio: "Audio", video: "Video", document: "Document" }[part.medium] ?? "File";
  const drawn = placeholder("");
  appendText(drawn, `${[noun, ...facts].join(", ")} (not loaded here)`);
  if (part.target) {
    drawn.append(" ", link(part.target, (area) => appendText(area, part.target)));
  }
  if (!part.transcript) return drawn;
  const said = textPart({ ...part.transcript, format: "plain" });
  return element("div", { class: "file" }, drawn, said);
}

function reasoningPart(part, options) {
  if (part.hidden) return placeholder("The model's reasoning was recorded, but cannot be read.");
  return folding("Reasoning", { class: "fold reasoning" }, (inside) =>
    inside.append(textPart({ ...part, format: "markdown" }, options)),
  );
}

function documentPart(part) {
  const header = element("div", { class: "document-header" });
  const title = element("span", { class: "document-title", dir: "auto" });
  appendText(title, part.name || (part.id ? `Document ${part.id}` : "Document"));
  header.append(title);
  if (part.score !== null && part.score !== undefined) {
    const rounded = String(Math.round(part.score * 1000) / 1000);
    const words = { class: "badge", title: `score ${part.score}` };
    header.append(element("span", words, `score ${rounded}`));
  }
  const area = element("article", { class: "document", "aria-label": title.textContent }, header);
  if (part.target) {
    const where = element("div", { class: "document-address" });
    where.append(link(part.target, (inside) => appendText(inside, part.target)));
    area.append(where);
  }
  if (part.text) {
    area.append(textPart({ ...part, format: "markdown" }, { limit: DOCUMENT_CHARACTERS }));
  }
  if (part.metadata) {
    const fill = (inside) => inside.append(jsonPart(part.metadata, { label: "details" }));
    area.append(folding("Details", { class: "fold" }, fill));
  }
  return area;
}
