/**
 * The colour of each name: the model's choice, or the one that was picked here, which this browser
 * keeps.
 */

const KEY = "escnet.colours";

/** @typedef {import("./sheet.js").Name} Name */

/** @returns {Record<string, string>} */
function picked() {
  try {
    return JSON.parse(localStorage.getItem(KEY) ?? "{}");
  } catch {
    return {}; // written by something else
  }
}

/** @type {Record<string, string>} */
let colours = picked();

/** Such as #4f8ff7. @param {Name} name */
export function colourOf({ name, colour }) {
  return Object.hasOwn(colours, name) ? colours[name] : colour;
}

/** Red, green and blue. @param {Name} name */
export function rgbOf(name) {
  const value = Number.parseInt(colourOf(name).slice(1), 16);
  return [value >> 16, (value >> 8) & 255, value & 255];
}

/**
 * @param {string} name
 * @param {string} colour
 */
export function pickColour(name, colour) {
  colours = { ...colours, [name]: colour };
  localStorage.setItem(KEY, JSON.stringify(colours));
}

/** Whether a colour of these names was picked here. @param {Name[]} names */
export function hasPicked(names) {
  return names.some(({ name }) => Object.hasOwn(colours, name));
}

/** Forget what was picked for these names. @param {Name[]} names */
export function forgetColours(names) {
  const own = new Set(names.map(({ name }) => name));
  colours = Object.fromEntries(Object.entries(colours).filter(([name]) => !own.has(name)));
  localStorage.setItem(KEY, JSON.stringify(colours));
}
