// The work page: who, which queue, and the keyboard.

import { QUEUE_ID, call } from "./api.js";
import { commandOf, isComposing } from "./keys.js";
import { isDialogOpen, notice, pageAddress, start, whoAmI } from "./shell.js";
import { Work } from "./work.js";

// These may be held down; all others do once what they do.
const MAY_REPEAT = new Set(["label-before", "label-after"]);

await start(async () => {
  const me = await whoAmI();
  const queue = await call("GET", `/queues/${QUEUE_ID}`);
  const work = new Work(me, queue);
  if (!queue.may_answer) {
    const words = queue.archived_at
      ? "This queue is archived: it takes no more answers."
      : "You are not assigned to this queue. Ask its manager to add you.";
    const mine = { text: "My answers", href: pageAddress(`${QUEUE_ID}/mine`) };
    work.view.showEmpty("No questions for you here", words, [mine, { text: "All queues", href: pageAddress() }]);
    return;
  }
  listen(work);
  await work.start();
});

function listen(work) {
  document.addEventListener("keydown", (event) => {
    if (isDialogOpen() || event.defaultPrevented) return;
    if (!event.repeat && !isComposing(event)) work.countKey();
    const command = commandOf(event);
    if (command === null) return;
    event.preventDefault();
    if (event.repeat && !MAY_REPEAT.has(command.name)) return;
    work.act(command.name, event, command.digit);
  });
  addEventListener("pagehide", () => work.leave());
  addEventListener("pageshow", (event) => {
    if (event.persisted) location.reload();
  });
  addEventListener("beforeunload", (event) => {
    if (work.outbox.size > 0 && !work.outbox.isSafe) event.preventDefault();
  });
  addEventListener("hashchange", () => {
    const itemId = Number(/^#item=(\d+)$/.exec(location.hash)?.[1]);
    if (itemId) work.open(itemId);
  });
  addEventListener("error", () => {
    notice("broken", "Something on this page went wrong. What you have saved is kept; please reload.", {
      kind: "bad",
      actions: [{ text: "Reload", act: () => location.reload() }],
    });
  });
}
