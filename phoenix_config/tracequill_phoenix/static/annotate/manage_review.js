// What a manager decides: questions that people ask, and questions on which they disagree.

import { call, callWhole } from "./api.js";
import { correctionOf, timeOf, valuesOf } from "./answers_view.js";
import { renderConversation } from "./conversation.js";
import { appendText, button, element, keyHint } from "./dom.js";
import { select, tick } from "./fields.js";
import { commandOf, isComposing } from "./keys.js";
import { Labels } from "./labels.js";
import { dialog, drawQuestionsCount, notice, showError, textElement } from "./shell.js";

// --- questions ------------------------------------------------------------------------------------

/** The questions that people ask, and a field for the reply to each. */
export async function drawQuestions(area, queue, isOpen = true) {
  const flags = await call("GET", `/queues/${queue.queue_id}/flags?open=${isOpen}`);
  const redraw = (open) => {
    area.replaceChildren();
    drawQuestions(area, queue, open).catch((error) => showError(error));
  };
  const words = isOpen ? "Show those with a reply, too" : "Show only those without a reply";
  area.append(element("div", { class: "list-head" }, button(words, { class: "quiet-button" }, () => redraw(!isOpen))));
  const none = isOpen ? "No question waits for a reply." : "Nobody has asked anything.";
  if (flags.length === 0) area.append(element("p", { class: "card nothing" }, none));
  const list = element("ul", { class: "mine" });
  for (const flag of flags) list.append(questionOf(flag, queue));
  area.append(list);
}

function questionOf(flag, queue) {
  const card = element("li", { class: "card mine-entry" });
  const head = element("div", { class: "mine-head" }, textElement("b", { dir: "auto" }, flag.name), timeOf(flag.asked_at));
  head.append(button("Show the conversation", { class: "quiet-button" }, () => showItem(queue, flag.item_id)));
  card.append(head, textElement("p", { class: "asked", dir: "auto" }, flag.question));
  const { question, answer } = flag.conversation_preview;
  card.append(textElement("p", { class: "preview-question", dir: "auto" }, question || "(no question)"));
  card.append(textElement("p", { class: "preview-answer", dir: "auto" }, answer || "(no answer)"));
  if (flag.reply) card.append(textElement("p", { class: "asked replied", dir: "auto" }, `${nameOf(flag.replied_by)}: ${flag.reply}`));
  else card.append(replyForm(card, flag, queue));
  return card;
}

function nameOf(who) {
  return who?.name ?? who ?? "Reply";
}

function replyForm(card, flag, queue) {
  const field = element("textarea", { class: "field", rows: "2", dir: "auto", "aria-label": `Reply to ${flag.name}` });
  const others = tick("Give the question to somebody else");
  const send = async () => {
    const reply = field.value.trim();
    if (!reply) {
      field.focus();
      return;
    }
    sender.disabled = true;
    try {
      const path = `/queues/${queue.queue_id}/flags/${flag.flag_id}/reply`;
      const answered = await call("POST", path, { reply, give_to_others: others.input.checked });
      form.replaceWith(textElement("p", { class: "asked replied", dir: "auto" }, `You: ${answered.flag.reply}`));
      queue.questions = Math.max(0, queue.questions - 1);
      drawQuestionsCount(queue.questions);
      notice("replied", `The question goes back to ${others.input.checked ? "the others" : flag.name}.`, { seconds: 4 });
    } catch (error) {
      sender.disabled = false;
      showError(error);
    }
  };
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey) || isComposing(event)) return;
    event.preventDefault();
    if (!event.repeat) send();
  });
  const sender = button("Reply", { class: "button primary" }, send);
  const form = element("div", { class: "reply" }, field, element("div", { class: "reply-foot" }, others.area, sender));
  return form;
}

/** Show the conversation of an item. */
export async function showItem(queue, itemId) {
  try {
    const { conversation } = await call("GET", `/queues/${queue.queue_id}/items/${itemId}`);
    await dialog("Conversation", (form, close) => {
      form.append(conversation ? renderConversation(conversation) : element("p", {}, "It has been deleted."));
      form.append(element("div", { class: "dialog-buttons" }, button("Close", { class: "button" }, () => close())));
    }, { isWide: true });
  } catch (error) {
    showError(error);
  }
}

// --- disagreements -----------------------------------------------------------------------------------

/** The questions on which people disagree; one decides what holds. */
export async function drawDisagreements(area, queue) {
  const label = select([["", "all labels"], ...queue.labels.map(({ name }) => [name, name])]);
  label.setAttribute("aria-label", "Label");
  const resolved = tick("Show those that are decided, too");
  const list = element("ul", { class: "mine" });
  const foot = element("div", { class: "list-foot" });
  const load = async (cursor = "") => {
    const query = new URLSearchParams({ limit: "50", resolved: String(resolved.input.checked) });
    if (label.value) query.set("label", label.value);
    if (cursor) query.set("cursor", cursor);
    const { data, next_cursor: next } = await callWhole("GET", `/queues/${queue.queue_id}/disagreements?${query}`);
    const entries = data.map((one) => disagreementOf(one, queue));
    if (cursor) list.append(...entries);
    else list.replaceChildren(...entries);
    const none = element("p", { class: "card nothing" }, noneOf(queue, resolved.input.checked));
    const more = () => button("Show more", { class: "button" }, () => load(next).catch((error) => showError(error)));
    foot.replaceChildren(next ? more() : list.hasChildNodes() ? "" : none);
  };
  const reload = () => load().catch((error) => showError(error));
  label.addEventListener("change", reload);
  resolved.input.addEventListener("change", reload);
  area.append(element("div", { class: "list-tools" }, label, resolved.area), list, foot);
  await load();
}

function disagreementOf(one, queue) {
  const card = element("li", { class: "card mine-entry" });
  const head = element("div", { class: "mine-head" }, textElement("span", { class: "badge" }, one.labels.join(", ")));
  head.append(button("Show the conversation", { class: "quiet-button" }, () => showItem(queue, one.item_id)));
  card.append(head, textElement("p", { class: "preview-question", dir: "auto" }, one.question || "(no question)"));
  card.append(textElement("p", { class: "preview-answer", dir: "auto" }, one.answer || "(no answer)"));
  const place = element("div", { class: "consensus" });
  const draw = (consensus) => {
    place.replaceChildren();
    if (consensus) {
      place.append(textElement("b", {}, `Decided by ${nameOf(consensus.decided_by)}`), valuesOf(consensus.values, queue.labels));
      if (consensus.reason) place.append(textElement("p", { class: "hint", dir: "auto" }, consensus.reason));
    }
    const words = consensus ? "Decide anew" : "Decide";
    place.append(button(words, { class: "button" }, async () => {
      const decided = await decide(one, queue, consensus);
      if (decided) draw(decided);
    }));
  };
  draw(one.consensus);
  card.append(answersOf(one, queue), place);
  return card;
}

/** Who said what. */
function answersOf(one, queue) {
  const list = element("ul", { class: "answers" });
  for (const answer of one.answers) {
    const name = textElement("b", { dir: "auto" }, answer.name);
    const entry = element("li", {}, name, valuesOf(answer.values, queue.labels));
    const correction = correctionOf(null, answer.correction);
    if (correction) entry.append(correction);
    list.append(entry);
  }
  return list;
}

function noneOf(queue, isResolved) {
  if (queue.overlap < 2) return "Each question is judged by one person, so there is nothing to disagree about.";
  return isResolved ? "People have not disagreed so far." : "No disagreement is open.";
}

function decide(one, queue, consensus) {
  return dialog("Decide what holds", (form, close) => {
    const labels = new Labels(queue.labels, { changed: () => {}, picked: () => {}, hasArrows: true });
    labels.show(consensus?.values ?? agreed(one.answers));
    const reason = element("textarea", { class: "field", rows: "2", dir: "auto", "aria-label": "Reason", placeholder: "Why (optional)" });
    reason.value = consensus?.reason ?? "";
    const problem = element("p", { class: "problem", role: "alert" });
    const save = async () => {
      const missing = labels.missing();
      labels.problems(missing);
      const wrong = labels.wrong();
      problem.textContent = "";
      if (wrong.length) appendText(problem, wrong.join(" "));
      if (missing.length || wrong.length) return;
      const body = { values: labels.given(), correction: consensus?.correction ?? null, reason: reason.value.trim() };
      try {
        close(await call("PUT", `/queues/${queue.queue_id}/items/${one.item_id}/consensus`, body));
      } catch (error) {
        problem.textContent = error.message;
      }
    };
    const acts = {
      save,
      digit: (digit) => labels.digit(digit),
      reason: () => labels.openReason(),
      "label-before": () => labels.move(-1),
      "label-after": () => labels.move(1),
    };
    // The same keys as where one answers.
    form.addEventListener("keydown", (event) => {
      const command = commandOf(event);
      if (!Object.hasOwn(acts, command?.name ?? "")) return;
      event.preventDefault();
      if (!event.repeat) acts[command.name](command.digit);
    });
    const question = textElement("p", { class: "preview-question", dir: "auto" }, one.question || "(no question)");
    const saver = button("Save ", { class: "button primary" }, save);
    saver.append(keyHint("Enter"));
    form.append(question, answersOf(one, queue), labels.area, reason, problem, element("div", { class: "dialog-buttons" },
      button("Cancel", { class: "button" }, () => close()), saver));
  });
}

/** The values that all have given alike. */
function agreed(answers) {
  const [first, ...rest] = answers;
  const alike = Object.entries(first?.values ?? {}).filter(([name, value]) =>
    rest.every((other) => JSON.stringify(other.values?.[name]) === JSON.stringify(value)),
  );
  return Object.fromEntries(alike);
}
