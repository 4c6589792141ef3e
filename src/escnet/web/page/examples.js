/**
 * The page of examples: each picture is answered by the running model, and leads to the page where
 * its names can be changed.
 */

import { askLabels, ServiceError } from "./api.js";
import { colourOf, rgbOf } from "./colours.js";
import { get, make } from "./elements.js";
import { addLook } from "./look.js";
import { drawOverlay } from "./overlay.js";
import { loadPicture, loadSamples, nameOf } from "./samples.js";
import { Sheet } from "./sheet.js";
import { DEFAULT_SETTINGS } from "./state.js";
import { View } from "./view.js";

const OPACITY = 0.6;
const LEAST_SHARE = 0.005; // of a name that is worth telling

/** @typedef {import("./samples.js").Sample} Sample */

addLook(get("look"));
const samples = await loadSamples();
const cards = samples.map(cardOf);
get("cards").append(...cards);
for (const [at, sample] of samples.entries()) {
  if (!(await answer(sample, cards[at]))) break;
}
for (const wheel of document.querySelectorAll(".spinner")) wheel.remove();

/** @param {Sample} sample */
function cardOf(sample) {
  const link = new URLSearchParams({ example: nameOf(sample), names: sample.names });
  const picture = make(
    "a",
    { class: "picture", href: `./#${link}`, "aria-label": `Open ${sample.title}` },
    make("img", { src: `examples/${sample.file}`, alt: "", loading: "lazy" }),
    make("span", { class: "spinner" }),
  );
  const licence = make("a", { href: sample.licence_page, rel: "noreferrer" }, sample.licence);
  return make(
    "li",
    {},
    picture,
    make(
      "div",
      { class: "about" },
      make("h3", {}, sample.title),
      make("div", { class: "chips" }),
      make("p", { class: "hint" }, `By ${sample.by}, `, licence),
    ),
  );
}

/**
 * @param {Sample} sample
 * @param {HTMLElement} card
 * @returns {Promise<boolean>} Whether it is of use to go on.
 */
async function answer(sample, card) {
  const file = await loadPicture(sample);
  try {
    const answer = await askLabels(
      file,
      sample.names,
      DEFAULT_SETTINGS,
      AbortSignal.timeout(120_000),
    );
    show(await Sheet.of(answer, sample.names), card);
    return true;
  } catch (error) {
    const isClosed = error instanceof ServiceError && error.status === 401;
    const message = error instanceof Error ? error.message : String(error);
    get("model").textContent = isClosed
      ? "Open the page Label once to give this service its token."
      : message;
    return false;
  }
}

/**
 * @param {Sheet} sheet
 * @param {HTMLElement} card
 */
function show(sheet, card) {
  const image = new ImageData(sheet.width, sheet.height);
  drawOverlay(image, sheet, new View(), 1, {
    colours: sheet.names.map(rgbOf),
    modes: sheet.names.map(() => "fill"),
    outlines: false,
    opacity: OPACITY,
    threshold: 0,
  });
  const canvas = make("canvas", { width: String(sheet.width), height: String(sheet.height) });
  /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d")).putImageData(image, 0, 0);
  card.querySelector(".spinner")?.replaceWith(canvas);
  const counts = sheet.counts(0);
  const chips = sheet.names
    .filter((_, label) => counts[label] > LEAST_SHARE * sheet.labels.length)
    .map((entry) => {
      const dot = make("span", { class: "dot" });
      dot.style.backgroundColor = colourOf(entry);
      return make("span", {}, dot, entry.name);
    });
  card.querySelector(".chips")?.append(...chips);
  get("model").textContent = `Answers by the model ${sheet.model}.`;
}
