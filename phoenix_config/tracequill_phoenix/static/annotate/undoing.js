// Taking back what was done: here at once where this page did it, else by the server.

import { valueText } from "./answers_view.js";
import { ApiError, call } from "./api.js";
import { startOf } from "./dom.js";
import { Entry } from "./line.js";
import { notice, sayShown, showError } from "./shell.js";
import { undoDialog } from "./work_dialogs.js";

const UNDO_MAX = 10;
const KINDS = { answer: "your answer", skip: "skipped", flag: "asked" };

function sayUndone(kind, values) {
  const said = kind === "answer" ? Object.values(values ?? {}).map(valueText).filter(Boolean) : [];
  const words = startOf(said.join(", "), 60);
  sayShown(`Undone: ${words || KINDS[kind] || "the last"}`);
}

export class Undoing {
  #isAsking = false;
  #inRow = 0;

  constructor(work) {
    this.work = work;
  }

  /** Undo the newest thing done, or the one with this item. */
  async undo(itemId = null) {
    if (this.#isAsking) return;
    const { work } = this;
    // The server refuses it as well, except after skips, of which it keeps nothing that was taken back.
    if (itemId === null && this.#inRow >= UNDO_MAX) {
      notice("undo", `Only the last ${UNDO_MAX} can be undone. Open it from My answers to change it.`, { seconds: 8 });
      return;
    }
    this.#inRow += 1;
    const last = work.line.undo(itemId);
    if (last) {
      this.#takeBack(last);
      return;
    }
    this.#isAsking = true;
    try {
      await work.outbox.flushed();
      const taken = await call("POST", `${work.path}/undo`, { item_id: itemId });
      const { undone, item } = taken;
      work.line.insertHere(new Entry(item));
      work.show(work.line.at);
      work.takenBack(undone === "answer");
      work.doneChanged(taken);
      sayUndone(undone, item.draft?.values);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      notice("undo", error.message, { seconds: 8 });
    } finally {
      this.#isAsking = false;
    }
  }

  #takeBack({ entry, kind, before }) {
    const { work } = this;
    const wasHere = work.outbox.takeBack(entry.id, kind);
    Object.assign(entry, before);
    if (kind === "flag") entry.item.flag = null;
    if (before.state === "open") work.takenBack(kind === "answer");
    if (!wasHere) {
      entry.isUndoing = true;
      const body = { item_id: entry.id };
      work.outbox.add({ kind: "undo", item_id: entry.id, method: "POST", path: `${work.path}/undo`, body });
    }
    work.saveDraft();
    if (!work.line.find(entry.id)) work.line.insertHere(entry);
    work.show(work.line.entries.indexOf(entry));
    work.drawProgress();
    sayUndone(kind, entry.values);
  }

  /** Something new was done. */
  begin() {
    this.#inRow = 0;
  }

  /** Let one choose among the last ten. */
  async choose() {
    await this.work.outbox.flushed();
    try {
      const itemId = await undoDialog(await call("GET", `${this.work.path}/recent`));
      if (itemId !== null) await this.undo(itemId);
    } catch (error) {
      showError(error, "undo");
    }
  }
}
