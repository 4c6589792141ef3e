/**
 * Keys of the whole page. Those of one letter can be switched off, and never act while someone
 * types.
 */

import { get } from "./elements.js";

const KEY = "escnet.single-keys";

/** Add the keys to the page. @param {Record<string, () => void>} actions Of each key. */
export function addKeys(actions) {
  const box = /** @type {HTMLInputElement} */ (get("single-keys"));
  box.checked = localStorage.getItem(KEY) !== "off";
  box.addEventListener("change", () => localStorage.setItem(KEY, box.checked ? "on" : "off"));
  addEventListener("keydown", (event) => {
    const name = `${event.ctrlKey || event.metaKey ? "Ctrl+" : ""}${event.key}`;
    const isTyping =
      event.target instanceof Element &&
      event.target.matches("input:not([type=range]), textarea, select");
    const isDialog = document.querySelector("dialog[open]") !== null;
    const isSingle = event.key.length === 1 && !name.startsWith("Ctrl+");
    if (event.altKey || isTyping || isDialog || !(name in actions) || (isSingle && !box.checked))
      return;
    event.preventDefault();
    actions[name]();
  });
}
