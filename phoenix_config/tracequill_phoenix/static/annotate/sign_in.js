// Phoenix gives a sign-in that lasts an hour anew where it may; only else is one asked to sign in.

import { refresh } from "./api.js";

const TRIED = "tracequill.refreshed";
const link = document.getElementById("sign-in");
// The server never sees what is behind #, and the page needs it to open the same question again.
link.href += encodeURIComponent(location.hash);

// Renewed and still refused: that would go on for ever.
const last = Number(sessionStorage.getItem(TRIED) ?? 0);
if (Date.now() - last > 10_000 && (await refresh())) {
  sessionStorage.setItem(TRIED, String(Date.now()));
  location.reload();
}
link.focus();
