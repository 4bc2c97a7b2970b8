// A conversation as elements: what came before, the question, what was looked up, and the answer.
// In comes the JSON of annotate/conversation.py; out comes one element that the page shows.

import { appendText, button, copy, element, grouped } from "./dom.js";
import { folding, renderPart } from "./parts.js";

const ROLES = {
  system: "Instructions",
  user: "User",
  assistant: "Assistant",
  tool: "Tool",
  retriever: "Retrieved documents",
};
// The answer has to be read: it folds late.
const ANSWER_CHARACTERS = 12_000;
const INSTRUCTIONS_CHARACTERS = 350;
// So many messages before the question are shown open.
const HISTORY_OPEN = 2;

/** Draw a conversation; its answer is the element with data-place="answer". */
export function renderConversation(conversation) {
  const area = element("div", { class: "conversation" });
  for (const note of conversation.notes) {
    area.append(element("p", { class: "note", role: "note" }, note));
  }
  appendEarlier(area, conversation.earlier);
  const { before, question, after } = arranged(conversation);
  appendHistory(area, before, conversation.left_out);
  if (question) area.append(messageOf(question, { title: "Question", place: "question" }));
  for (const message of after) area.append(messageOf(message));
  appendDocuments(area, conversation.documents);
  appendAnswers(area, conversation);
  appendTools(area, conversation.tools);
  return area;
}

/** The plain text of an answer in the shape of OpenAI's chat, as annotate/conversation.py has it. */
export function textOf(message) {
  const lines = typeof message.content === "string" && message.content ? [message.content] : [];
  for (const call of message.tool_calls ?? []) {
    lines.push(`${call.function?.name || ""}(${call.function?.arguments || ""})`);
  }
  return lines.join("\n\n");
}

function arranged({ messages, question_at: at }) {
  if (at === null) return { before: [], question: null, after: messages };
  return {
    before: messages.slice(0, at),
    question: messages[at],
    after: messages.slice(at + 1),
  };
}

// --- one message --------------------------------------------------------------------------------

function messageOf(message, { title = "", place = "", limit } = {}) {
  const role = Object.hasOwn(ROLES, message.role) ? message.role : "other";
  const words = title || ROLES[role] || message.role;
  const header = element("header", { class: "message-header" });
  const name = element("h3", { class: "message-role" });
  appendText(name, words);
  header.append(name);
  if (message.name) {
    const who = element("span", { class: "message-name", dir: "auto" });
    appendText(who, message.name);
    header.append(who);
  }
  const attributes = { class: `message message-${role}`, "aria-label": words };
  if (place) Object.assign(attributes, { "data-place": place, tabindex: "-1" });
  const drawn = element("section", attributes, header, bodyOf(message, header, limit));
  return drawn;
}

function bodyOf(message, header, limit) {
  const body = element("div", { class: "message-body" });
  const texts = [];
  for (const part of message.parts) body.append(renderPart(part, { limit, texts }));
  const said = message.parts.filter((part) => part.kind === "text" || part.kind === "json");
  if (said.length && header) header.append(toolsOf(said, texts));
  return body;
}

function toolsOf(said, texts) {
  const tools = element("span", { class: "message-tools" });
  if (texts.length) {
    let isAsWritten = false;
    const words = { class: "quiet-button", "aria-pressed": "false" };
    const control = button("As written", words, () => {
      isAsWritten = !isAsWritten;
      control.setAttribute("aria-pressed", String(isAsWritten));
      for (const draw of texts) draw(isAsWritten);
    });
    tools.append(control);
  }
  const text = () => said.map((part) => part.text).join("\n\n");
  const label = { class: "quiet-button", "aria-label": "Copy this message" };
  tools.append(button("Copy", label, (event) => copy(text(), event.currentTarget)));
  return tools;
}

// --- what stands around the question and the answer -----------------------------------------------

function appendEarlier(area, earlier) {
  if (earlier.length === 0) return;
  const words = `Earlier in this session: ${counted(earlier.length, "question")}`;
  const fill = (inside) => {
    for (const turn of earlier) {
      if (turn.at) inside.append(timeOf(turn.at));
      for (const message of turn.messages) inside.append(messageOf(message));
    }
  };
  area.append(folding(words, { class: "fold history" }, fill));
}

function timeOf(at) {
  const when = new Date(at);
  const text = Number.isNaN(when.getTime()) ? at : when.toLocaleString();
  return element("p", { class: "turn-time" }, element("time", { datetime: at }, text));
}

function appendHistory(area, before, leftOut) {
  let rest = before;
  if (rest[0]?.role === "system") {
    area.append(instructionsOf(rest[0]));
    rest = rest.slice(1);
  }
  if (rest.length === 0 && !leftOut) return;
  const fill = (inside) => {
    if (leftOut) {
      const words = `${counted(leftOut, "older message")} of this conversation: see Phoenix.`;
      inside.append(element("p", { class: "cut-note" }, words));
    }
    for (const message of rest) inside.append(messageOf(message));
  };
  if (rest.length <= HISTORY_OPEN && !leftOut) {
    for (const message of rest) area.append(messageOf(message));
    return;
  }
  const words = `Earlier in this conversation: ${counted(rest.length + leftOut, "message")}`;
  area.append(folding(words, { class: "fold history" }, fill));
}

function instructionsOf(message) {
  const size = message.parts.reduce((sum, part) => sum + (part.size ?? 0), 0);
  if (size <= INSTRUCTIONS_CHARACTERS) return messageOf(message);
  const first = message.parts.find((part) => part.text)?.text.trim().slice(0, 120) ?? "";
  const preview = element("span", { class: "fold-preview", dir: "auto" });
  appendText(preview, first.replaceAll(/\s+/g, " "));
  const title = element("span", {}, element("b", {}, ROLES.system), " ", preview);
  const fill = (inside) => inside.append(bodyOf(message, null));
  return folding(title, { class: "fold instructions" }, fill);
}

function appendDocuments(area, documents) {
  if (documents.length === 0) return;
  const fill = (inside) => {
    for (const part of documents) inside.append(renderPart(part));
  };
  const words = `Looked up for this answer: ${counted(documents.length, "document")}`;
  area.append(folding(words, { class: "fold documents" }, fill, documents.length <= 5));
}

function appendAnswers(area, { answers, answer }) {
  if (answers.length === 0) {
    const empty = element("p", { class: "placeholder" }, "The model gave no answer.");
    const words = { class: "message message-answer", "data-place": "answer", tabindex: "-1" };
    area.append(element("section", { ...words, "aria-label": "Answer" }, empty));
    return;
  }
  const judged = messageOf(answers[0], {
    title: "Answer",
    place: "answer",
    limit: ANSWER_CHARACTERS,
  });
  judged.classList.add("message-answer");
  if (answer.truncated) {
    const words = "It is too long to be corrected here.";
    judged.append(element("p", { class: "cut-note" }, words));
  }
  area.append(judged);
  const others = answers.slice(1);
  if (others.length === 0) return;
  const fill = (inside) => {
    for (const other of others) inside.append(messageOf(other, { title: "Another answer" }));
  };
  area.append(folding(counted(others.length, "other answer"), { class: "fold" }, fill));
}

function appendTools(area, tools) {
  if (tools.length === 0) return;
  const fill = (inside) => {
    for (const tool of tools) {
      const name = element("code", { class: "tool-name" });
      appendText(name, tool.name || "a tool without a name");
      const description = element("p", { dir: "auto" });
      appendText(description, tool.description);
      const parameters = renderPart({ kind: "json", ...tool.parameters });
      inside.append(element("div", { class: "tool" }, name, description, parameters));
    }
  };
  const words = `Tools the assistant could use: ${grouped(tools.length)}`;
  area.append(folding(words, { class: "fold tools" }, fill));
}

function counted(number, noun) {
  return `${grouped(number)} ${noun}${number === 1 ? "" : "s"}`;
}
