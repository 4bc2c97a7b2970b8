// The list of queues: what waits for me, how far each queue is.

import { call } from "./api.js";
import { button, element, grouped } from "./dom.js";
import { drawBar, main, pageAddress, showError, start, textElement, whoAmI } from "./shell.js";

await start(async () => {
  const me = await whoAmI();
  drawBar({ me });
  await draw(me, false);
});

async function draw(me, isArchived) {
  const queues = await call("GET", `/queues?archived=${isArchived}`);
  const head = element("div", { class: "page-head" }, element("h1", {}, isArchived ? "Archived queues" : "Queues"));
  const other = isArchived ? "Current queues" : "Archived queues";
  const toggle = () => draw(me, !isArchived).catch((error) => showError(error));
  head.append(button(other, { class: "quiet-button" }, toggle));
  if (me.can_create) {
    head.append(element("a", { class: "button primary", href: pageAddress("new") }, "New queue"));
  }
  const page = element("div", { class: "page" }, head);
  if (queues.length === 0) page.append(noQueues(me, isArchived));
  else page.append(element("ul", { class: "queues" }, ...queues.map(cardOf)));
  main.replaceChildren(page);
  main.querySelector(".queue-open")?.focus();
}

function noQueues(me, isArchived) {
  const words = isArchived
    ? "No queue is archived."
    : "A queue is a list of answers to be judged. " +
      (me.can_create ? "Make the first one with New queue." : "Nobody has assigned you to one yet.");
  return element("p", { class: "card nothing" }, words);
}

function cardOf(queue) {
  const card = element("li", { class: "card queue" });
  const name = element("h2", {});
  const address = pageAddress(String(queue.queue_id));
  const canAnswer = queue.may_answer && !queue.archived_at;
  name.append(
    canAnswer
      ? textElement("a", { href: address, dir: "auto" }, queue.name)
      : textElement("span", { dir: "auto" }, queue.name),
  );
  card.append(name, factsOf(queue), progressOf(queue));
  const links = element("div", { class: "queue-links" });
  if (canAnswer && queue.waiting) {
    const words = `Answer ${grouped(queue.waiting)}${queue.waiting >= 1000 ? " or more" : ""}`;
    const link = { class: "button primary queue-open", href: address, "aria-label": `${words}: ${queue.name}` };
    links.append(element("a", link, words));
  } else if (canAnswer) {
    const words = queue.items ? "Nothing waits for you" : "No questions in it yet";
    links.append(element("span", { class: "hint queue-nothing" }, words));
  }
  links.append(element("a", { class: "button", href: `${address}/mine` }, "My answers"));
  if (queue.may_manage) {
    const manage = element("a", { class: "button", href: `${address}/manage` }, "Manage");
    if (queue.questions) manage.append(element("span", { class: "count", title: "questions to you" }, String(queue.questions)));
    links.append(manage);
  }
  card.append(links);
  return card;
}

function factsOf(queue) {
  const facts = [queue.labels.map(({ name }) => name).join(", ")];
  if (queue.project) facts.push(`from ${queue.project}`);
  if (queue.overlap > 1) facts.push(`${queue.overlap} people for each question`);
  return textElement("p", { class: "hint", dir: "auto" }, facts.join(" · "));
}

function progressOf({ items, done, mine }) {
  const bar = element("progress", { max: String(Math.max(1, items)), "aria-label": "Done" });
  bar.value = done;
  const words = `${grouped(done)} of ${grouped(items)} done, ${grouped(mine)} by you`;
  return element("div", { class: "queue-progress" }, bar, element("span", { class: "hint" }, words));
}
