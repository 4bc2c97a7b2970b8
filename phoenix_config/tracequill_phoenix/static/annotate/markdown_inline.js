// The inside of a Markdown paragraph becomes a tree of plain objects. Knows no document.
//
// Nodes: {kind: "text"|"code", text}, {kind: "break"}, {kind: "emphasis"|"strong"|"deleted",
// children}, {kind: "link"|"image", address, title, children}. HTML is text. Every loop is bounded
// by the length of the text: emphasis as CommonMark describes it, with its floor for openers.

const PUNCTUATION = /[!-/:-@[-`{-~]/;
const WIDE_PUNCTUATION = /[\p{P}\p{S}]/u;
const SPACE = /\s/;
const SPECIAL = /[\\`<h[!\]*_~&\n]/g;
const AUTOLINK = /<((?:https?:|mailto:)[^\s<>]{1,2000})>/iy;
const LINE_BREAK_TAG = /<br ?\/?>/iy;
const BARE_ADDRESS = /https?:\/\/[^\s<>"`\\^{|}[\]]{1,2000}/iy;
const ENTITY = /&(?:#(\d{1,7})|#x([0-9a-f]{1,6})|(amp|lt|gt|quot|apos|nbsp|hellip|mdash|ndash));/iy;
const NAMED = {
  amp: "&",
  lt: "<",
  gt: ">",
  quot: '"',
  apos: "'",
  nbsp: "\u00a0",
  hellip: "…",
  mdash: "—",
  ndash: "–",
};

/** Parse the text of a paragraph, heading or cell. */
export function parseInline(text) {
  return new Inline(text).parse();
}

class Inline {
  constructor(text) {
    this.text = text;
    this.at = 0;
    // A linked list with a head, so that what emphasis encloses can be moved in one step each.
    this.head = { kind: "head", next: null, previous: null };
    this.tail = this.head;
    this.brackets = [];
    this.inactiveBelow = 0;
    this.lastDelimiter = null;
    this.backticks = null;
    // Looking for partners of emphasis; an honest paragraph needs a few steps for each.
    this.stepsLeft = 20 * text.length + 1000;
  }

  parse() {
    while (this.at < this.text.length) {
      SPECIAL.lastIndex = this.at;
      const found = SPECIAL.exec(this.text);
      const end = found ? found.index : this.text.length;
      if (end > this.at) this.push({ kind: "text", text: this.text.slice(this.at, end) });
      this.at = end;
      if (found) this.special(found[0]);
    }
    this.emphasize(null);
    return listed(this.head.next);
  }

  push(node) {
    node.previous = this.tail;
    node.next = null;
    this.tail.next = node;
    this.tail = node;
    return node;
  }

  literal(length) {
    this.push({ kind: "text", text: this.text.slice(this.at, this.at + length) });
    this.at += length;
  }

  matched(pattern) {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text);
    if (found) this.at += found[0].length;
    return found;
  }

  special(character) {
    if (character === "\\") this.escape();
    else if (character === "`") this.code();
    else if (character === "<") this.angle();
    else if (character === "h") this.bareAddress();
    else if (character === "&") this.entity();
    else if (character === "\n") this.lineBreak();
    else if (character === "[") this.open(1);
    else if (character === "!") this.text[this.at + 1] === "[" ? this.open(2) : this.literal(1);
    else if (character === "]") this.close();
    else this.delimiter(character);
  }

  escape() {
    const next = this.text[this.at + 1] ?? "";
    this.at += 1;
    if (next === "\n") this.lineBreak();
    else if (PUNCTUATION.test(next)) this.literal(1);
    else this.push({ kind: "text", text: "\\" });
  }

  lineBreak() {
    if (this.tail.kind === "text") this.tail.text = this.tail.text.replace(/ {1,200}$/, "");
    this.push({ kind: "break" });
    this.at += 1;
    while (this.text[this.at] === " ") this.at += 1;
  }

  code() {
    const length = runLength(this.text, this.at, "`");
    const start = this.at + length;
    this.backticks ??= runs(this.text, "`");
    const places = this.backticks.get(length) ?? [];
    while (places.length && places.at(-1) < start) places.pop();
    if (!places.length) {
      this.literal(length);
      return;
    }
    const end = places.at(-1);
    let text = this.text.slice(start, end).replaceAll("\n", " ");
    if (text.startsWith(" ") && text.endsWith(" ") && text.trim()) text = text.slice(1, -1);
    this.push({ kind: "code", text });
    this.at = end + length;
  }

  angle() {
    const found = this.matched(AUTOLINK);
    if (found) this.address(found[1]);
    else if (this.matched(LINE_BREAK_TAG)) this.push({ kind: "break" });
    else this.literal(1);
  }

  bareAddress() {
    const before = this.text[this.at - 1] ?? " ";
    const found = /[\p{L}\p{N}]/u.test(before) ? null : this.matched(BARE_ADDRESS);
    if (!found) {
      this.literal(1);
      return;
    }
    // The end of a sentence, or the emphasis around the address, is not its end.
    const address = balanced(found[0]).replace(/[.,;:!?'*_~]{1,100}$/, "");
    this.at -= found[0].length - address.length;
    this.address(address);
  }

  address(address) {
    this.push({ kind: "link", address, title: "", children: [{ kind: "text", text: address }] });
  }

  entity() {
    const found = this.matched(ENTITY);
    if (!found) {
      this.literal(1);
      return;
    }
    const [, decimal, hexadecimal, name] = found;
    const point = decimal ? parseInt(decimal, 10) : parseInt(hexadecimal, 16);
    const isPoint = point > 0 && point <= 0x10ffff;
    const text = name ? NAMED[name.toLowerCase()] : isPoint ? String.fromCodePoint(point) : "\ufffd";
    this.push({ kind: "text", text });
  }

  // --- links and images ---------------------------------------------------------------------

  open(length) {
    const node = { kind: "text", text: this.text.slice(this.at, this.at + length) };
    this.push(node);
    this.at += length;
    this.brackets.push({ node, isImage: length === 2, delimiter: this.lastDelimiter });
  }

  close() {
    const opener = this.brackets.pop();
    const isActive = opener && (opener.isImage || this.brackets.length >= this.inactiveBelow);
    this.inactiveBelow = Math.min(this.inactiveBelow, this.brackets.length);
    const target = isActive ? destination(this.text, this.at + 1) : null;
    if (target === null) {
      this.literal(1);
      return;
    }
    this.emphasize(opener.delimiter);
    const children = listed(opener.node.next);
    this.tail = opener.node.previous;
    this.tail.next = null;
    const kind = opener.isImage ? "image" : "link";
    this.push({ kind, address: target.address, title: target.title, children });
    this.at = target.end;
    // A link holds no other link.
    if (!opener.isImage) this.inactiveBelow = this.brackets.length;
  }

  // --- emphasis -----------------------------------------------------------------------------

  delimiter(character) {
    const length = runLength(this.text, this.at, character);
    const before = characterBefore(this.text, this.at);
    const after = characterAt(this.text, this.at + length);
    const isLeft = flanks(after, before);
    const isRight = flanks(before, after);
    const isWord = character === "_";
    const node = this.push({ kind: "text", text: character.repeat(length) });
    this.at += length;
    if (character === "~" && length !== 2) return;
    node.delimiter = {
      node,
      character,
      length,
      original: length,
      canOpen: isLeft && (!isWord || !isRight || isPunctuation(before)),
      canClose: isRight && (!isWord || !isLeft || isPunctuation(after)),
      previous: this.lastDelimiter,
      next: null,
    };
    if (this.lastDelimiter) this.lastDelimiter.next = node.delimiter;
    this.lastDelimiter = node.delimiter;
  }

  /** Pair the delimiters after *bottom*, and forget them. */
  emphasize(bottom) {
    const floors = new Map();
    let closer = this.lastDelimiter;
    while (closer && closer.previous !== bottom) closer = closer.previous;
    while (closer) {
      if (!closer.canClose) {
        closer = closer.next;
        continue;
      }
      const key = `${closer.character}${closer.canOpen}${closer.original % 3}`;
      const opener = this.openerOf(closer, bottom, floors.get(key) ?? bottom);
      if (opener) {
        closer = this.wrap(opener, closer);
      } else {
        floors.set(key, closer.previous);
        const next = closer.next;
        if (!closer.canOpen) this.forget(closer);
        closer = next;
      }
    }
    this.lastDelimiter = bottom;
    if (bottom) bottom.next = null;
  }

  openerOf(closer, bottom, floor) {
    let opener = closer.previous;
    for (; opener && opener !== bottom && opener !== floor; opener = opener.previous) {
      if (this.stepsLeft-- <= 0) return null;
      if (opener.character === closer.character && opener.canOpen && fit(opener, closer)) {
        return opener;
      }
    }
    return null;
  }

  wrap(opener, closer) {
    const isDeleted = closer.character === "~";
    const used = isDeleted || (opener.length > 1 && closer.length > 1) ? 2 : 1;
    const kind = isDeleted ? "deleted" : used === 2 ? "strong" : "emphasis";
    const first = opener.node.next;
    const last = closer.node.previous;
    const made = { kind, children: [], previous: opener.node, next: closer.node };
    if (first !== closer.node) {
      last.next = null;
      made.children = listed(first);
    }
    opener.node.next = made;
    closer.node.previous = made;
    // Delimiters between the two found no partner.
    opener.next = closer;
    closer.previous = opener;
    this.shorten(opener, used);
    return this.shorten(closer, used) ? closer.next : closer;
  }

  /** Take the used characters away; whether nothing is left. */
  shorten(delimiter, used) {
    delimiter.length -= used;
    delimiter.node.text = delimiter.node.text.slice(used);
    if (delimiter.length > 0) return false;
    this.forget(delimiter);
    return true;
  }

  forget(delimiter) {
    if (delimiter.previous) delimiter.previous.next = delimiter.next;
    if (delimiter.next) delimiter.next.previous = delimiter.previous;
    else if (this.lastDelimiter === delimiter) this.lastDelimiter = delimiter.previous;
  }
}

/** CommonMark's rule of three. */
function fit(opener, closer) {
  if (closer.character === "~" || !(opener.canClose || closer.canOpen)) return true;
  const isMultiple = opener.original % 3 === 0 && closer.original % 3 === 0;
  return isMultiple || (opener.original + closer.original) % 3 !== 0;
}

function listed(first) {
  const nodes = [];
  for (let node = first; node; node = node.next) {
    const last = nodes.at(-1);
    if (node.kind === "text" && last?.kind === "text") last.text += node.text;
    else if (node.kind !== "text") nodes.push(unlinked(node));
    else if (node.text) nodes.push({ kind: "text", text: node.text });
  }
  return nodes;
}

function unlinked({ previous, next, ...node }) {
  return node;
}

function runLength(text, at, character) {
  let end = at;
  while (text[end] === character) end += 1;
  return end - at;
}

/** Where runs of *character* begin, by their length, the last one first. */
function runs(text, character) {
  const places = new Map();
  for (let at = text.indexOf(character); at !== -1; ) {
    const length = runLength(text, at, character);
    if (!places.has(length)) places.set(length, []);
    places.get(length).push(at);
    at = text.indexOf(character, at + length);
  }
  for (const list of places.values()) list.reverse();
  return places;
}

function characterAt(text, at) {
  return at < text.length ? String.fromCodePoint(text.codePointAt(at)) : " ";
}

function characterBefore(text, at) {
  if (at === 0) return " ";
  const isPair = at > 1 && /[\udc00-\udfff]/.test(text[at - 1]);
  return isPair ? text.slice(at - 2, at) : text[at - 1];
}

function isPunctuation(character) {
  return WIDE_PUNCTUATION.test(character);
}

/** Whether a run of delimiters belongs to what stands on its *inner* side. */
function flanks(inner, outer) {
  if (SPACE.test(inner)) return false;
  return !isPunctuation(inner) || SPACE.test(outer) || isPunctuation(outer);
}

/** An address up to the parenthesis that closes one before it. */
function balanced(address) {
  let open = 0;
  for (let at = 0; at < address.length; at += 1) {
    if (address[at] === "(") open += 1;
    else if (address[at] === ")" && open-- === 0) return address.slice(0, at);
  }
  return address;
}

/** Read ``(address "title")`` at *at*; null where there is none. */
function destination(text, at) {
  if (text[at] !== "(") return null;
  const rest = text.slice(at, at + 3000);
  const found =
    /^\(\s{0,20}(?:<([^<>\n]{0,2000})>|((?:[^\s()\\]|\\.|\([^\s()]{0,500}\)){0,2000}))(?:\s{1,20}(?:"([^"\n]{0,500})"|'([^'\n]{0,500})'))?\s{0,20}\)/.exec(
      rest,
    );
  if (!found) return null;
  const address = (found[1] ?? found[2]).replaceAll(/\\([!-/:-@[-`{-~])/g, "$1");
  return { address, title: found[3] ?? found[4] ?? "", end: at + found[0].length };
}
