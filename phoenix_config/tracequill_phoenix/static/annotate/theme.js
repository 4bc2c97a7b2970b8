// Light or dark as it is set in Phoenix; before anything is painted.
(() => {
  "use strict";
  let theme = null;
  try {
    theme = (localStorage.getItem("arize-phoenix-theme") ?? "").replaceAll('"', "");
  } catch {
    // Storage is closed to us: the system decides.
  }
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
})();
