// Taking back what was done: here at once where this page did it, else by the server.

import { ApiError, call } from "./api.js";
import { Entry } from "./line.js";
import { notice, say, showError } from "./shell.js";
import { undoDialog } from "./work_dialogs.js";

export class Undoing {
  #isAsking = false;

  constructor(work) {
    this.work = work;
  }

  /** Undo the newest thing done, or the one with this item. */
  async undo(itemId = null) {
    if (this.#isAsking) return;
    const { work } = this;
    const last = work.line.undo(itemId);
    if (last) {
      this.#takeBack(last);
      return;
    }
    this.#isAsking = true;
    try {
      await work.outbox.flushed();
      const { undone, item } = await call("POST", `${work.path}/undo`, { item_id: itemId });
      work.line.insertHere(new Entry(item));
      work.show(work.line.at);
      if (undone === "answer") work.mine -= 1;
      say("Undone.");
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
    if (kind === "answer" && before.state === "open") work.mine -= 1;
    if (!wasHere) {
      entry.isUndoing = true;
      const body = { item_id: entry.id };
      work.outbox.add({ kind: "undo", item_id: entry.id, method: "POST", path: `${work.path}/undo`, body });
    }
    work.saveDraft();
    if (!work.line.find(entry.id)) work.line.insertHere(entry);
    work.show(work.line.entries.indexOf(entry));
    work.drawProgress();
    say("Undone.");
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
