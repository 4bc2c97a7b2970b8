// Which answers a queue gets: the form, the filter expression that it means, and a preview with the
// count. Out comes a Selection of the API; nothing is added here.

import { ApiError, call } from "./api.js";
import { button, element, grouped } from "./dom.js";
import { labelled, line, part, propose, select, tick } from "./fields.js";
import { showError, textElement } from "./shell.js";

const WAIT_MS = 400;
const SHOWN = 5;

export class SelectionForm {
  #timer = null;
  #asked = 0;

  /** *labels()* gives the names of the queue's labels; *changed(count|null)* after each preview. */
  constructor({ projects, queue = null, labels, changed }) {
    this.queue = queue;
    this.labels = labels;
    this.changed = changed;
    this.isOwn = false;
    this.count = null;
    this.#makeFields(projects);
    this.area = part("Which answers", this.grid, this.#expression(), this.#previewArea());
    this.area.addEventListener("input", (event) => this.#input(event));
    // More is mostly of the kind that was added last.
    if (queue?.where) this.where.value = queue.where;
    this.#setOwn(Boolean(queue?.where));
    this.#projectChosen();
  }

  #makeFields(projects) {
    const names = projects.map(({ name }) => [name, name]);
    const known = new Set(projects.map(({ name }) => name));
    const first = this.queue?.project && known.has(this.queue.project) ? this.queue.project : (names.find(([name]) => name !== "default") ?? names[0])?.[0];
    this.project = select(names, first);
    this.since = line({ type: "datetime-local" });
    this.until = line({ type: "datetime-local" });
    this.model = line({ placeholder: "any" }, []);
    this.user = line({ placeholder: "any" }, []);
    this.text = line({ placeholder: "a word or sentence" });
    this.which = select([
      ["final_answers", "the final answer to each question"],
      ["every_llm_span", "every answer of the model, also between tools"],
    ], "final_answers");
    this.sample = line({ type: "number", min: "1", step: "1", placeholder: "all" });
    this.unlabelled = tick("Only what nobody has labelled yet");
    this.grid = element(
      "div",
      { class: "form-grid" },
      labelled("Project", this.project),
      labelled("Text contained", this.text, { hint: "in the question or in the answer" }),
      labelled("From", this.since),
      labelled("Until", this.until),
      labelled("Model", this.model),
      labelled("User", this.user),
      labelled("Which of them", this.which),
      labelled("At most, chosen at random", this.sample),
      element("div", { class: "form-field" }, this.unlabelled.area),
      this.model.choices,
      this.user.choices,
    );
    this.project.addEventListener("change", () => this.#projectChosen());
  }

  #expression() {
    this.where = element("textarea", { class: "field mono", rows: "2", spellcheck: "false", dir: "ltr" });
    this.where.placeholder = "everything in the project";
    this.where.addEventListener("blur", () => {
      if (!this.isOwn && this.means) this.where.value = this.means;
    });
    this.problem = element("p", { class: "problem", role: "alert" });
    const back = button("Back to the form's filter", { class: "button" }, () => {
      this.#setOwn(false);
      this.#preview();
    });
    const words = "This filter was written by hand: the fields above that it takes the place of are off.";
    this.own = element("div", { class: "filter-own", role: "status" }, element("p", { class: "hint" }, words), back);
    const hint = "What the fields above mean, as the filter that stands above Phoenix's tables. You may edit it; it then holds in their place. Empty it to have them back.";
    const area = labelled("Filter", this.where, { hint, isWide: true });
    area.append(this.problem, this.own);
    return area;
  }

  /** Whether the filter is written by hand; the fields that it takes the place of are off then. */
  #setOwn(isOwn) {
    this.isOwn = isOwn;
    this.own.hidden = !isOwn;
    const fields = [this.since, this.until, this.model, this.user, this.text, this.unlabelled.input];
    for (const field of fields) field.disabled = isOwn;
  }

  #previewArea() {
    this.result = element("p", { class: "preview-count", role: "status" });
    this.list = element("ul", { class: "preview" });
    return element("div", { class: "preview-area" }, this.result, this.list);
  }

  #input(event) {
    if (event.target === this.where) this.#setOwn(this.where.value.trim() !== "");
    this.changed(null);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#preview(), WAIT_MS);
  }

  /** Preview again, since something outside of it has changed. */
  refresh() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#preview(), WAIT_MS);
  }

  async #projectChosen() {
    this.#preview();
    try {
      const name = encodeURIComponent(this.project.value);
      const { models, users } = await call("GET", `/projects/${name}/facets`);
      propose(this.model, models);
      propose(this.user, users);
    } catch (error) {
      showError(error, "facets");
    }
  }

  /** The Selection of the API. */
  given() {
    const time = (field) => (field.value ? new Date(field.value).toISOString() : null);
    return {
      project: this.project.value,
      since: time(this.since),
      until: time(this.until),
      model: this.model.value.trim() || null,
      user: this.user.value.trim() || null,
      text: this.text.value.trim() || null,
      not_labelled: this.unlabelled.input.checked,
      where: this.isOwn ? this.where.value : null,
      which: this.which.value,
      sample: Number(this.sample.value) || null,
    };
  }

  async #preview() {
    const asked = (this.#asked += 1);
    const body = { ...this.given(), labels: this.labels(), limit: SHOWN };
    if (this.queue) body.queue_id = this.queue.queue_id;
    this.result.textContent = "Counting …";
    let found = null;
    try {
      found = await call("POST", "/selection/preview", body);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (asked !== this.#asked) return;
      this.#refused(error);
      return;
    }
    // A slow answer to an older form says nothing about this one.
    if (asked === this.#asked) this.#show(found);
  }

  #refused(error) {
    this.problem.textContent = error.message;
    this.where.setAttribute("aria-invalid", "true");
    this.result.textContent = "";
    this.list.replaceChildren();
    this.changed(null);
  }

  #show(found) {
    this.problem.textContent = "";
    this.where.removeAttribute("aria-invalid");
    this.means = found.where;
    // Whoever has just emptied it may be about to write another one.
    if (!this.isOwn && document.activeElement !== this.where) this.where.value = found.where;
    this.count = found.count;
    const about = found.counted_all ? "" : "at least ";
    const already = found.already ? ` ${grouped(found.already)} more are in this queue already.` : "";
    const words = found.count
      ? `${about}${grouped(found.count)} ${found.count === 1 ? "answer" : "answers"} will be added.`
      : "Nothing is found.";
    this.result.textContent = words[0].toUpperCase() + words.slice(1) + already;
    this.list.replaceChildren(...found.items.map(previewOf));
    this.changed(found.count);
  }
}

/** A question and its answer in short. */
export function previewOf({ question, answer, asked_at: at, model }) {
  const facts = [at ? new Date(at).toLocaleString() : "", model ?? ""].filter(Boolean).join(" · ");
  return element(
    "li",
    { class: "preview-item" },
    textElement("p", { class: "preview-question", dir: "auto" }, question || "(no question)"),
    textElement("p", { class: "preview-answer", dir: "auto" }, answer || "(no answer)"),
    facts ? textElement("p", { class: "hint" }, facts) : null,
  );
}
