// Adds one link, to /tracequill/, below the last entry of Phoenix's side navigation.
//
// Phoenix draws its navigation with React and may draw it anew at any time, so the document is
// watched. Where the markup is not exactly what is expected, nothing is added or changed.
(() => {
  "use strict";

  const ROOT = window.Config?.basename ?? "";
  const PATH = `${ROOT}/tracequill/`;
  const ID = "tracequill-navigation-link";
  const NAVIGATION = '[data-testid="application-side-navigation"] nav[data-expanded]';
  const ICON =
    '<svg viewBox="0 0 24 24" width="1em" height="1em" fill="none" stroke="currentColor"' +
    ' stroke-width="2" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">' +
    '<path d="M20 4C11 4 6 9 6 18"/><path d="M6 18c8 0 13-4 14-14"/><path d="M6 18l-3 3"/></svg>';

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

  const build = (model) => {
    const item = model.parentElement.cloneNode(false);
    const link = document.createElement("a");
    link.id = ID;
    link.href = PATH;
    link.className = model.className;
    link.classList.remove("active");
    const icon = model.children[0].cloneNode(false);
    icon.innerHTML = ICON;
    const text = model.children[1].cloneNode(false);
    text.textContent = "Tracequill";
    link.append(icon, text);
    item.append(link);
    return item;
  };

  const look = () => {
    // Phoenix's sign-in page went on to ours within Phoenix's own document: load it for real.
    if (window.location.pathname === PATH) {
      window.location.replace(PATH);
      return;
    }
    if (document.getElementById(ID)) return;
    const model = findModel();
    if (model) model.parentElement.parentElement.append(build(model));
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
  lookSoon();
})();
