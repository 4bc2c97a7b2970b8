// The work page as elements: conversation to the left, labels and buttons to the right. It draws what
// it is told and says which button was pressed.

import { Correction, isCorrectable } from "./correction.js";
import { renderConversation } from "./conversation.js";
import { appendText, button, element, grouped, keyHint } from "./dom.js";
import { Labels } from "./labels.js";
import { renderMarkdown } from "./markdown.js";
import { drawBar, main, textElement } from "./shell.js";

const SEEN = "instructions.";

export class WorkView {
  /** *act(name, detail)* is called for each button; *changed()* when something was said. */
  constructor({ me, queue, act, changed, picked, store }) {
    this.queue = queue;
    this.act = act;
    this.changed = changed;
    this.store = store;
    this.correction = null;
    this.labels = new Labels(queue.labels, { changed, picked, hasArrows: true });
    this.progress = element("div", { class: "progress" });
    this.saved = element("span", { class: "saved", role: "status" });
    const help = button("?", { class: "button round", "aria-label": "Help", title: "Help (?)" }, () => act("help"));
    drawBar({ me, queue, here: "work", extra: [this.saved, this.progress, help] });
    main.classList.add("work");
    this.#build();
  }

  #build() {
    this.banner = element("div", { class: "banners" });
    this.facts = element("div", { class: "facts" });
    this.place = element("div", { class: "work-place" });
    const title = textElement("h1", { class: "off-screen", dir: "auto" }, this.queue.name);
    const label = { class: "work-conversation", tabindex: "-1", role: "region", "aria-label": "Conversation" };
    const heading = element("h2", { class: "off-screen" }, "Conversation");
    this.scroller = element("div", label, title, this.banner, this.facts, heading, this.place);
    this.problem = element("p", { class: "problem save-problem", role: "alert" });
    this.panel = element("aside", { class: "work-panel", "aria-label": "Your answer" });
    this.panelScroller = element("div", { class: "panel-scroller" }, this.#instructions(), this.labels.area);
    this.panel.append(this.panelScroller, this.#buttons());
    this.empty = element("section", { class: "empty", tabindex: "-1" });
    main.replaceChildren(this.scroller, this.panel, this.empty);
  }

  #instructions() {
    const area = element("div", { class: "instructions-area" });
    if (!this.queue.instructions.trim()) return area;
    const key = `${SEEN}${this.queue.queue_id}`;
    // Where it is narrow they would cover the conversation.
    const isWide = matchMedia("(min-width: 861px)").matches;
    const isNew = isWide && this.store.kept(key) !== this.queue.instructions;
    const inside = element("div", { class: "markdown" });
    inside.append(renderMarkdown(this.queue.instructions));
    const fold = element("details", { class: "fold", open: isNew });
    fold.append(element("summary", {}, element("b", {}, "How to judge")), inside);
    fold.addEventListener("toggle", () => {
      if (!fold.open) this.store.keep(key, this.queue.instructions);
    });
    this.instructionsFold = fold;
    area.append(fold);
    return area;
  }

  #buttons() {
    const one = (name, key, kind = "") =>
      button("", { class: `button ${kind}`, "data-act": name, "aria-keyshortcuts": key }, () => this.act(name));
    const fill = (made, text, key) => {
      made.append(text, " ", keyHint(key));
      return made;
    };
    this.saveButton = fill(one("save", "Enter", "primary save"), "Save and go on", "Enter");
    // In a text of several lines Enter is a new line.
    const key = this.saveButton.lastChild;
    main.addEventListener("focusin", ({ target }) => (key.textContent = target.matches("textarea") ? "Ctrl+Enter" : "Enter"));
    main.addEventListener("focusout", () => (key.textContent = "Enter"));
    this.correctButton = fill(one("correct", "e"), "Correct", "e");
    const rest = element("div", { class: "panel-buttons" });
    rest.append(this.correctButton);
    for (const [name, text, key] of [["flag", "Ask", "f"], ["skip", "Skip", "s"]]) {
      rest.append(fill(one(name, key), text, key));
    }
    const list = { class: "button", "aria-label": "Choose what to undo", title: "Choose what to undo (Shift+u)" };
    const undo = fill(one("undo", "u"), "Undo", "u");
    rest.append(element("div", { class: "undo-row" }, undo, button("⋯", list, () => this.act("undo-list"))));
    const before = button("←", { class: "button", "aria-label": "Question before", title: "Question before (←)" }, () => this.act("item-before"));
    const after = button("→", { class: "button", "aria-label": "Question after", title: "Question after (→)" }, () => this.act("item-after"));
    const save = element("div", { class: "save-row" }, before, this.saveButton, after);
    return element("div", { class: "panel-foot" }, this.problem, save, rest);
  }

  /** Draw a question ahead of its time. */
  prepare(entry) {
    entry.element ??= drawn(entry.item.conversation);
  }

  /** Show *entry*. */
  show(entry) {
    this.prepare(entry);
    this.entry = entry;
    main.classList.remove("is-empty");
    this.place.replaceChildren(entry.element);
    this.#drawFacts(entry.item);
    // Every question begins at the same place, wherever the labels of the one before ended.
    this.panelScroller.scrollTop = 0;
    this.labels.show(entry.values);
    this.#showCorrection(entry, false);
    this.say("");
    const { conversation } = entry.item;
    this.correctButton.disabled = !conversation || !isCorrectable(conversation.answer);
    this.drawState(entry);
    this.#scroll(entry);
    this.scroller.focus({ preventScroll: true });
  }

  #scroll(entry) {
    const start = entry.element.querySelector('[data-place="question"], [data-place="answer"]');
    const isFirst = !start || start.offsetTop < this.scroller.clientHeight / 3;
    this.scroller.scrollTop = isFirst ? 0 : start.offsetTop - 12;
    if (getComputedStyle(main).overflowY !== "hidden") window.scrollTo(0, 0);
  }

  #drawFacts(item) {
    const facts = [];
    const when = new Date(item.asked_at);
    const time = { datetime: item.asked_at, title: "When it was asked" };
    if (!Number.isNaN(when.getTime())) facts.push(element("time", time, when.toLocaleString()));
    if (item.model) facts.push(textElement("span", { title: "Model" }, item.model));
    if (item.user) facts.push(textElement("span", { title: "User", dir: "auto" }, `User ${item.user}`));
    const link = { class: "facts-link", target: "_blank", rel: "noopener" };
    if (item.links?.trace) facts.push(element("a", { ...link, href: item.links.trace }, "Open in Phoenix ↗"));
    if (item.links?.session) facts.push(element("a", { ...link, href: item.links.session }, "Whole session ↗"));
    this.facts.replaceChildren(...facts);
  }

  /** Say what is special about this question, and whether something can be said about it. */
  drawState(entry) {
    this.#drawBanner(entry);
    this.labels.setDisabled(entry.isOff);
    if (this.correction) this.correction.area.inert = entry.isOff;
    this.saveButton.disabled = entry.isOff;
  }

  #drawBanner({ item, state, isLost }) {
    const banners = [];
    if (isLost) {
      const words =
        "You were away for a while, and this question was given to somebody else. " +
        "What you said is kept as a draft.";
      const next = button("Next question", { class: "button" }, () => this.act("leave-lost"));
      banners.push(element("div", { class: "banner banner-bad", role: "alert" }, element("p", {}, words), next));
    }
    if (item.flag) banners.push(flagBanner(item.flag));
    if (state === "answered") {
      const words = "You have answered this. Change it and press Enter to replace your answer.";
      banners.push(element("div", { class: "banner" }, element("p", {}, words)));
    }
    if (state === "skipped" || state === "flagged") {
      const words = state === "skipped" ? "You have skipped this." : "You have asked about this.";
      const back = button("Take it back", { class: "button" }, () => this.act("take-back"));
      banners.push(element("div", { class: "banner" }, element("p", {}, words), back));
    }
    if (item.conversation === null) {
      const words = "This conversation has been deleted. Please skip it.";
      banners.push(element("div", { class: "banner banner-bad" }, element("p", {}, words)));
    }
    this.banner.replaceChildren(...banners);
  }

  /** Say beneath the labels what is missing or wrong. */
  say(text) {
    this.problem.textContent = "";
    if (text) appendText(this.problem, text);
  }

  #showCorrection(entry, isAsked) {
    this.correction?.area.remove();
    this.correction = null;
    const { conversation } = entry.item;
    if (!conversation || !isCorrectable(conversation.answer)) return;
    if (!entry.correction && !isAsked) return;
    this.correction = new Correction(conversation.answer, entry.correction, {
      changed: this.changed,
      removed: () => this.#removeCorrection(entry),
    });
    const answer = entry.element.querySelector('[data-place="answer"]');
    if (answer) answer.after(this.correction.area);
    else entry.element.append(this.correction.area);
  }

  #removeCorrection(entry) {
    entry.correction = null;
    this.#showCorrection(entry, false);
    this.scroller.focus({ preventScroll: true });
    this.changed();
  }

  /** Open the fields that correct the answer, or go to them. */
  correct() {
    if (this.correctButton.disabled) return;
    if (!this.correction) this.#showCorrection(this.entry, true);
    this.correction.focus();
  }

  /** The correction as it is typed; null where there is none. */
  givenCorrection() {
    return this.correction ? this.correction.given() : (this.entry?.correction ?? null);
  }

  toggleInstructions() {
    if (!this.instructionsFold) return;
    this.instructionsFold.open = !this.instructionsFold.open;
    if (this.instructionsFold.open) this.instructionsFold.scrollIntoView({ block: "nearest" });
  }

  /** Leave the text field. */
  leaveText() {
    if (document.activeElement instanceof HTMLElement) document.activeElement.blur();
    this.scroller.focus({ preventScroll: true });
  }

  /** Show that there is no question now. */
  showEmpty(title, text, actions = []) {
    this.entry = null;
    const isNew = this.empty.dataset.shown !== title + text || !main.classList.contains("is-empty");
    this.empty.dataset.shown = title + text;
    main.classList.add("is-empty");
    // The page looks again by itself; that must not take the focus away.
    if (!isNew) return;
    const buttons = actions.map(({ text: words, act, href, kind = "" }) =>
      href
        ? element("a", { class: `button ${kind}`, href }, words)
        : button(words, { class: `button ${kind}` }, act),
    );
    this.empty.replaceChildren(
      element("h1", {}, title),
      element("p", {}, text),
      element("div", { class: "dialog-buttons" }, ...buttons),
    );
    this.empty.focus({ preventScroll: true });
  }

  /** Draw how far the queue is, and how far I am. */
  drawProgress({ items, done, mine, waiting, perHour }) {
    const share = items ? Math.round((100 * done) / items) : 0;
    const bar = element("progress", { max: String(Math.max(1, items)), "aria-label": "Answered by all" });
    bar.value = done;
    const facts = [`${grouped(mine)} by you`, `${grouped(waiting)} waiting`];
    if (perHour) facts.push(`${grouped(perHour)} an hour`);
    const title = `${grouped(done)} of ${grouped(items)} answered by all (${share} %)`;
    const text = element("span", { class: "progress-text" }, facts.join(" · "));
    this.progress.replaceChildren(text, bar);
    this.progress.title = title;
  }

  /** Say how many answers wait here to be saved. */
  drawSaved(size, isAway) {
    this.saved.classList.toggle("is-away", isAway);
    if (isAway) this.saved.textContent = `Not saved yet: ${size}`;
    else this.saved.textContent = size ? "Saving …" : "";
  }
}

function drawn(conversation) {
  return conversation ? renderConversation(conversation) : element("div", { class: "conversation" });
}

function flagBanner(flag) {
  const area = element("div", { class: flag.reply ? "banner banner-good" : "banner" });
  area.append(textElement("p", { dir: "auto" }, `You asked: ${flag.question}`));
  if (flag.reply) {
    const who = flag.replied_by?.name ?? flag.replied_by ?? "The manager";
    area.append(textElement("p", { dir: "auto" }, `${who}: ${flag.reply}`));
  }
  return area;
}
