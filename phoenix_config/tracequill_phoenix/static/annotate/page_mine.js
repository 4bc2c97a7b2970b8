// My answers in a queue: searched, and opened again.

import { QUEUE_ID, callWhole, call } from "./api.js";
import { correctionOf, timeOf, valuesOf } from "./answers_view.js";
import { button, element } from "./dom.js";
import { line, select } from "./fields.js";
import { drawBar, main, pageAddress, showError, start, textElement, whoAmI } from "./shell.js";

const WAIT_MS = 250;
const KINDS = { answer: "Answered", skip: "Skipped", flag: "Asked" };

class MyAnswers {
  #timer = null;
  #asked = 0;

  constructor(queue) {
    this.queue = queue;
    this.search = line({ type: "search", placeholder: "Search in questions, answers and labels", "aria-label": "Search" });
    this.kind = select([["", "all"], ["answer", "answered"], ["skip", "skipped"], ["flag", "asked"]]);
    this.kind.setAttribute("aria-label", "Kind");
    this.list = element("ul", { class: "mine" });
    this.foot = element("div", { class: "list-foot" });
    this.search.addEventListener("input", () => {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.load().catch((error) => showError(error)), WAIT_MS);
    });
    this.kind.addEventListener("change", () => this.load().catch((error) => showError(error)));
    const head = element("div", { class: "page-head" }, element("h1", {}, "My answers"));
    const tools = element("div", { class: "list-tools", role: "search" }, this.search, this.kind);
    main.replaceChildren(element("div", { class: "page" }, head, tools, this.list, this.foot));
  }

  async load(cursor = "") {
    const asked = (this.#asked += 1);
    const query = new URLSearchParams({ search: this.search.value, limit: "50" });
    if (this.kind.value) query.set("kind", this.kind.value);
    if (cursor) query.set("cursor", cursor);
    const { data, next_cursor: next } = await callWhole("GET", `/queues/${QUEUE_ID}/mine?${query}`);
    if (asked !== this.#asked) return;
    const entries = data.map((one) => this.#entryOf(one));
    if (cursor) this.list.append(...entries);
    else this.list.replaceChildren(...entries);
    const more = button("Show more", { class: "button" }, () => this.load(next).catch((error) => showError(error)));
    const words = this.search.value ? "Nothing of yours contains this." : "You have not answered anything here yet.";
    this.foot.replaceChildren(next ? more : this.list.hasChildNodes() ? "" : element("p", { class: "card nothing" }, words));
  }

  #entryOf(one) {
    const open = element("a", { class: "button", href: `${pageAddress(String(QUEUE_ID))}#item=${one.item_id}` }, "Open again");
    const head = element("div", { class: "mine-head" }, element("span", { class: `badge kind-${one.kind}` }, KINDS[one.kind]), timeOf(one.at));
    if (this.queue.may_answer) head.append(open);
    const card = element("li", { class: "card mine-entry" }, head);
    card.append(textElement("p", { class: "preview-question", dir: "auto" }, one.question || "(no question)"));
    card.append(textElement("p", { class: "preview-answer", dir: "auto" }, one.answer || "(no answer)"));
    if (one.values && Object.keys(one.values).length) card.append(valuesOf(one.values, this.queue.labels));
    const correction = correctionOf(one.answer, one.correction);
    if (correction) card.append(correction);
    if (one.flag) {
      card.append(textElement("p", { class: "asked", dir: "auto" }, `You asked: ${one.flag.question}`));
      const said = one.flag.reply ? `Reply: ${one.flag.reply}` : "No reply yet.";
      card.append(textElement("p", { class: "asked", dir: "auto" }, said));
    }
    return card;
  }
}

await start(async () => {
  const me = await whoAmI();
  const queue = await call("GET", `/queues/${QUEUE_ID}`);
  drawBar({ me, queue, here: "mine" });
  const list = new MyAnswers(queue);
  await list.load();
  list.search.focus();
});
