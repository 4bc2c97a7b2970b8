// Every question of a queue: in which state it is, and who has it.

import { callWhole } from "./api.js";
import { button, element } from "./dom.js";
import { select } from "./fields.js";
import { showItem } from "./manage_review.js";
import { showError, textElement } from "./shell.js";
import { table } from "./table.js";

const STATES = { open: "waiting", leased: "being answered", done: "done", flagged: "asked about" };
const OF_PEOPLE = { leased: "has it", answered: "answered", flagged: "asks", returned: "has the reply" };

/** The list of questions, by state. */
export async function drawItems(area, queue) {
  const state = select([["all", "all questions"], ...Object.entries(STATES)]);
  state.setAttribute("aria-label", "State");
  const place = element("div");
  const foot = element("div", { class: "list-foot" });
  let rows = [];
  const load = async (cursor = "") => {
    const query = new URLSearchParams({ state: state.value, limit: "50" });
    if (cursor) query.set("cursor", cursor);
    const { data, next_cursor: next } = await callWhole("GET", `/queues/${queue.queue_id}/items?${query}`);
    rows = [...(cursor ? rows : []), ...data.map((one) => rowOf(one, queue))];
    place.replaceChildren(table("Questions", ["Question", "Answer", "State", "People", "[Conversation]"], rows));
    const more = () => button("Show more", { class: "button" }, () => load(next).catch((error) => showError(error)));
    foot.replaceChildren(next ? more() : rows.length ? "" : element("p", { class: "card nothing" }, noneOf(state.value)));
    place.hidden = rows.length === 0;
  };
  state.addEventListener("change", () => load().catch((error) => showError(error)));
  area.append(element("div", { class: "list-tools" }, state), place, foot);
  await load();
}

function noneOf(state) {
  if (state === "all") return "There are no questions in this queue yet. Add some with Add answers.";
  return "No question is in this state now.";
}

function rowOf(one, queue) {
  const short = (text) => textElement("span", { class: "cell-text", dir: "auto" }, text || "–");
  const people = one.people.map(({ name, state }) => textElement("div", { dir: "auto" }, `${name} ${OF_PEOPLE[state] ?? state}`));
  const show = button("Show", { class: "quiet-button" }, () => showItem(queue, one.item_id));
  return [short(one.question), short(one.answer), STATES[one.state] ?? one.state, element("div", { class: "cell-people" }, ...people), show];
}
