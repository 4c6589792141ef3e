/**
 * Names and settings in the page's address, behind the "#", so that a colleague who opens it sees
 * the same. What is as it always is stands there not at all.
 */

import { DEFAULT_LOOKS, DEFAULT_SETTINGS } from "./state.js";

/** @typedef {import("./state.js").State} State */

/** @param {State} state */
export function linkOf(state) {
  const values = new URLSearchParams();
  const example = state.current?.example;
  if (example) values.set("example", example);
  if (state.names.trim()) values.set("names", state.names);
  for (const [own, usual] of /** @type {const} */ ([
    [state.settings, DEFAULT_SETTINGS],
    [state.looks, DEFAULT_LOOKS],
  ])) {
    for (const [key, value] of Object.entries(own)) {
      if (value !== /** @type {any} */ (usual)[key]) values.set(key, String(value));
    }
  }
  return values.toString();
}

/**
 * Take names and settings from an address.
 * @param {State} state
 * @param {string} hash
 * @returns {string} The example that it names, or "".
 */
export function follow(state, hash) {
  const values = new URLSearchParams(hash.replace(/^#/, ""));
  state.setSettings(read(values, DEFAULT_SETTINGS));
  state.setLooks(read(values, DEFAULT_LOOKS));
  if (values.has("names")) state.setNames(values.get("names") ?? "");
  return values.get("example") ?? "";
}

/**
 * Values of the kinds that the usual ones have; what makes no sense stays as usual.
 * @template {Object} Values
 * @param {URLSearchParams} values
 * @param {Values} usual
 * @returns {Values}
 */
function read(values, usual) {
  /** @type {any} */
  const all = { ...usual };
  for (const [key, value] of Object.entries(usual)) {
    const text = values.get(key);
    if (text === null) continue;
    if (typeof value === "boolean") all[key] = text === "true";
    else if (typeof value === "number") all[key] = withinRange(Number(text), key, value);
    else if (["whole", "paper", "native"].includes(text)) all[key] = text;
  }
  return all;
}

/** @type {(number: number, key: string, usual: number) => number} */
function withinRange(number, key, usual) {
  const isFraction = key in DEFAULT_LOOKS;
  const isFit = isFraction ? number >= 0 && number <= 1 : Number.isInteger(number) && number >= 0;
  return isFit ? number : usual;
}
