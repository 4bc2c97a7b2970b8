// What has been said and not yet reached the server. Each entry is kept in this browser before the
// next question is painted, sent in order, and forgotten once the server has it. An entry has an id
// of its own, so that sending it twice does it once.

import { ApiError, call } from "./api.js";
import { forget, keep, kept, keysOf } from "./store.js";

const WAIT_MS = [1_000, 2_000, 4_000, 8_000, 15_000, 30_000];
// What a browser lets a page send while it closes.
const KEEPALIVE_CHARACTERS = 60_000;

export class Outbox {
  #start;
  #entries = [];
  #sending = null;
  #failures = 0;
  #timer = null;
  #number = 0;

  /** *events*: changed(), sent(entry, data), refused(entry, error), waiting(error). */
  constructor(queueId, person, events) {
    this.#start = `outbox.${queueId}.${person}.`;
    this.events = events;
    this.isSafe = true;
    for (const key of keysOf(this.#start)) {
      const entry = kept(key);
      if (entry) this.#entries.push({ ...entry, key });
      else forget(key);
    }
    addEventListener("online", () => this.send());
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible") this.send();
    });
  }

  get size() {
    return this.#entries.length;
  }

  /** The items about which something waits here. */
  get itemIds() {
    return this.#entries.map((entry) => entry.item_id);
  }

  /** What waits here, as [item id, kind], the newest last. */
  get kinds() {
    return this.#entries.map((entry) => [entry.item_id, entry.kind]);
  }

  /** Keep an entry {kind, item_id, method, path, body} and send it as soon as may be. */
  add(entry) {
    // By time, so that what another page left behind is sent in its order.
    const place = `${String(Date.now()).padStart(14, "0")}.${String(this.#number++).padStart(6, "0")}`;
    const key = `${this.#start}${place}.${entry.body?.answer_id ?? entry.body?.flag_id ?? entry.kind}`;
    const made = { ...entry, key };
    this.#entries.push(made);
    this.isSafe = keep(key, entry) && this.isSafe;
    this.events.changed();
    this.send();
    return made;
  }

  /** Take the newest entry of *kind* about an item back; whether it had not been sent yet. */
  takeBack(itemId, kind) {
    const entry = this.#entries.findLast((one) => one.item_id === itemId && one.kind === kind);
    if (!entry || entry === this.#sending || entry.wasSent) return false;
    this.#drop(entry);
    return true;
  }

  /** Send what waits, one after the other; later again where the server cannot be reached. */
  async send() {
    clearTimeout(this.#timer);
    if (this.#sending) return;
    while (this.#entries.length) {
      const entry = this.#entries[0];
      this.#sending = entry;
      try {
        const data = await call(entry.method, entry.path, entry.body);
        this.#failures = 0;
        this.#drop(entry);
        this.events.sent(entry, data);
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        entry.wasSent = true;
        if (this.#waits(error)) {
          if (error.status === 500) this.#letOthersGo(entry);
          return;
        }
        this.#drop(entry);
        this.events.refused(entry, error);
      } finally {
        this.#sending = null;
      }
    }
  }

  #waits(error) {
    // Without a sign-in or a name nothing is lost either: it waits for them.
    const isAsked = error.status === 401 || error.code === "name_needed";
    if (!error.mayPass && !isAsked) return false;
    const wait = WAIT_MS[Math.min(this.#failures, WAIT_MS.length - 1)];
    this.#failures += 1;
    // Many pages that lost the same server must not come back at one moment.
    this.#timer = setTimeout(() => this.send(), wait * (0.75 + Math.random() / 2));
    this.events.waiting(error);
    return true;
  }

  /** What the server stumbles over must not hold up the rest, but for what is about the same item. */
  #letOthersGo(entry) {
    const isOfItem = (one) => one.item_id === entry.item_id;
    const others = this.#entries.filter((one) => !isOfItem(one));
    this.#entries = [...others, ...this.#entries.filter(isOfItem)];
  }

  /** While the page closes: send what fits, and keep all of it for the next time. */
  sendOnLeaving() {
    let left = KEEPALIVE_CHARACTERS;
    for (const entry of this.#entries) {
      // All else may be sent twice; undoing twice would take back what was said before it.
      if (entry.kind === "undo") return;
      left -= JSON.stringify(entry.body ?? null).length;
      if (left < 0) return;
      call(entry.method, entry.path, entry.body, { keepalive: true }).catch(() => {});
    }
  }

  /** Wait until everything sent so far is there; false when it does not get through now. */
  async flushed() {
    while (this.#entries.length) {
      const before = this.#failures;
      if (this.#sending) await new Promise((resolve) => setTimeout(resolve, 20));
      else await this.send();
      if (this.#failures > before) return false;
    }
    return true;
  }

  #drop(entry) {
    this.#entries = this.#entries.filter((one) => one !== entry);
    forget(entry.key);
    this.events.changed();
  }
}
