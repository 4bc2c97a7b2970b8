// Phoenix gives a sign-in that lasts an hour anew where it may; only else is one asked to sign in.

import { refresh } from "./api.js";

const TRIED = "tracequill.refreshed";
const link = document.getElementById("sign-in");
// The server never sees what is behind #, and the page needs it to open the same question again.
link.href += encodeURIComponent(location.hash);

const last = Number(sessionStorage.getItem(TRIED) ?? 0);
if (Date.now() - last > 60_000) {
  sessionStorage.setItem(TRIED, String(Date.now()));
  if (await refresh()) location.reload();
}
link.focus();
