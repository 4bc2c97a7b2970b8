// Answering: which question is shown, and what a key or button means for it. An answer is kept in
// this browser, the next question painted, and only then the server asked.

import { call, signInAddress } from "./api.js";
import { Drafts } from "./drafts.js";
import { Figures } from "./figures.js";
import { Giving } from "./giving.js";
import { Entry, Line } from "./line.js";
import { Outbox } from "./outbox.js";
import { Pace, afterPaint, measured } from "./pace.js";
import { Refusals } from "./refusals.js";
import { drawQuestionsCount, dropNotice, notice, pageAddress, say, showError, whoAmI } from "./shell.js";
import * as store from "./store.js";
import { Supply } from "./supply.js";
import { Undoing } from "./undoing.js";
import { helpDialog } from "./work_dialogs.js";
import { WorkView } from "./work_view.js";

const DRAFT_WAIT_MS = 1_500;

export class Work {
  constructor(me, queue) {
    this.queue = queue;
    this.person = me.person.person;
    this.path = `/queues/${queue.queue_id}`;
    this.line = new Line();
    this.drafts = new Drafts(queue.queue_id, this.person);
    this.isLoading = true;
    this.mine = queue.mine;
    this.done = queue.done;
    this.pace = new Pace();
    this.giving = new Giving(this);
    this.undoing = new Undoing(this);
    this.refusals = new Refusals(this);
    this.view = new WorkView({
      me,
      queue,
      store,
      act: (name) => this.act(name, null),
      changed: () => this.#changed(),
      picked: (label) => this.#picked(label),
    });
    this.outbox = new Outbox(queue.queue_id, this.person, {
      changed: () => this.#drawSaved(false),
      sent: (entry, data) => this.#sent(entry, data),
      refused: (entry, error) => this.refusals.refused(entry, error),
      waiting: (error) => this.#waiting(error),
    });
    this.figures = new Figures(queue, {
      isSettled: () => this.outbox.size === 0,
      found: (figures) => this.#figuresFound(figures),
    });
    this.supply = new Supply(queue, () => this.#held(), {
      arrived: (items, itemId) => this.#arrived(items, itemId),
      lost: (itemIds, since) => this.#lost(itemIds, since),
      state: () => this.drawProgress(),
      alive: () => dropNotice("server"),
      failed: (error, itemId) => this.#failed(error, itemId),
      look: () => this.supply.fill(this.line.ahead.length),
      unsent: () => this.outbox.kinds,
    });
  }

  /** Begin: send what an earlier page left, open the question of the address, or the first one. */
  async start() {
    this.drawProgress();
    this.figures.start();
    this.outbox.send();
    const itemId = Number(/^#item=(\d+)$/.exec(location.hash)?.[1]) || null;
    if (itemId) await this.open(itemId);
    if (!this.line.current) await this.supply.fill(0);
    else this.supply.fill(this.line.ahead.length);
  }

  /** What is taken must be told apart from what waits to be sent. */
  #held() {
    return [...new Set([...this.line.openIds, ...this.outbox.itemIds])];
  }

  // --- showing ----------------------------------------------------------------------------------------

  /** Show the question at *place*; *event* is the key that asked for it. */
  show(place, event = null) {
    this.line.at = place;
    const entry = this.line.current;
    const draft = this.drafts.kept(entry.id);
    if (draft && entry.state === "open") Object.assign(entry, draft);
    this.isLoading = false;
    this.view.show(entry);
    entry.timing = { shown: new Date(), firstKey: null, keys: 0 };
    afterPaint(() => {
      entry.timing.shown = entry.timing.firstKey ? entry.timing.shown : new Date();
      if (event) measured(event);
      this.#prepare();
    });
    this.supply.fill(this.line.ahead.length);
  }

  /** Draw the next ones while the person reads this one. */
  #prepare() {
    const rest = this.line.ahead.filter((entry) => !entry.element).slice(0, 2);
    const later = window.requestIdleCallback ?? ((act) => setTimeout(act, 50));
    for (const entry of rest) later(() => this.view.prepare(entry), { timeout: 500 });
  }

  /** Show the next open question, or that there is none. */
  goOn(event) {
    const place = this.line.nextOpen();
    if (place >= 0) {
      this.show(place, event);
      return;
    }
    this.line.at = this.line.entries.length;
    this.waitingEvent = event;
    this.#showEmpty();
    this.supply.fill(0);
  }

  #showEmpty() {
    this.isLoading = true;
    const others = this.supply.heldByOthers;
    const actions = [
      { text: "My answers", href: pageAddress(`${this.queue.queue_id}/mine`) },
      { text: "All queues", href: pageAddress() },
    ];
    if (!this.supply.isEmpty) this.view.showEmpty("Loading …", "The next question comes in a moment.");
    else if (others > 0) {
      const held = others === 1 ? "Somebody else is answering the last question" : `Others are answering the last ${others} questions`;
      const words = `${held} of this queue. This page looks again by itself.`;
      this.view.showEmpty("Nothing is free just now", words, actions);
    } else if (this.queue.items === 0) {
      const adding = { text: "Add answers", href: pageAddress(`${this.queue.queue_id}/manage#add`), kind: "primary" };
      const words = "This queue has no questions in it yet. This page looks again by itself.";
      this.view.showEmpty("No questions yet", words, this.queue.may_manage ? [adding, actions[1]] : actions);
    } else {
      const words = "There is no question left for you in this queue. Thank you!";
      this.view.showEmpty("All done", words, actions);
    }
  }

  #arrived(items, itemId) {
    const isWaiting = this.line.current === null;
    const unsent = new Set(this.outbox.itemIds);
    const { current } = this.line;
    const wasLost = current?.isLost;
    const made = this.line.add(items.filter((item) => !unsent.has(item.item_id)));
    dropNotice("server");
    if (wasLost && !current.isLost) this.view.drawState(current);
    const wanted = itemId === null ? (isWaiting ? made[0] : null) : this.line.find(itemId);
    if (wanted) {
      // Whoever had to wait is counted from the key as well.
      this.show(this.line.entries.indexOf(wanted), this.waitingEvent);
      if (isWaiting) say("Question loaded.");
    } else if (isWaiting && itemId === null) this.#showEmpty();
    if (isWaiting) this.waitingEvent = null;
    this.#prepare();
  }

  #lost(itemIds, since) {
    for (const itemId of itemIds) {
      const entry = this.line.find(itemId);
      // What was taken back while the server was asked is this person's again.
      if (entry?.state !== "open" || entry.isUndoing || entry.undoneAt > since) continue;
      if (entry === this.line.current) {
        this.saveDraft();
        entry.isLost = true;
        this.view.drawState(entry);
      } else this.line.remove(entry);
    }
  }

  #failed(error, itemId) {
    if (error.code === "name_needed") {
      whoAmI().then(() => location.reload());
    } else if (error.status === 401 && !this.line.current) {
      const actions = [{ text: "Sign in", href: signInAddress(), kind: "primary" }];
      this.view.showEmpty("You are signed out", "Sign in to go on. What you have done is kept here.", actions);
    } else if (itemId !== null) {
      showError(error, "open");
    } else if (!this.isAway || error.status !== 0) {
      // That the server is away is said already where answers wait for it.
      showError(error, "server");
      if (!error.mayPass && !this.line.current) this.view.showEmpty("This does not work", error.message);
    }
  }

  // --- keys and buttons --------------------------------------------------------------------------------

  /** Do what a key or a button says. */
  act(name, event, digit = null) {
    const actions = {
      save: () => this.giving.save(event),
      digit: () => this.#digit(digit, event),
      skip: () => this.giving.skip(event),
      flag: () => this.giving.flag(event),
      undo: () => this.undoing.undo(),
      "undo-list": () => this.undoing.choose(),
      correct: () => this.line.current?.isOff === false && this.view.correct(),
      reason: () => this.view.labels.openReason(),
      instructions: () => this.view.toggleInstructions(),
      help: () => helpDialog(this.queue),
      "label-before": () => this.view.labels.move(-1),
      "label-after": () => this.view.labels.move(1),
      "item-before": () => this.#step(-1, event),
      "item-after": () => this.#step(1, event),
      "leave-text": () => this.view.leaveText(),
      "take-back": () => this.line.current && this.undoing.undo(this.line.current.id),
      "leave-lost": () => this.leaveLost(event),
    };
    actions[name]?.();
  }

  /** A key was pressed while this question was shown. */
  countKey() {
    const timing = this.line.current?.timing;
    if (!timing) return;
    timing.firstKey ??= new Date();
    timing.keys += 1;
  }

  #digit(digit, event) {
    if (this.isLoading || !this.line.current || this.line.current.isOff) return;
    this.digitEvent = event;
    this.view.labels.digit(digit);
    this.digitEvent = null;
  }

  #picked(label) {
    const isOneKey = this.queue.advance_on_digit && label.kind !== "FREEFORM" && !label.multiple;
    if (isOneKey && this.view.labels.missing().length === 0) this.giving.save(this.digitEvent ?? null);
  }

  #step(step, event) {
    const place = this.line.at + step;
    if (place < 0 || place > this.line.entries.length) return;
    this.take();
    this.saveDraft();
    if (place < this.line.entries.length) this.show(place, event);
    else this.goOn(event);
  }

  /** Go on from a question that is somebody else's now. */
  leaveLost(event) {
    const lost = this.line.current;
    this.goOn(event);
    this.line.remove(lost);
  }

  // --- saying something -----------------------------------------------------------------------------------

  #changed() {
    const entry = this.line.current;
    if (!entry) return;
    this.view.say("");
    clearTimeout(this.draftTimer);
    this.draftTimer = setTimeout(() => this.saveDraft(), DRAFT_WAIT_MS);
  }

  /** Take what is chosen and typed into the entry. */
  take() {
    const entry = this.line.current;
    if (!entry || this.view.entry !== entry) return;
    entry.values = this.view.labels.given();
    entry.correction = this.view.givenCorrection();
  }

  /** Keep what is said about the question that is shown. */
  saveDraft(how) {
    clearTimeout(this.draftTimer);
    const entry = this.line.current;
    if (!entry || entry.state !== "open" || entry.isLost) return;
    this.take();
    this.drafts.save(entry, how);
  }

  /** An answer was given. */
  answered({ isNew, seconds }) {
    if (isNew) this.#count(1);
    this.pace.add(seconds);
    if (isNew) this.passed();
    else this.drawProgress();
  }

  /** A question waits no more. */
  passed() {
    this.supply.adjust(-1);
    this.drawProgress();
  }

  /** What was said is taken back, so that the question waits again. */
  takenBack(isAnswer) {
    if (isAnswer) this.#count(-1);
    this.supply.adjust(1);
    this.drawProgress();
  }

  #count(step) {
    this.mine += step;
    this.figures.changed();
    // With several people for each question only the server knows when one is done.
    if (this.queue.overlap === 1) this.#countDone(step);
  }

  #countDone(step) {
    this.done = Math.min(this.queue.items, Math.max(0, this.done + step));
    this.figures.changed();
    this.drawProgress();
  }

  /** The server has taken an answer, or taken one back: by so many more questions are done. */
  doneChanged({ done_change: step }) {
    if (this.queue.overlap > 1 && step) this.#countDone(step);
  }

  /** Open one certain question: one of mine again, or a free one. */
  async open(itemId) {
    try {
      const item = await call("GET", `${this.path}/items/${itemId}`);
      if (["answered", "skipped", "flagged"].includes(item.state)) {
        const again = await call("POST", `${this.path}/items/${itemId}/open`, {});
        this.line.insertHere(new Entry(again));
        this.show(this.line.at);
      } else await this.supply.take(1, itemId);
    } catch (error) {
      showError(error, "open");
    }
  }

  // --- what the server says ------------------------------------------------------------------------------

  #sent(entry, data) {
    dropNotice("server");
    this.figures.changed();
    this.doneChanged(data ?? {});
    const known = this.line.find(entry.item_id);
    if (entry.kind === "undo" && known) {
      known.isUndoing = false;
      known.undoneAt = performance.now();
      known.item.lease = data.item.lease;
    }
  }

  #waiting(error) {
    this.#drawSaved(true);
    if (error.code === "name_needed") whoAmI().then(() => location.reload());
    else if (error.status === 401) showError(error, "server");
  }

  #drawSaved(isAway) {
    this.isAway = this.outbox.size > 0 && (isAway || this.isAway);
    this.view.drawSaved(this.outbox.size, this.isAway);
    if (this.isAway) {
      const words = this.outbox.isSafe
        ? "Your answers are kept in this browser and saved as soon as the server is there again. Go on."
        : "Your answers are not saved yet, and this browser cannot keep them. Leave this page open.";
      dropNotice("server");
      notice("away", words, { kind: this.outbox.isSafe ? "info" : "bad" });
    } else dropNotice("away");
  }

  #figuresFound({ items, done, mine, questions }) {
    this.queue = { ...this.queue, items, questions };
    this.done = done;
    this.mine = mine;
    drawQuestionsCount(questions);
    this.drawProgress();
  }

  /** Draw how far the queue is, and how far I am. */
  drawProgress() {
    this.view.drawProgress({
      items: this.queue.items,
      done: this.done,
      mine: this.mine,
      waiting: this.supply?.waiting ?? this.queue.waiting,
      perHour: this.pace.perHour,
    });
  }

  /** The page closes: send what fits, give the questions back. */
  leave() {
    this.saveDraft({ keepalive: true });
    this.outbox.sendOnLeaving();
    const busy = new Set(this.outbox.itemIds);
    this.supply.release(this.line.openIds.filter((itemId) => !busy.has(itemId)));
  }
}
