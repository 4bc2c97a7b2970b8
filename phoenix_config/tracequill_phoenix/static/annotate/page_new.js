// The form that makes a queue. Nothing is made before the button is pressed, which says how much.

import { ApiError, call } from "./api.js";
import { button, element, grouped } from "./dom.js";
import { labelled, part } from "./fields.js";
import { LabelForm } from "./label_form.js";
import { QueueForm } from "./queue_form.js";
import { SelectionForm } from "./selection_form.js";
import { drawBar, main, pageAddress, start, whoAmI } from "./shell.js";

const DEFAULTS = {
  name: "", instructions: "", overlap: 1, order: "newest", members: [], assigned_only: false,
  advance_on_digit: false, lease_seconds: 300, keep_days: null,
};

await start(async () => {
  const me = await whoAmI();
  drawBar({ me, here: "new" });
  const [known, projects, people] = await Promise.all([
    call("GET", "/label-configs"),
    call("GET", "/projects"),
    call("GET", "/people"),
  ]);
  draw(known, projects, people);
});

function draw(known, projects, people) {
  const settings = new QueueForm(DEFAULTS, people);
  const problem = element("p", { class: "problem", role: "alert" });
  const make = button("Make the queue", { class: "button primary" }, () => create());
  const labels = new LabelForm(known, [], () => {
    problem.textContent = "";
    if (selection.unlabelled.input.checked) selection.refresh();
  });
  const selection = new SelectionForm({
    projects,
    labels: () => labels.names(),
    changed: (count) => {
      make.textContent = count ? `Make the queue with ${grouped(count)} ${count === 1 ? "answer" : "answers"}` : "Make the queue";
      make.disabled = count === 0;
    },
  });
  const create = async () => {
    problem.textContent = "";
    make.disabled = true;
    try {
      const name = settings.name.value.trim();
      if (!name) {
        settings.name.focus();
        throw new Error("Please give the queue a name.");
      }
      const body = { name, ...settings.given(), labels: labels.given(), selection: selection.given() };
      const queue = await call("POST", "/queues", body);
      location.assign(pageAddress(`${queue.queue_id}/manage`));
    } catch (error) {
      if (!(error instanceof ApiError) && error.constructor !== Error) throw error;
      problem.textContent = error.message;
      make.disabled = false;
    }
  };
  settings.name.addEventListener("input", () => (problem.textContent = ""));
  const page = element("div", { class: "page form-page" }, element("div", { class: "page-head" }, element("h1", {}, "New queue")));
  page.append(
    part("Name", labelled("Name of the queue", settings.name)),
    selection.area,
    part("Labels", labels.area),
    settings.instructionsPart(),
    settings.peoplePart(),
    element("div", { class: "form-foot" }, problem, element("a", { class: "button", href: pageAddress() }, "Cancel"), make),
  );
  main.replaceChildren(page);
  settings.name.focus();
}
