// Elements made from data. A text becomes a text and never markup; characters that would hide
// something, or turn the reading direction of what follows, are drawn as marks instead.

const SECRETIVE =
  "[\\u0000-\\u0008\\u000b\\u000c\\u000e-\\u001f\\u007f-\\u009f\\u00ad\\u061c\\u180e\\u200b" +
  "\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb\\ud800-\\udfff\\u{e0000}-\\u{e0fff}]|\\r";
const RUN = new RegExp(`(${SECRETIVE})\\1*`, "gu");
// Past this many an honest text has none; they become one plain character each.
const MARKS_MAX = 500;

const NAMES = new Map([
  [0x00, "NUL"],
  [0x0d, "carriage return"],
  [0x1b, "escape"],
  [0xad, "soft hyphen"],
  [0x200b, "zero-width space"],
  [0x202a, "left-to-right embedding"],
  [0x202b, "right-to-left embedding"],
  [0x202c, "end of embedding"],
  [0x202d, "left-to-right override"],
  [0x202e, "right-to-left override"],
  [0x2060, "word joiner"],
  [0x2066, "left-to-right isolate"],
  [0x2067, "right-to-left isolate"],
  [0x2068, "first strong isolate"],
  [0x2069, "end of isolate"],
  [0xfeff, "byte order mark"],
]);

/** Make an element; null and false among the children are left out. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    // Neither may come from data, and the page's policy refuses both.
    if (/^on|^style$/i.test(name)) throw new TypeError(`attribute ${name} is not set here`);
    made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== false));
  return made;
}

/** Make a button that does nothing but call *act*. */
export function button(text, attributes, act) {
  const made = element("button", { type: "button", ...attributes }, text);
  made.addEventListener("click", act);
  return made;
}

/** Add *text* to *parent*, with secretive characters as marks. */
export function appendText(parent, text) {
  const said = text.replaceAll("\r\n", "\n");
  let end = 0;
  let marks = 0;
  for (const run of said.matchAll(RUN)) {
    if (marks++ === MARKS_MAX) {
      parent.append(said.slice(end).replaceAll(RUN, "\ufffd"));
      return;
    }
    if (run.index > end) parent.append(said.slice(end, run.index));
    parent.append(mark(run[1], run[0].length / run[1].length));
    end = run.index + run[0].length;
  }
  if (end < said.length) parent.append(said.slice(end));
}

function mark(character, times) {
  const point = character.codePointAt(0);
  const code = `U+${point.toString(16).toUpperCase().padStart(4, "0")}`;
  const name = NAMES.has(point) ? `${NAMES.get(point)} (${code})` : code;
  const sign = point < 0x20 ? String.fromCodePoint(0x2400 + point) : code;
  const text = times > 1 ? `${sign}×${times}` : sign;
  const title = `hidden character: ${name}${times > 1 ? `, ${times} times` : ""}`;
  return element("span", { class: "hidden-character", title }, text);
}

/** The address if it may be a link (http, https, mailto), else null. */
export function safeAddress(address) {
  if (typeof address !== "string" || address.length > 2000) return null;
  let url;
  try {
    url = new URL(address);
  } catch {
    return null;
  }
  return ["http:", "https:", "mailto:"].includes(url.protocol) ? url : null;
}

/** A link that says where it leads; text alone where the address must not be one. */
export function link(address, fill, title = "") {
  const url = safeAddress(address);
  if (url === null) {
    const refused = element("span", { class: "refused-link" });
    fill(refused);
    return refused;
  }
  const made = element("a", {
    href: url.href,
    rel: "noopener noreferrer nofollow",
    target: "_blank",
    referrerpolicy: "no-referrer",
    title: title ? `${title} (${url.href})` : url.href,
  });
  fill(made);
  // What a link says and where it leads can differ: the host is always there to be read.
  const host = url.protocol === "mailto:" ? url.pathname : url.host;
  if (![address, url.href, host].includes(made.textContent)) {
    made.append(element("span", { class: "link-host" }));
    appendText(made.lastChild, ` (${host})`);
  }
  return made;
}

/** The start of *text*, of about *length* characters, cut where a line or word ends. */
export function startOf(text, length) {
  if (text.length <= length) return text;
  const window = text.slice(0, length);
  const line = window.lastIndexOf("\n");
  if (line > length * 0.6) return window.slice(0, line);
  const word = window.lastIndexOf(" ");
  if (word > length * 0.8) return window.slice(0, word);
  const isHalf = /[\ud800-\udbff]$/.test(window);
  return isHalf ? window.slice(0, -1) : window;
}

/** A number as people write it, always the same in every browser. */
export function grouped(number) {
  return String(number).replace(/\B(?=(\d{3})+$)/g, ",");
}

/** A number with its noun: 1 question, 2 questions. */
export function plural(number, one, many = `${one}s`) {
  return `${grouped(number)} ${number === 1 ? one : many}`;
}

/** Say on a control which key does the same; whoever listens is told by aria-keyshortcuts. */
export function keyHint(key) {
  return element("kbd", { "aria-hidden": "true" }, key);
}

/** Put *text* on the clipboard, and say on *control* that it is there. */
export async function copy(text, control) {
  const before = control.textContent;
  try {
    await navigator.clipboard.writeText(text);
    control.textContent = "Copied";
  } catch {
    // Without https there is no clipboard, but for the old command.
    const field = element("textarea", { "aria-hidden": "true", class: "off-screen" });
    field.value = text;
    document.body.append(field);
    field.select();
    control.textContent = document.execCommand("copy") ? "Copied" : "Not copied";
    field.remove();
    control.focus();
  }
  setTimeout(() => (control.textContent = before), 1500);
}
