// The REST API as a function. In comes a path below /tracequill/api, out comes what is below "data";
// whatever goes wrong is an ApiError with a sentence for the person.

export const ROOT = document.documentElement.dataset.root ?? "";
export const QUEUE_ID = Number(document.documentElement.dataset.queue) || null;

const BASE = `${ROOT}/tracequill/api`;
const TIMEOUT_MS = 30_000;

/** What the server refused (status above 0), or that it could not be reached (status 0). */
export class ApiError extends Error {
  constructor(status, body) {
    super(sentence(status, body));
    this.status = status;
    this.code = body?.code ?? "";
    this.body = body ?? {};
  }

  /** Whether the same request may succeed later. */
  get mayPass() {
    return [0, 408, 425, 429, 507].includes(this.status) || (this.status >= 500 && this.status !== 501);
  }
}

function sentence(status, body) {
  const detail = typeof body?.detail === "string" ? body.detail : "";
  if (detail) return detail[0].toUpperCase() + detail.slice(1);
  if (status === 0) return "The server cannot be reached.";
  if (status === 401) return "Your sign-in has ended.";
  if (status === 404) return "This is not here, or not for you.";
  if (status >= 500) return `Something went wrong on the server (${status}). Please try again in a while.`;
  return `The server answered ${status}.`;
}

/** Call the API; all of the answer's JSON. *options*: body, keepalive, signal. */
export async function callWhole(method, path, options = {}) {
  let answer = await send(method, path, options);
  if (answer.status === 401 && !options.keepalive && (await refresh())) {
    answer = await send(method, path, options);
  }
  const text = await bodyOf(answer);
  const body = parsed(text);
  if (!answer.ok) throw new ApiError(answer.status, body);
  // Something between the server and here answered in its place, such as a sign-in to a network.
  if (text && body === null) throw new ApiError(0, null);
  return body;
}

/** Call the API; what is below "data". */
export async function call(method, path, body, options = {}) {
  return (await callWhole(method, path, { ...options, body }))?.data ?? null;
}

async function send(method, path, { body, keepalive = false, signal } = {}) {
  const headers = body === undefined ? {} : { "Content-Type": "application/json" };
  const stop = signal ?? AbortSignal.timeout(TIMEOUT_MS);
  try {
    return await fetch(BASE + path, {
      method,
      headers,
      keepalive,
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: "same-origin",
      redirect: "error",
      signal: keepalive ? undefined : stop,
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(0, null);
  }
}

async function bodyOf(answer) {
  try {
    return await answer.text();
  } catch {
    throw new ApiError(0, null);
  }
}

function parsed(text) {
  try {
    return text ? JSON.parse(text) : null;
  } catch {
    return null;
  }
}

let refreshing = null;

/** Have Phoenix renew the sign-in; whether it did. */
export function refresh() {
  refreshing ??= fetch(`${ROOT}/auth/refresh`, { method: "POST", credentials: "same-origin" })
    .then((answer) => answer.ok, () => false)
    .finally(() => (refreshing = null));
  return refreshing;
}

/** Where one signs in and comes back to this very page. */
export function signInAddress() {
  const here = location.pathname.slice(ROOT.length) + location.search + location.hash;
  return `${ROOT}/login?returnUrl=${encodeURIComponent(here)}`;
}

/** An id that nobody else makes; also where the page came without https. */
export function newId() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
