// How far the queue is, asked of the server every few seconds while somebody is here: others answer as
// well. What this person does is counted by whoever does it, and told here, so that an answer of the
// server that may or may not hold it is not believed.

import { ApiError, call } from "./api.js";

const READ_MS = 5_000;
const AGAIN_MS = 1_000;
// Whoever has done nothing for so long is perhaps not here; then it is asked more rarely.
const HERE_MS = 120_000;
const READ_AWAY_MS = 30_000;

export class Figures {
  #timer = null;
  #changes = 0;
  #readAt = Date.now();
  #seenAt = Date.now();

  /** *isSettled()*: whether the server knows all that was done here; *found(figures)*: what it says. */
  constructor(queue, { isSettled, found }) {
    this.path = `/queues/${queue.queue_id}/figures`;
    this.isSettled = isSettled;
    this.found = found;
  }

  start() {
    for (const kind of ["keydown", "pointermove", "wheel"]) {
      addEventListener(kind, () => (this.#seenAt = Date.now()), { passive: true });
    }
    document.addEventListener("visibilitychange", () => this.#later(0));
    this.#later(READ_MS);
  }

  /** Something was counted here. */
  changed() {
    this.#changes += 1;
  }

  #later(wait) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#look(), wait);
  }

  async #look() {
    const now = Date.now();
    const isDue = now - this.#seenAt < HERE_MS || now - this.#readAt >= READ_AWAY_MS;
    const isRead = document.visibilityState !== "visible" || !isDue || (await this.#read());
    this.#later(isRead ? READ_MS : AGAIN_MS);
  }

  /** Whether what the server says was believed, or cannot be had now. */
  async #read() {
    if (!this.isSettled()) return false;
    const before = this.#changes;
    try {
      const found = await call("GET", this.path);
      if (this.#changes !== before || !this.isSettled()) return false;
      this.#readAt = Date.now();
      this.found(found);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
    }
    return true;
  }
}
