// What is said about a question and not yet saved: kept in this browser at once, and by the server,
// for another browser, a little later.

import { call } from "./api.js";
import * as store from "./store.js";

const NOTHING = JSON.stringify([[], null]);

/** A correction as the API takes it. */
export function asSent(correction) {
  return correction && { text: correction.text, message: correction.message ?? null };
}

export class Drafts {
  constructor(queueId, person) {
    this.path = `/queues/${queueId}/items`;
    this.start = `draft.${queueId}.${person}.`;
  }

  /** What was kept about an item; null where there is nothing. */
  kept(itemId) {
    return store.kept(this.start + itemId);
  }

  /** Keep what *entry* says, if it is new. */
  save(entry, { keepalive = false } = {}) {
    const text = entry.spoken();
    if (text === (entry.draftSaved ?? NOTHING)) return;
    entry.draftSaved = text;
    const { values } = entry;
    const correction = asSent(entry.correction);
    this.keep(entry.id, { values, correction });
    // It is kept here in any case, and sent again with the next occasion.
    call("PUT", `${this.path}/${entry.id}/draft`, { values, correction }, { keepalive }).catch(() => {
      if (entry.draftSaved === text) entry.draftSaved = null;
    });
  }

  /** Keep {values, correction} in this browser alone. */
  keep(itemId, said) {
    store.keep(this.start + itemId, said);
  }

  forget(itemId) {
    store.forget(this.start + itemId);
  }
}
