// What every page has: the bar at the top, notices, the name that is asked once, dialogs.

import { ROOT, ApiError, call, signInAddress } from "./api.js";
import { appendText, button, element, keyHint, plural } from "./dom.js";
import { isComposing } from "./keys.js";

export const main = document.getElementById("main");

/** Say *text* to those who listen to the page. */
export function say(text) {
  const area = document.getElementById("said");
  area.textContent = "";
  // The same sentence twice is announced only as a change.
  requestAnimationFrame(() => (area.textContent = text));
}

const TOAST_MS = 5_000;
let dropToast = () => {};

/** Show in passing what was done: until the next key, and never in the way. Who listens is told by *spoken*. */
export function sayShown(text, spoken = text) {
  say(spoken);
  dropToast();
  const made = textElement("p", { class: "toast", dir: "auto", "aria-hidden": "true" }, text);
  const onKey = (event) => event.repeat || dropToast();
  const timer = setTimeout(() => dropToast(), TOAST_MS);
  dropToast = () => {
    made.remove();
    clearTimeout(timer);
    document.removeEventListener("keydown", onKey, true);
    dropToast = () => {};
  };
  document.body.append(made);
  document.addEventListener("keydown", onKey, true);
}

/** The address of a page of ours. */
export function pageAddress(path = "") {
  return `${ROOT}/tracequill/annotate/${path}`;
}

/** An element whose text is data. */
export function textElement(tag, attributes, text) {
  const made = element(tag, attributes);
  appendText(made, text);
  return made;
}

/** The bar: where one is, the ways from here, and who one is. *places*: [{path, text, isHere}]. */
export function drawBar({ me, queue = null, here = "", extra = [] }) {
  const bar = document.getElementById("bar");
  const trail = element("nav", { class: "trail", "aria-label": "Where you are" });
  trail.append(
    element("a", { href: `${ROOT}/projects`, class: "trail-phoenix" }, "Phoenix"),
    element("span", { class: "trail-sign", "aria-hidden": "true" }, "/"),
    element("a", { href: pageAddress(), "aria-current": queue || here ? null : "page" }, "Annotate"),
  );
  if (queue) {
    const name = textElement("span", { class: "trail-queue", dir: "auto" }, queue.name);
    trail.append(element("span", { class: "trail-sign", "aria-hidden": "true" }, "/"), name);
    document.title = `${queue.name} · ${document.title}`;
  }
  bar.replaceChildren(trail);
  if (queue) bar.append(tabsOf(queue, here));
  bar.append(element("div", { class: "bar-extra" }, ...extra));
  if (me?.person) bar.append(whoOf(me));
}

function tabsOf(queue, here) {
  const tabs = element("nav", { class: "tabs", "aria-label": "Pages of this queue" });
  const places = [["work", "", "Answer"], ["mine", "/mine", "My answers"]];
  if (queue.may_manage) places.push(["manage", "/manage", "Manage"]);
  for (const [name, path, text] of places) {
    const current = name === here ? "page" : null;
    const link = { href: pageAddress(`${queue.queue_id}${path}`), class: "tab", "aria-current": current };
    tabs.append(element("a", link, text));
    if (name === "manage") tabs.lastChild.append(" ", questionsCount(queue.questions));
  }
  return tabs;
}

/** How many questions to the manager wait for a reply. */
export function questionsCount(number) {
  const made = element("span", { class: "count", "data-count": "questions" });
  fillCount(made, number ?? 0);
  return made;
}

/** Draw that number anew, wherever it stands. */
export function drawQuestionsCount(number) {
  for (const made of document.querySelectorAll('[data-count="questions"]')) fillCount(made, number ?? 0);
}

function fillCount(made, number) {
  made.textContent = String(number);
  made.title = `${plural(number, "question")} to you without a reply`;
  made.hidden = number === 0;
}

function whoOf(me) {
  const name = textElement("span", { class: "who-name", dir: "auto" }, me.person.name || "Signed in");
  const area = element("div", { class: "who" }, name);
  if (!me.authentication) {
    const again = button("Change", { class: "quiet-button", title: "Work under another name" }, async () => {
      if (await askName(me.person.name)) location.reload();
    });
    area.append(again);
  }
  return area;
}

// --- notices ----------------------------------------------------------------------------------------

/** Show a notice; *actions*: [{text, act}]. The same *key* replaces; gives a function that removes. */
export function notice(key, text, { kind = "info", actions = [], seconds = 0 } = {}) {
  const area = document.getElementById("notices");
  dropNotice(key);
  const made = element("div", { class: `notice notice-${kind}`, role: kind === "info" ? "status" : "alert" });
  made.dataset.key = key;
  made.append(textElement("p", {}, text));
  const close = () => made.remove();
  for (const { text: words, act, href } of actions) {
    made.append(
      href
        ? element("a", { class: "button", href }, words)
        : button(words, { class: "button" }, () => {
            close();
            act();
          }),
    );
  }
  made.append(button("×", { class: "quiet-button notice-close", "aria-label": "Close this notice" }, close));
  area.append(made);
  if (seconds) setTimeout(close, seconds * 1000);
  return close;
}

/** Remove the notice of *key*. */
export function dropNotice(key) {
  const area = document.getElementById("notices");
  for (const made of [...area.children]) if (made.dataset.key === key) made.remove();
}

/** Show what went wrong. */
export function showError(error, key = "error") {
  if (!(error instanceof ApiError)) throw error;
  if (error.status === 401) {
    const actions = [{ text: "Sign in", href: signInAddress() }];
    notice(key, "Your sign-in has ended. What you have done is kept here.", { kind: "bad", actions });
    return;
  }
  notice(key, error.message, { kind: "bad", seconds: error.status ? 0 : 10 });
}

// --- dialogs ----------------------------------------------------------------------------------------

let opened = 0;

/** Whether a dialog is open: then keys are its own. */
export function isDialogOpen() {
  return opened > 0;
}

/** Open a dialog; *fill(form, close)* draws it. Gives what close() was called with, or null. */
export function dialog(title, fill, { isWide = false } = {}) {
  const box = element("dialog", { class: isWide ? "dialog wide" : "dialog", "aria-label": title });
  const before = document.activeElement;
  return new Promise((resolve) => {
    let result = null;
    const close = (value = null) => {
      result = value;
      box.close();
    };
    const heading = element("h2", { tabindex: "-1" }, title);
    const form = element("form", { method: "dialog", class: "dialog-form" }, heading);
    form.addEventListener("submit", (event) => event.preventDefault());
    fill(form, close);
    box.append(form);
    box.addEventListener("close", () => {
      opened -= 1;
      box.remove();
      if (before instanceof HTMLElement && before.isConnected) before.focus({ preventScroll: true });
      resolve(result);
    });
    document.body.append(box);
    opened += 1;
    box.showModal();
    // Where nothing asks for it: the top, lest a long dialog opens at its end.
    (form.querySelector("[autofocus]") ?? heading).focus();
    box.scrollTop = 0;
  });
}

/** Ask whether something is to be done that cannot be taken back. */
export function confirmed(title, text, yes) {
  return dialog(title, (form, close) => {
    form.append(
      textElement("p", {}, text),
      element(
        "div",
        { class: "dialog-buttons" },
        // What cannot be taken back is never one careless key away.
        button("Cancel", { class: "button", autofocus: true }, () => close(false)),
        button(yes, { class: "button danger" }, () => close(true)),
      ),
    );
  });
}

/** Ask for a text; Enter accepts, Shift+Enter is a new line. Gives the text or null. */
export function askText(
  title,
  { hint = "", accept = "Send", value = "", isLong = true, check = null, isNeeded = false } = {},
) {
  return dialog(title, (form, close) => {
    const field = element(isLong ? "textarea" : "input", {
      class: "field",
      dir: "auto",
      rows: isLong ? "4" : null,
      type: isLong ? null : "text",
      autocomplete: "off",
      autofocus: true,
      "aria-label": title,
    });
    field.value = value;
    const problem = element("p", { class: "problem", role: "alert" });
    const accepting = button(`${accept} `, { class: "button primary" }, () => done());
    accepting.append(keyHint("Enter"));
    const done = async () => {
      const text = field.value.trim();
      if (!text) {
        problem.textContent = "Please type something first.";
        field.focus();
        return;
      }
      const wrong = check ? await check(text) : null;
      if (wrong) problem.textContent = wrong;
      else close(text);
    };
    field.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || isComposing(event)) return;
      event.preventDefault();
      event.stopPropagation();
      if (!event.repeat) done();
    });
    if (hint) form.append(element("p", { class: "hint" }, hint));
    form.append(
      field,
      problem,
      element(
        "div",
        { class: "dialog-buttons" },
        isNeeded ? null : button("Cancel", { class: "button" }, () => close(null)),
        accepting,
      ),
    );
  });
}

// --- who one is ---------------------------------------------------------------------------------------

async function askName(value = "") {
  const check = async (name) => {
    try {
      await call("PUT", "/me/name", { name });
      return null;
    } catch (error) {
      if (error instanceof ApiError) return error.message;
      throw error;
    }
  };
  const hint = "Your answers are kept under this name. It is asked once in this browser.";
  return askText("What is your name?", { hint, accept: "Start", value, isLong: false, check, isNeeded: !value });
}

/** Who works here; a name is asked where nobody signs in and none is known. */
export async function whoAmI() {
  let me = await call("GET", "/me");
  while (me.needs_name) {
    await askName();
    me = await call("GET", "/me");
  }
  return me;
}

// Nothing can be shown but why, and the ways from here.
function showFailed(error) {
  if (!document.getElementById("bar").hasChildNodes()) drawBar({ me: null, here: "failed" });
  const box = element("section", { class: "card centered" }, textElement("p", {}, error.message));
  const again = button("Try again", { class: "button" }, () => location.reload());
  const all = element("a", { class: "button", href: pageAddress() }, "All queues");
  if (error.status === 401) box.append(element("a", { class: "button primary", href: signInAddress() }, "Sign in"));
  else if (error.status === 404) box.append(all);
  else box.append(again, " ", all);
  main.replaceChildren(box);
}

/** Run a page's start; what goes wrong is shown in its place. */
export async function start(run) {
  try {
    await run();
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    showFailed(error);
  } finally {
    main.setAttribute("aria-busy", "false");
  }
}
