/**
 * One line that says what happened; errors stay until they are closed.
 */

import { get } from "./elements.js";

const SECONDS = 6;

/** @type {ReturnType<typeof setTimeout> | undefined} */
let timer;

/**
 * @param {string} message
 * @param {"error"} [kind]
 */
export function say(message, kind) {
  const line = get("notice");
  get("notice-text").textContent = message;
  line.classList.toggle("error", kind === "error");
  line.hidden = false;
  clearTimeout(timer);
  if (kind !== "error") timer = setTimeout(unsay, 1000 * SECONDS + 40 * message.length);
}

/** Take the line away. */
export function unsay() {
  get("notice").hidden = true;
}
