// How far a queue is, who answers how fast, and how far the people agree.

import { ROOT, call } from "./api.js";
import { secondsText, timeOf } from "./answers_view.js";
import { element, grouped, plural } from "./dom.js";
import { textElement } from "./shell.js";
import { figure, table } from "./table.js";

const FORMATS = [["csv", "CSV"], ["xlsx", "Excel"], ["jsonl", "JSONL (for programs)"]];
const MEASURES = [
  ["percent", "Same answer", "how often two people said the same"],
  ["cohen_kappa", "Cohen's κ", "beyond chance, for pairs of people"],
  ["krippendorff_alpha", "Krippendorff's α", "beyond chance, for any number of people"],
  ["gwet_ac1", "Gwet's AC1", "beyond chance, steady where nearly all answers are alike"],
];
const NOT_YET = "not known yet";
// Where values have an order, a near miss counts in part.
const ORDERED = [
  ["weighted_kappa", "Weighted κ", "Cohen's κ, where a near miss counts in part"],
  ["gwet_ac2", "Gwet's AC2", "AC1, where a near miss counts in part"],
];

/** Progress and pace of the queue and of each person, and the downloads. */
export async function drawProgress(area, queue) {
  const found = await call("GET", `/queues/${queue.queue_id}/progress`);
  const bar = element("progress", { max: String(Math.max(1, found.items)), class: "wide-progress", "aria-label": "Done" });
  bar.value = found.done;
  const figures = element(
    "dl",
    { class: "figures" },
    figure("Questions done", `${grouped(found.done)} of ${grouped(found.items)}`),
    figure("Answers", `${grouped(found.answers)} of ${grouped(found.answers_needed)}`),
    figure("Pace", perHour(found), found.per_hour === null ? NOT_YET : "all people together"),
    timeLeft(found),
    figure("Questions to you", grouped(found.flags_open), found.flags_open ? "without a reply" : ""),
    figure("Skipped", grouped(found.skips)),
  );
  area.append(bar, figures, downloads(queue), daysOf(found.days), peopleOf(found.people), labelsOf(found.labels));
}

function timeLeft({ eta_seconds: seconds, remaining }) {
  if (remaining === 0) return figure("Time left", "–", "nothing is left to answer");
  return figure("Time left", secondsText(seconds), seconds === null ? NOT_YET : "at this pace");
}

function perHour({ per_hour: pace }) {
  return pace === null ? "–" : `${grouped(Math.round(pace))} an hour`;
}

function downloads(queue) {
  const links = FORMATS.map(([format, text]) => {
    const href = `${ROOT}/tracequill/api/queues/${queue.queue_id}/download?format=${format}`;
    return element("a", { class: "button", href, download: "" }, `Download ${text}`);
  });
  return element("div", { class: "downloads" }, ...links);
}

function daysOf(days) {
  if (days.length === 0) return element("div");
  const most = Math.max(...days.map(({ answers }) => answers), 1);
  const rows = days.slice(-30).map(({ day, answers }) => {
    const bar = barOf(answers, most);
    return [day, grouped(answers), bar];
  });
  return element("section", {}, element("h2", {}, "By day"), table("Answers by day", ["Day", "Answers", "[Share]"], rows));
}

// The number beside it says the same.
function barOf(count, most) {
  const bar = element("progress", { max: String(Math.max(1, most)), "aria-hidden": "true", class: "day-bar" });
  bar.value = count;
  return bar;
}

function peopleOf(people) {
  const section = element("section", {}, element("h2", {}, "People"));
  if (people.length === 0) {
    section.append(element("p", { class: "hint" }, "Nobody has answered yet."));
    return section;
  }
  const columns = ["Name", "Answers", "Seconds each", "An hour", "Skipped", "Asked", "Corrected", "Undone", "Has now", "Last answer"];
  const rows = people.map((one) => [
    textElement("span", { dir: "auto" }, one.name),
    grouped(one.answers),
    secondsText(one.median_seconds),
    one.per_hour === null ? "–" : grouped(Math.round(one.per_hour)),
    grouped(one.skips),
    grouped(one.flags),
    grouped(one.corrections),
    grouped(one.undone),
    grouped(one.leased),
    timeOf(one.last_at),
  ]);
  section.append(table("People", columns, rows));
  return section;
}

function labelsOf(labels) {
  const section = element("section", {}, element("h2", {}, "Labels"));
  for (const { name, counts, mean } of labels) {
    section.append(textElement("h3", { dir: "auto" }, name));
    const isEmpty = !counts && (mean === null || mean === undefined);
    if (counts) {
      const total = Object.values(counts).reduce((sum, count) => sum + count, 0);
      const rows = Object.entries(counts).map(([text, count]) => {
        return [textElement("span", { dir: "auto" }, text), grouped(count), barOf(count, total)];
      });
      if (rows.length) section.append(table(name, ["Value", "Answers", "[Share]"], rows));
    }
    if (mean !== null && mean !== undefined) section.append(element("p", {}, `Mean ${Math.round(mean * 1000) / 1000}`));
    if (isEmpty) section.append(element("p", { class: "hint" }, "Nothing to count: this label is a text, or has no answers yet."));
  }
  return section;
}

/** How far the people agree, for each label and each pair. */
export async function drawAgreement(area, queue) {
  const { labels } = await call("GET", `/queues/${queue.queue_id}/agreement`);
  const words =
    "Agreement can be measured where two or more people have answered the same question. 1 means that they always " +
    "agree, 0 that they agree as often as by chance. In brackets stands the interval, at 95 %, in which more such questions would put it.";
  area.append(element("p", { class: "hint" }, words));
  for (const label of labels) {
    const section = element("section", {}, textElement("h2", { dir: "auto" }, label.name));
    const counted = `${plural(label.items, "question")} answered by several, ${plural(label.people, "person", "people")}`;
    section.append(element("p", { class: "hint" }, counted), agreementOf(label));
    area.append(section);
  }
}

function agreementOf(label) {
  // Where nothing can be said one reason is enough.
  const isEmpty = MEASURES.every(([key]) => (label[key]?.value ?? null) === null);
  if (isEmpty) return element("p", {}, sentence(label.percent?.why ?? "nothing can be said yet."));
  return agreementTable(label);
}

function sentence(text) {
  return text ? text[0].toUpperCase() + text.slice(1) : "–";
}

function agreementTable(label) {
  const measures = label.gwet_ac2 ? [...MEASURES, ...ORDERED] : MEASURES;
  const columns = ["[People]", ...measures.map(([, text]) => text), "Questions"];
  const all = ["All people", ...measures.map(([key]) => shareOf(label[key], key)), grouped(label.items)];
  const pairs = (label.pairs ?? []).map((pair) => [
    textElement("span", { dir: "auto" }, `${pair.a.name ?? pair.a} and ${pair.b.name ?? pair.b}`),
    ...measures.map(([key]) => shareOf(pair[key], key)),
    grouped(pair.items),
  ]);
  return table(`Agreement on ${label.name}`, columns, [all, ...pairs]);
}

function shareOf(share, key) {
  if (!share || share.value === null) return element("span", { class: "hint" }, sentence(share?.why));
  const shown = (number) => (key === "percent" ? `${Math.round(number * 100)} %` : number.toFixed(2));
  // A value can come with a doubt: no interval, or a rough one.
  const made = element("span", { title: share.why ? sentence(share.why) : null }, element("b", {}, shown(share.value)));
  if (share.low !== null && share.high !== null) {
    made.append(element("span", { class: "hint" }, ` (${shown(share.low)} to ${shown(share.high)})`));
  }
  return made;
}
