// Adds two links below the last entry of Phoenix's side navigation: to the annotation queues, with
// the number of questions that wait for the reader, and to /tracequill/.
//
// Phoenix draws its navigation with React and may draw it anew at any time, so the document is
// watched. Where the markup is not exactly what is expected, nothing is added or changed.
(() => {
  "use strict";

  const ROOT = window.Config?.basename ?? "";
  const PATH = `${ROOT}/tracequill/`;
  const NAVIGATION = '[data-testid="application-side-navigation"] nav[data-expanded]';
  const ASK_MS = 60_000;
  const ARRIVED_AT = window.location.pathname;
  const LINKS = [
    {
      id: "tracequill-annotate-link",
      text: "Annotate",
      path: `${PATH}annotate/`,
      icon: '<path d="M12 20h9"/><path d="M16.5 3.5a2.1 2.1 0 0 1 3 3L7 19l-4 1 1-4Z"/>',
    },
    {
      id: "tracequill-navigation-link",
      text: "Tracequill",
      path: PATH,
      icon: '<path d="M20 4C11 4 6 9 6 18"/><path d="M6 18c8 0 13-4 14-14"/><path d="M6 18l-3 3"/>',
    },
  ];
  const COUNT_ID = "tracequill-annotate-count";
  let waiting = 0;

  // The entry whose look ours takes: a list item with a link of one icon and one text.
  const findModel = () => {
    const link = document.querySelector(`${NAVIGATION} ul > li > a[href="${ROOT}/apis/graphql"]`);
    const isExpected =
      link?.children.length === 2 &&
      link.children[0].matches("i.icon-wrap") &&
      link.children[1].matches("span.text") &&
      link.parentElement.children.length === 1;
    return isExpected ? link : null;
  };

  const build = (model, { id, text, path, icon }) => {
    const item = model.parentElement.cloneNode(false);
    const link = document.createElement("a");
    link.id = id;
    link.href = path;
    link.className = model.className;
    link.classList.remove("active");
    const picture = model.children[0].cloneNode(false);
    picture.innerHTML =
      '<svg viewBox="0 0 24 24" width="1em" height="1em" fill="none" stroke="currentColor"' +
      ` stroke-width="2" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">${icon}</svg>`;
    const words = model.children[1].cloneNode(false);
    words.textContent = text;
    link.append(picture, words);
    item.append(link);
    return item;
  };

  // Within the text, so that it goes where Phoenix hides the texts.
  const showCount = () => {
    const words = document.querySelector(`#${LINKS[0].id} span.text`);
    if (!words) return;
    const known = document.getElementById(COUNT_ID);
    const text = waiting > 999 ? "999+" : String(waiting || "");
    if (!text) {
      known?.remove();
      return;
    }
    if (known?.textContent === text) return;
    const count = known ?? document.createElement("span");
    count.id = COUNT_ID;
    count.textContent = text;
    count.title = "questions waiting for you";
    count.style.cssText = "font: 12px monospace; margin-inline-start: 8px; opacity: 0.7";
    words.append(count);
  };

  const ask = async () => {
    if (document.visibilityState !== "visible" || !document.getElementById(LINKS[0].id)) return;
    try {
      const answer = await fetch(`${PATH}api/me`, { credentials: "same-origin" });
      waiting = answer.ok ? ((await answer.json()).data?.waiting ?? 0) : 0;
    } catch {
      return; // the server is away; Phoenix says so itself
    }
    showCount();
  };

  const look = () => {
    // Phoenix's sign-in page went on to ours within Phoenix's own document: load it for real. An
    // address below ours that is no page of ours came as this document and would come again.
    const path = window.location.pathname;
    if (path.startsWith(PATH) && path !== ARRIVED_AT) {
      window.location.reload();
      return;
    }
    if (document.getElementById(LINKS[0].id)) return;
    const model = findModel();
    if (!model) return;
    model.parentElement.parentElement.append(...LINKS.map((link) => build(model, link)));
    showCount();
    ask();
  };

  let isDue = false;
  const lookSoon = () => {
    if (isDue) return;
    isDue = true;
    requestAnimationFrame(() => {
      isDue = false;
      look();
    });
  };

  new MutationObserver(lookSoon).observe(document.body, { childList: true, subtree: true });
  document.addEventListener("visibilitychange", ask);
  setInterval(ask, ASK_MS);
  lookSoon();
})();
