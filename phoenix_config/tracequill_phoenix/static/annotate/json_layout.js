// JSON text laid out over lines to be edited, and put back as it was written before: values, numbers
// and their order stay letter for letter what they are.

const STRING_OR_SPACE = /("(?:[^"\\]|\\.)*")|\s+/g;
const STRING_OR_SIGN = /("(?:[^"\\]|\\.)*")|([,:])/g;

const tight = (text) => text.replaceAll(STRING_OR_SPACE, (_, string) => string ?? "");
// As Python writes it.
const spaced = (text) => tight(text).replaceAll(STRING_OR_SIGN, (_, string, sign) => string ?? `${sign} `);

/** *text* over lines and a function that puts such a text back; both do nothing for other texts. */
export function layoutOf(text) {
  const asItIs = { shown: text, back: (typed) => typed };
  const value = parsed(text);
  if (typeof value !== "object" || value === null) return asItIs;
  const shown = JSON.stringify(value, null, 2);
  const write = [tight, spaced].find((one) => one(shown) === text);
  if (!write || shown === text) return asItIs;
  // What is not valid JSON is a draft, and stays as it was typed.
  return { shown, back: (typed) => (parsed(typed) === undefined ? typed : write(typed)) };
}

/** What is wrong with *text* as JSON, as a sentence; empty where it is valid. */
export function jsonProblem(text) {
  try {
    JSON.parse(text);
    return "";
  } catch ({ message }) {
    return `This is not valid JSON: ${whereIn(message, text)}`;
  }
}

// Browsers say it in different words, and some for engineers alone.
function whereIn(message, text) {
  const position = /position (\d+)/.exec(message)?.[1];
  const line = /line (\d+)/.exec(message)?.[1] ?? (position && text.slice(0, Number(position)).split("\n").length);
  const sign = /token '([^'\s])'/.exec(message)?.[1];
  if (sign) return `${sign} stands in a wrong place.`;
  if (line && text.includes("\n")) return `look at line ${line}.`;
  return "a comma, a quotation mark or a bracket is missing or too many.";
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
