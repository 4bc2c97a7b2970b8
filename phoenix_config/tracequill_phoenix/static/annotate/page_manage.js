// The manager's pages of a queue, one below each tab.

import { ApiError, QUEUE_ID, call } from "./api.js";
import { button, copy, element } from "./dom.js";
import { labelled, line } from "./fields.js";
import { drawItems } from "./manage_items.js";
import { drawAdd, drawSettings } from "./manage_settings.js";
import { drawAgreement, drawProgress } from "./manage_progress.js";
import { drawDisagreements, drawQuestions } from "./manage_review.js";
import { drawBar, main, pageAddress, questionsCount, start, textElement, whoAmI } from "./shell.js";

const TABS = [
  ["progress", "Progress", drawProgress],
  ["questions", "Questions to you", drawQuestions],
  ["items", "All questions", drawItems],
  ["agreement", "Agreement", drawAgreement],
  ["disagreements", "Disagreements", drawDisagreements],
  ["add", "Add answers", drawAdd],
  ["settings", "Settings", drawSettings],
];

await start(async () => {
  const me = await whoAmI();
  const queue = await call("GET", `/queues/${QUEUE_ID}`);
  drawBar({ me, queue, here: "manage" });
  if (!queue.may_manage) {
    main.replaceChildren(element("p", { class: "card centered" }, "Only the manager of this queue sees this page."));
    return;
  }
  const tabs = element("div", { class: "manage-tabs", role: "tablist", "aria-label": "Manage" });
  const panel = element("div", { class: "manage-panel", role: "tabpanel", id: "manage-panel", tabindex: "-1" });
  const title = textElement("h1", { class: "off-screen", dir: "auto" }, `Manage ${queue.name}`);
  main.replaceChildren(element("div", { class: "page" }, title, addressOf(queue), tabs, panel));
  for (const [name, text] of TABS) tabs.append(tabOf(name, text, queue));
  tabs.addEventListener("keydown", (event) => moveFocus(event, tabs));
  addEventListener("hashchange", () => show(queue, tabs, panel));
  await show(queue, tabs, panel);
});

/** What one gives to the people who answer. */
function addressOf(queue) {
  const address = new URL(pageAddress(String(queue.queue_id)), location.href).href;
  const field = line({ value: address, readonly: true, dir: "ltr" });
  field.addEventListener("focus", () => field.select());
  const copying = button("Copy", { class: "button", "aria-label": "Copy the address" }, (event) => copy(address, event.currentTarget));
  const row = element("div", { class: "address-row" }, field, copying);
  const area = labelled("Address for the people who answer", row);
  area.classList.add("address");
  return area;
}

function tabOf(name, text, queue) {
  const tab = element("a", { href: `#${name}`, role: "tab", class: "tab", "aria-controls": "manage-panel", id: `tab-${name}` }, text);
  if (name === "questions") tab.append(" ", questionsCount(queue.questions));
  return tab;
}

function moveFocus(event, tabs) {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!step) return;
  const all = [...tabs.children];
  const next = all[(all.indexOf(document.activeElement) + step + all.length) % all.length];
  next.focus();
  next.click();
}

async function show(queue, tabs, panel) {
  const wanted = location.hash.slice(1);
  const [name, text, draw] = TABS.find(([one]) => one === wanted) ?? TABS[0];
  for (const tab of tabs.children) {
    const isHere = tab.id === `tab-${name}`;
    tab.setAttribute("aria-selected", String(isHere));
    tab.tabIndex = isHere ? 0 : -1;
    // Where it is narrow they do not all fit.
    if (isHere) tab.scrollIntoView({ block: "nearest", inline: "nearest" });
  }
  panel.setAttribute("aria-labelledby", `tab-${name}`);
  panel.replaceChildren(element("p", { class: "loading" }, `${text} …`));
  const drawing = element("div", { class: "manage-content" });
  try {
    await draw(drawing, queue);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    const again = button("Try again", { class: "button" }, () => show(queue, tabs, panel));
    drawing.replaceChildren(element("section", { class: "card nothing" }, textElement("p", {}, error.message), again));
  }
  // Another tab may have been chosen meanwhile.
  if ((location.hash.slice(1) || TABS[0][0]) === (wanted || TABS[0][0])) panel.replaceChildren(drawing);
}
