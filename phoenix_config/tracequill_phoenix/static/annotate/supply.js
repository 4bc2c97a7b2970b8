// The questions that this page holds: taken ahead, so that the next one is there at once; kept alive
// while it is open; given back when it closes. What is done with them it does not know.

import { ApiError, call } from "./api.js";

const AHEAD = 4;
// What the API takes in one request.
const NAMED_MAX = 100;
const LOOK_AGAIN_MS = 30_000;

export class Supply {
  #taking = null;
  #timer = null;
  #lookAgain = null;

  #adjusted = 0;

  /** *events*: arrived(items), lost(itemIds), state(), alive(), failed(error), unsent(): what the server
   * does not know yet, as [item id, kind]. *held()* gives all item ids. */
  constructor(queue, held, events) {
    this.path = `/queues/${queue.queue_id}`;
    this.seconds = queue.lease_seconds;
    this.held = held;
    this.events = events;
    this.waiting = queue.waiting;
    this.heldByOthers = 0;
    this.isEmpty = false;
    this.lastContact = Date.now();
    document.addEventListener("visibilitychange", () => {
      // A laptop that was closed: what it held may be somebody else's now.
      if (document.visibilityState === "visible" && this.#isOverdue()) this.beat();
    });
    this.#timer = setInterval(() => this.beat(), (this.seconds * 1000) / 3);
  }

  #isOverdue() {
    return Date.now() - this.lastContact > (this.seconds * 1000) / 3;
  }

  /** Take more, if fewer than enough lie *ahead*. */
  fill(ahead) {
    if (ahead >= AHEAD || this.#taking) return this.#taking ?? Promise.resolve();
    return this.take(AHEAD - ahead);
  }

  /** Take up to *count*; or the one item named. */
  take(count, itemId = null) {
    if (this.#taking && itemId === null) return this.#taking;
    clearTimeout(this.#lookAgain);
    const before = this.#taking ?? Promise.resolve();
    const taking = before
      .then(() => this.#lease(count, itemId))
      .catch((error) => this.#failed(error, itemId))
      .finally(() => {
        if (this.#taking === taking) this.#taking = null;
      });
    this.#taking = taking;
    return taking;
  }

  async #lease(count, itemId) {
    const have = this.held().slice(0, NAMED_MAX);
    const since = performance.now();
    const unsent = new Map(this.events.unsent());
    const adjusted = this.#adjusted;
    const body = itemId === null ? { count, have } : { have, item_id: itemId };
    const found = await call("POST", `${this.path}/lease`, body);
    this.lastContact = Date.now();
    this.waiting = Math.max(0, found.waiting + this.#adjusted - adjusted + unknown(unsent, found.lost));
    this.heldByOthers = found.held_by_others ?? 0;
    if (itemId === null) this.isEmpty = found.items.length < count;
    if (found.lost.length) this.events.lost(found.lost, since);
    this.events.arrived(found.items, itemId);
    this.events.state();
    if (this.isEmpty) this.#later();
    return found.items;
  }

  /** Something was answered or passed (-1), or taken back (1). */
  adjust(step) {
    this.#adjusted += step;
    this.waiting = Math.max(0, this.waiting + step);
  }

  #failed(error, itemId) {
    if (!(error instanceof ApiError)) throw error;
    this.events.failed(error, itemId);
    if (error.mayPass) this.#later(4_000);
    return [];
  }

  #later(wait = LOOK_AGAIN_MS) {
    clearTimeout(this.#lookAgain);
    this.#lookAgain = setTimeout(() => this.events.look(), wait);
  }

  /** Say that the page is still there. */
  async beat() {
    const have = this.held().slice(0, NAMED_MAX);
    const since = performance.now();
    if (have.length === 0) return;
    try {
      const found = await call("POST", `${this.path}/heartbeat`, { have });
      this.lastContact = Date.now();
      this.events.alive();
      if (found.lost.length) this.events.lost(found.lost, since);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.events.failed(error, null);
    }
  }

  /** While the page closes: others may have these. */
  release(itemIds) {
    if (itemIds.length === 0) return;
    const body = { have: itemIds };
    call("POST", `${this.path}/release`, body, { keepalive: true }).catch(() => {});
  }
}

// What the server counts as waiting though it is done here, and the other way round.
function unknown(unsent, lost) {
  const gone = new Set(lost);
  let sum = 0;
  for (const [itemId, kind] of unsent) {
    if (kind === "undo") sum += gone.has(itemId) ? 1 : 0;
    else sum -= gone.has(itemId) ? 0 : 1;
  }
  return sum;
}
