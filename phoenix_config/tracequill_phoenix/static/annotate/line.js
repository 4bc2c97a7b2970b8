// The questions of this page in their order: answered ones, the one that is shown, and those that lie
// ready. It knows neither the server nor elements.

const UNDONE_MAX = 10;
// So many of those that were done stay in memory, to go back to.
const BEHIND_MAX = 50;

/** One question as this page knows it. */
export class Entry {
  constructor(item) {
    this.id = item.item_id;
    this.use(item);
    this.isLost = false;
    this.element = null;
    this.timing = { shown: null, firstKey: null, keys: 0 };
  }

  /** Take *item* as the server gave it; what was said comes from its draft or answer. */
  use(item) {
    this.item = item;
    this.answerId = item.answer?.answer_id ?? null;
    this.state = this.answerId ? "answered" : "open";
    const said = item.draft ?? item.answer;
    this.values = said?.values ?? {};
    this.correction = said?.correction ?? null;
    // What the server has, to see whether anything was changed.
    this.saved = item.answer ? this.spoken() : "";
  }

  /** Whether nothing can be said about it now. */
  get isOff() {
    const isPassed = this.state === "skipped" || this.state === "flagged";
    return isPassed || this.isLost || this.item.conversation === null;
  }

  /** What was said, to be compared. */
  spoken() {
    const values = Object.entries(this.values).sort(([one], [other]) => (one < other ? -1 : 1));
    return JSON.stringify([values, this.correction?.text ?? null]);
  }
}

export class Line {
  entries = [];
  at = -1;
  #done = [];

  get current() {
    return this.entries[this.at] ?? null;
  }

  /** The open ones beside the current one. */
  get ahead() {
    return this.entries.filter((entry, place) => entry.state === "open" && place !== this.at);
  }

  /** The ids of all that are open, the current one among them. */
  get openIds() {
    return this.entries.filter((entry) => entry.state === "open" && !entry.isLost).map(({ id }) => id);
  }

  find(itemId) {
    return this.entries.find(({ id }) => id === itemId) ?? null;
  }

  /** Take in *items*; those with a reply come next. Gives the entries that are new. */
  add(items) {
    const made = [];
    for (const item of items) {
      const known = this.find(item.item_id);
      if (known?.state === "open") {
        known.item.lease = item.lease;
        known.isLost = false;
      } else {
        if (known) this.remove(known);
        const entry = new Entry(item);
        if (item.flag?.reply) this.insertNext(entry);
        else this.entries.push(entry);
        made.push(entry);
      }
    }
    return made;
  }

  insertNext(entry) {
    this.entries.splice(this.at + 1, 0, entry);
  }

  /** Put *entry* where the current one is, which becomes the next. */
  insertHere(entry) {
    const known = this.find(entry.id);
    if (known) this.remove(known);
    const place = Math.max(0, Math.min(this.at, this.entries.length));
    this.entries.splice(place, 0, entry);
    this.at = place;
  }

  remove(entry) {
    const place = this.entries.indexOf(entry);
    if (place < 0) return;
    this.entries.splice(place, 1);
    if (place < this.at) this.at -= 1;
  }

  /** Forget those that lie far behind. */
  trim() {
    const far = this.entries.slice(0, Math.max(0, this.at - BEHIND_MAX));
    for (const entry of far) if (entry.state !== "open") this.remove(entry);
  }

  /** The place of the next open one: after this one, else from the start; -1 where there is none. */
  nextOpen() {
    const isOpen = (entry, place) => entry.state === "open" && !entry.isLost && place !== this.at;
    const after = this.entries.findIndex((entry, place) => place > this.at && isOpen(entry, place));
    return after >= 0 ? after : this.entries.findIndex(isOpen);
  }

  /** Remember that something was done with *entry*, which was *before*. */
  did(entry, kind, before) {
    this.#done.push({ entry, kind, before });
    if (this.#done.length > UNDONE_MAX) this.#done.shift();
  }

  /** The newest thing done, or the newest done with this item; it is done no more. */
  undo(itemId = null) {
    const place = this.#done.findLastIndex(({ entry }) => itemId === null || entry.id === itemId);
    return place < 0 ? null : this.#done.splice(place, 1)[0];
  }
}
