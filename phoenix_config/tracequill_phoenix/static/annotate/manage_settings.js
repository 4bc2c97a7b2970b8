// What a manager changes: settings, labels and people; more answers; archiving and deleting.

import { ApiError, call } from "./api.js";
import { button, element, grouped } from "./dom.js";
import { labelled, part } from "./fields.js";
import { LabelForm } from "./label_form.js";
import { QueueForm } from "./queue_form.js";
import { SelectionForm } from "./selection_form.js";
import { confirmed, notice, pageAddress, showError } from "./shell.js";

/** The form that changes a queue. */
export async function drawSettings(area, queue) {
  const path = `/queues/${queue.queue_id}`;
  const [known, people] = await Promise.all([call("GET", "/label-configs"), call("GET", "/people")]);
  const settings = new QueueForm(queue, people);
  const labels = new LabelForm(known, queue.labels, () => (problem.textContent = ""));
  const problem = element("p", { class: "problem", role: "alert" });
  const save = button("Save", { class: "button primary" }, async () => {
    problem.textContent = "";
    save.disabled = true;
    try {
      await call("PATCH", path, { name: settings.name.value.trim(), ...settings.given(), labels: labels.given() });
      location.reload();
    } catch (error) {
      if (!(error instanceof ApiError) && error.constructor !== Error) throw error;
      problem.textContent = error.message;
      save.disabled = false;
    }
  });
  area.append(
    part("Name", labelled("Name of the queue", settings.name)),
    part("Labels", labels.area),
    settings.instructionsPart(),
    settings.peoplePart(),
    element("div", { class: "form-foot" }, problem, save),
    endPart(queue, path),
  );
}

function endPart(queue, path) {
  const isArchived = Boolean(queue.archived_at);
  const archive = button(isArchived ? "Take out of the archive" : "Archive", { class: "button" }, async () => {
    try {
      await call("PATCH", path, { archived: !isArchived });
      location.reload();
    } catch (error) {
      showError(error);
    }
  });
  const remove = button("Delete", { class: "button danger", disabled: queue.answers > 0 }, async () => {
    const words = "The queue goes, and its questions with it. What stands in Phoenix stays.";
    if (!(await confirmed(`Delete ${queue.name}?`, words, "Delete"))) return;
    try {
      await call("DELETE", path);
      location.assign(pageAddress());
    } catch (error) {
      showError(error);
    }
  });
  const words =
    "An archived queue takes no more answers; what has been answered stays. " +
    (queue.answers > 0 ? "It has answers, so it cannot be deleted." : "It can be deleted while nobody has answered in it.");
  return part("End", element("p", { class: "hint" }, words), element("div", { class: "downloads" }, archive, remove));
}

/** The form that adds more answers. */
export async function drawAdd(area, queue) {
  const projects = await call("GET", "/projects");
  const add = button("Add", { class: "button primary", disabled: true }, async () => {
    add.disabled = true;
    try {
      const { added, items } = await call("POST", `/queues/${queue.queue_id}/items`, form.given());
      notice("added", `${grouped(added)} added; the queue has ${grouped(items)} questions now.`, { kind: "good" });
      form.refresh();
    } catch (error) {
      showError(error);
      add.disabled = false;
    }
  });
  const form = new SelectionForm({
    projects,
    queue,
    labels: () => queue.labels.map(({ name }) => name),
    changed: (count) => {
      add.textContent = count ? `Add ${grouped(count)}` : "Add";
      add.disabled = !count;
    },
  });
  area.append(form.area, element("div", { class: "form-foot" }, add));
}
