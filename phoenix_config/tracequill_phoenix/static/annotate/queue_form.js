// What can be set in a queue beside its labels and answers: used where one is made and where one is
// changed.

import { element } from "./dom.js";
import { chips, labelled, line, part, select, tick } from "./fields.js";
import { renderMarkdown } from "./markdown.js";

const WAIT_MS = 200;

export class QueueForm {
  #timer = null;

  /** *queue* gives what is set; *people* whom one may assign. */
  constructor(queue, people) {
    this.people = people;
    this.names = new Map([...people, ...queue.members].map(({ person, name }) => [person, name]));
    this.name = line({ value: queue.name ?? "", required: true, maxlength: "200" });
    this.instructions = element("textarea", { class: "field", rows: "6", dir: "auto" });
    this.instructions.value = queue.instructions;
    this.shown = element("div", { class: "markdown instructions-preview" });
    this.instructions.addEventListener("input", () => {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#drawInstructions(), WAIT_MS);
    });
    this.overlap = line({ type: "number", min: "1", max: "20", step: "1", value: queue.overlap });
    this.order = select([["newest", "newest first"], ["oldest", "oldest first"], ["random", "at random"]], queue.order);
    this.members = chips(queue.members.map(({ person }) => person), {
      placeholder: "a name, then Enter",
      choices: people.map(({ name }) => name),
      shown: (text) => this.names.get(text) ?? text,
    });
    this.only = tick("Only the people assigned may answer", queue.assigned_only);
    this.advance = tick("One key is enough", queue.advance_on_digit, "The number of the last label saves and goes on, without Enter.");
    this.seconds = queue.lease_seconds;
    this.minutes = line({ type: "number", min: "1", max: "1440", step: "1", value: Math.round(queue.lease_seconds / 60) });
    this.days = line({ type: "number", min: "1", step: "1", placeholder: "for ever", value: queue.keep_days ?? "" });
    this.#drawInstructions();
  }

  #drawInstructions() {
    this.shown.replaceChildren(renderMarkdown(this.instructions.value));
    this.shown.hidden = !this.instructions.value.trim();
  }

  /** The part with the instructions. */
  instructionsPart() {
    const hint = "Everybody sees it beside the questions. **two stars** make it bold, a line with - in front is a list.";
    return part("How to judge", labelled("Instructions", this.instructions, { hint }), this.shown);
  }

  /** The part with the people. */
  peoplePart() {
    const grid = element("div", { class: "form-grid" });
    grid.append(
      labelled("People for each question", this.overlap, { hint: "With two or more, agreement can be measured. Nobody sees the others' answers before the question is done." }),
      labelled("Order", this.order),
      labelled("Assigned people", this.members.area, { isWide: true }),
      this.only.area,
      this.advance.area,
      labelled("Minutes a question is kept for one person", this.minutes, { hint: "Counted from when the page was last open." }),
      labelled("Days the answers are kept here", this.days, { hint: "The labels in Phoenix stay." }),
    );
    return part("Who and how", grid);
  }

  /** What is set, as the API has it. */
  given() {
    const byName = new Map(this.people.map(({ person, name }) => [name, person]));
    return {
      instructions: this.instructions.value,
      overlap: Number(this.overlap.value) || 1,
      order: this.order.value,
      members: this.members.texts().map((text) => byName.get(text) ?? text),
      assigned_only: this.only.input.checked,
      advance_on_digit: this.advance.input.checked,
      lease_seconds: this.#leaseSeconds(),
      keep_days: Number(this.days.value) || null,
    };
  }

  /** Seconds can be set by command; whoever does not touch the minutes leaves them as they are. */
  #leaseSeconds() {
    const minutes = Number(this.minutes.value) || 5;
    return minutes === Math.round(this.seconds / 60) ? this.seconds : Math.max(1, minutes) * 60;
  }
}
