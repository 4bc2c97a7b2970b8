// How fast: from a key to the next question on the screen, and how many answers an hour.

// Breaks are no work.
const ANSWER_SECONDS_MAX = 300;
const ANSWERS_COUNTED = 20;
const ANSWERS_NEEDED = 3;
const MEASURE = "tracequill:key-to-painted";

/** Call *act* once what was drawn is on the screen. */
export function afterPaint(act) {
  requestAnimationFrame(() => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = act;
    port2.postMessage(null);
  });
}

/** Note in the browser's own measures how long after the key of *event* this is. */
export function measured(event) {
  performance.measure(MEASURE, { start: event.timeStamp, end: performance.now() });
}

/** The pace of the last answers. */
export class Pace {
  #seconds = [];

  add(seconds) {
    this.#seconds = [...this.#seconds, Math.min(ANSWER_SECONDS_MAX, seconds)].slice(-ANSWERS_COUNTED);
  }

  /** Answers an hour; 0 while there are too few to say. */
  get perHour() {
    const total = this.#seconds.reduce((sum, seconds) => sum + seconds, 0);
    return this.#seconds.length >= ANSWERS_NEEDED ? Math.round((3600 * this.#seconds.length) / total) : 0;
  }
}
