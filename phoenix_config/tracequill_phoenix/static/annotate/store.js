// What this browser keeps until the server has it: JSON by key in localStorage; in memory, where
// there is no storage or it is full.

const PREFIX = "tracequill.annotate.";
const memory = new Map();

/** Keep *value*; whether it survives the page. */
export function keep(key, value) {
  const text = JSON.stringify(value);
  try {
    localStorage.setItem(PREFIX + key, text);
    memory.delete(key);
    return true;
  } catch {
    memory.set(key, text);
    return false;
  }
}

/** Give what was kept; null where there is nothing. */
export function kept(key) {
  try {
    return JSON.parse(memory.get(key) ?? localStorage.getItem(PREFIX + key));
  } catch {
    return null;
  }
}

/** Keep it no more. */
export function forget(key) {
  memory.delete(key);
  try {
    localStorage.removeItem(PREFIX + key);
  } catch {
    // No storage, nothing in it.
  }
}

/** The keys that begin with *start*. */
export function keysOf(start) {
  const found = new Set([...memory.keys()].filter((key) => key.startsWith(start)));
  try {
    for (let place = 0; place < localStorage.length; place += 1) {
      const key = localStorage.key(place);
      if (key.startsWith(PREFIX + start)) found.add(key.slice(PREFIX.length));
    }
  } catch {
    // No storage, nothing in it.
  }
  return [...found].sort();
}
