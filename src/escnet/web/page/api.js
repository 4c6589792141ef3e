/**
 * The service's routes, as functions. No other module speaks HTTP.
 */

const TOKEN = "escnet.token";
const PARTS = "png,confidence,top";

/** What the service, or the way to it, says against a request. */
export class ServiceError extends Error {
  /**
   * @param {string} message One line: what is wrong and the way out.
   * @param {number} status HTTP's; 0 if there was no answer.
   * @param {number} [wait] Seconds after which to try again; 0 if that is of no use.
   */
  constructor(message, status, wait = 0) {
    super(message);
    this.status = status;
    this.wait = wait;
  }
}

/**
 * @typedef {Object} Settings What moves a pixel, besides the names.
 * @property {boolean} background Add a class for what no name fits.
 * @property {"whole" | "paper" | "native"} windows How the picture is seen.
 * @property {number} min_area Smaller regions go to a neighbour, in pixels.
 * @property {number} fill_holes Holes of up to this many pixels are filled.
 */

/** @param {string} token Kept until the tab is closed. */
export function keepToken(token) {
  sessionStorage.setItem(TOKEN, token);
}

/** The model, the formats of files, and the limits. */
export async function askModels() {
  return (await send("v1/models", { method: "GET" })).json();
}

/**
 * One label for every pixel of a picture.
 * @param {File} picture
 * @param {string} names As typed.
 * @param {Settings} settings
 * @param {AbortSignal} signal Stops the computing, too.
 */
export async function askLabels(picture, names, settings, signal) {
  const form = new FormData();
  form.append("picture", picture);
  form.append("names", names);
  form.append("answer", PARTS);
  for (const [key, value] of Object.entries(settings)) form.append(key, String(value));
  return (await send("v1/segment", { method: "POST", body: form, signal })).json();
}

/**
 * The names of a class list of any tool.
 * @param {Blob} content Of its file.
 * @returns {Promise<Record<string, string[]>>} Each label's queries.
 */
export async function readNames(content) {
  const answer = await send("v1/names", { method: "POST", body: content });
  return (await answer.json()).names;
}

/**
 * Label maps as files of other programs, in a zip.
 * @param {{file: File, labels: Blob}[]} sheets Pictures with their label maps as PNG.
 * @param {string} names
 * @param {Record<string, string>} options Such as formats and background.
 */
export async function askFiles(sheets, names, options) {
  const form = new FormData();
  for (const { file, labels } of sheets) {
    form.append("pictures", file);
    form.append("label_maps", labels, `${file.name}.png`);
  }
  form.append("names", names);
  for (const [key, value] of Object.entries(options)) form.append(key, value);
  return (await send("v1/export", { method: "POST", body: form })).blob();
}

/**
 * @param {string} path
 * @param {RequestInit} request
 */
async function send(path, request) {
  const token = sessionStorage.getItem(TOKEN);
  /** @type {HeadersInit} */
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  let answer;
  try {
    answer = await fetch(path, { ...request, headers });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ServiceError("The service does not answer: is it still running?", 0);
  }
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({}));
  const message = problem.error ?? `The service answered with status ${answer.status}.`;
  throw new ServiceError(message, answer.status, Number(answer.headers.get("Retry-After") ?? 0));
}
