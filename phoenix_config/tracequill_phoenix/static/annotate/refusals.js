// What the server did not take of the outbox: the person is told why, and what was said is kept.

import { newId } from "./api.js";
import { notice } from "./shell.js";

export class Refusals {
  constructor(work) {
    this.work = work;
  }

  /** The server refused what was sent. */
  refused(sentEntry, error) {
    const { work } = this;
    const entry = work.line.find(sentEntry.item_id);
    if (entry) entry.isUndoing = false;
    const again = { text: "Open it again", act: () => work.open(sentEntry.item_id) };
    const key = `refused-${sentEntry.item_id}`;
    if (error.code === "already_answered" && sentEntry.kind === "answer") {
      this.#answeredElsewhere(sentEntry, error, key);
      return;
    }
    if (sentEntry.kind === "undo") {
      notice(key, `This could not be undone: ${error.message}`, { kind: "bad", actions: [again] });
      return;
    }
    if (entry) this.#open(entry, sentEntry, error);
    const { values, correction } = sentEntry.body;
    if (values) work.drafts.keep(sentEntry.item_id, { values, correction });
    const why =
      error.code === "lease_lost"
        ? "A question was given to somebody else while you were away, so your answer does not count."
        : error.message;
    const { question } = sentEntry.body;
    // A draft holds labels and a correction.
    const asked = question ? ` You asked: “${question}”` : "";
    const kept = values || correction || !question ? " What you said is kept as a draft." : "";
    notice(key, `${why}${kept}${asked}`, { kind: "bad", actions: [again] });
  }

  // Nothing was done with it after all.
  #open(entry, sentEntry, error) {
    const { line } = this.work;
    line.undo(entry.id);
    entry.isLost = error.code === "lease_lost";
    entry.state = "open";
    entry.answerId = sentEntry.body.replaces ?? null;
    if (entry.isLost && entry !== line.current) line.remove(entry);
  }

  #answeredElsewhere(sentEntry, error, key) {
    const { answer } = error.body;
    if (!answer || answer.answer_id === sentEntry.body.answer_id) return;
    const body = { ...sentEntry.body, answer_id: newId(), replaces: answer.answer_id };
    const { kind, item_id, method, path } = sentEntry;
    const act = () => this.work.outbox.add({ kind, item_id, method, path, body });
    const words = "You have answered this question in another window already. That answer holds.";
    notice(key, words, { kind: "bad", actions: [{ text: "Use the new answer instead", act }] });
  }
}
