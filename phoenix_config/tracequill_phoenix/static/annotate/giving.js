// What a person gives to a question: an answer, a skip, or a question to the manager. Each goes into
// the outbox, and the next question is shown at once.

import { newId } from "./api.js";
import { asSent } from "./drafts.js";
import { askText, say, sayShown } from "./shell.js";

export class Giving {
  constructor(work) {
    this.work = work;
  }

  /** The question something can be given to, or null. */
  get #open() {
    const { isLoading, line } = this.work;
    const entry = line.current;
    return !entry || isLoading || entry.state !== "open" || entry.isLost ? null : entry;
  }

  /** Save the answer and go on; an incomplete one stays, with what is missing said. */
  save(event) {
    const { work } = this;
    const entry = work.line.current;
    if (!entry || work.isLoading) return;
    if (entry.isOff) {
      if (entry.isLost) work.leaveLost(event);
      else if (entry.state !== "open") work.goOn(event);
      return;
    }
    if (this.#isIncomplete()) return;
    work.take();
    const isSame = entry.state === "answered" && entry.spoken() === entry.saved;
    if (!isSame) this.#submit(entry);
    work.line.trim();
    work.goOn(event);
    say(isSame ? "Not changed. Next question." : "Saved. Next question.");
  }

  #isIncomplete() {
    const { labels, correction } = this.work.view;
    const missing = labels.missing();
    labels.problems(missing);
    const wrong = [...labels.wrong(), ...(correction?.wrong() ?? [])];
    const sentences = missing.length ? [`Still missing: ${missing.join(", ")}.`, ...wrong] : wrong;
    this.work.view.say(sentences.join(" "));
    return sentences.length > 0;
  }

  #submit(entry) {
    const { work } = this;
    const now = new Date();
    const { shown, firstKey, keys } = entry.timing;
    const before = { state: entry.state, answerId: entry.answerId, saved: entry.saved };
    const body = {
      answer_id: newId(),
      values: entry.values,
      correction: asSent(entry.correction),
      timing: {
        shown_at: shown.toISOString(),
        first_key_at: firstKey?.toISOString() ?? null,
        submitted_at: now.toISOString(),
        keys,
      },
      replaces: entry.answerId,
    };
    this.#send(entry, "answer", body, before);
    entry.answerId = body.answer_id;
    entry.state = "answered";
    entry.saved = entry.spoken();
    work.answered({ isNew: before.state === "open", seconds: (now - shown) / 1000 });
  }

  #send(entry, kind, body, before) {
    const { work } = this;
    clearTimeout(work.draftTimer);
    const path = `${work.path}/items/${entry.id}/${kind}`;
    work.outbox.add({ kind, item_id: entry.id, method: "POST", path, body });
    work.drafts.forget(entry.id);
    work.line.did(entry, kind, before);
    work.undoing.begin();
  }

  skip(event) {
    const entry = this.#open;
    if (!entry) return;
    this.work.take();
    this.#send(entry, "skip", {}, { state: "open", answerId: null, saved: "" });
    entry.state = "skipped";
    this.work.passed();
    this.work.goOn(event);
    sayShown("Skipped", "Skipped. Next question.");
  }

  /** Ask the manager. */
  async flag(event) {
    const { work } = this;
    const entry = this.#open;
    if (!entry) return;
    const hint =
      "The manager of this queue reads it; with the reply this question comes back to you. Shift+Enter begins a new line.";
    const question = await askText("Ask about this question", { hint });
    if (!question || work.line.current !== entry) return;
    work.take();
    const { values, correction } = entry;
    const body = { flag_id: newId(), question, values, correction: asSent(correction) };
    this.#send(entry, "flag", body, { state: "open", answerId: null, saved: "" });
    entry.item.flag = { question, reply: null };
    entry.state = "flagged";
    work.passed();
    work.goOn(event);
    sayShown("Asked", "Sent. Next question.");
  }
}
