// Light or dark as it is set in Phoenix, and dark where nothing is, as Phoenix; before anything is
// painted.
(() => {
  "use strict";
  let theme = "";
  try {
    theme = (localStorage.getItem("arize-phoenix-theme") ?? "").replaceAll('"', "");
  } catch {
    // Storage is closed to us.
  }
  if (theme === "system") return;
  document.documentElement.dataset.theme = theme === "light" ? "light" : "dark";
})();
