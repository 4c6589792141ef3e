/**
 * Puts the page's parts together.
 */

import { askModels, keepToken, ServiceError } from "./api.js";
import { Asker } from "./asker.js";
import { Download } from "./download.js";
import { get, make } from "./elements.js";
import { Gestures } from "./gestures.js";
import { Hover } from "./hover.js";
import { Intake } from "./intake.js";
import { addKeys } from "./keys.js";
import { Legend } from "./legend.js";
import { follow, linkOf } from "./link.js";
import { addLook } from "./look.js";
import { say, unsay } from "./notice.js";
import { Panel } from "./panel.js";
import { loadPicture, loadSamples, nameOf } from "./samples.js";
import { Stage } from "./stage.js";
import { State } from "./state.js";
import { Strip } from "./strip.js";
import { Tools } from "./tools.js";

/** @typedef {import("./samples.js").Sample} Sample */

const LINK_DELAY = 250; // milliseconds

/** @type {ReturnType<typeof setTimeout> | undefined} */
let linkTimer;
const state = new State();
const dialog = (/** @type {string} */ id) => /** @type {HTMLDialogElement} */ (get(id));
const stage = new Stage(state, get("panes"), get("answer"), get("photograph"), say);
const hover = new Hover(state, stage, get("hover"));
const gestures = new Gestures(state, stage, get("panes"), () => hover.update());
const asker = new Asker(state, say, () => dialog("token").showModal());
const download = new Download(state, say);
const tools = new Tools(state, gestures);
new Legend(state);
new Strip(state);
new Panel(state, asker);
new Intake(state, () => asker.ask(), say);

addLook(get("look"));
addButtons();
addKeys({
  h: () => state.setTool({ tool: "hand" }),
  b: () => state.setTool({ tool: "brush" }),
  f: () => state.setTool({ tool: "fill" }),
  x: () => state.setTool({ paint: null }),
  "[": () => tools.grow(0.8),
  "]": () => tools.grow(1.25),
  "+": () => gestures.zoom(1),
  "-": () => gestures.zoom(-1),
  0: () => gestures.fit(),
  s: () => tools.turn("beside"),
  o: () => tools.turn("outlines"),
  d: () => download.open(),
  "?": () => dialog("help").showModal(),
  "Ctrl+z": () => gestures.undo(),
  PageUp: () => state.move(-1),
  PageDown: () => state.move(1),
  Escape: () => asker.cancel(),
  ...Object.fromEntries(
    [...Array(9).keys()].map((place) => [String(place + 1), () => tools.take(place)]),
  ),
});
for (const topic of /** @type {const} */ (["names", "settings", "looks", "current"]))
  state.on(topic, dueLink);
for (const topic of /** @type {const} */ (["pictures", "current", "work"]))
  state.on(topic, showWork);
addEventListener("beforeunload", (event) => {
  if (state.pictures.some(({ sheet }) => sheet && !sheet.isSaved)) event.preventDefault();
});
addEventListener("hashchange", () => open());

let samples = /** @type {Sample[]} */ ([]);
await Promise.all([knock(), loadSamples().then(showSamples)]);
await open();

function addButtons() {
  for (const button of /** @type {NodeListOf<HTMLElement>} */ (
    document.querySelectorAll("[data-chooses]")
  )) {
    button.addEventListener("click", () => get(button.dataset.chooses ?? "").click());
  }
  get("cancel").addEventListener("click", () => asker.cancel());
  get("notice-close").addEventListener("click", unsay);
  get("open-download").addEventListener("click", () => download.open());
  get("open-help").addEventListener("click", () => dialog("help").showModal());
  get("show-all").addEventListener("click", () => {
    state.modes.clear();
    state.tell("looks");
  });
  get("copy-link").addEventListener("click", async () => {
    writeLink();
    try {
      await navigator.clipboard.writeText(location.href);
      say("The link with names and settings is copied. Your photographs are not in it.");
    } catch {
      say("This browser does not let pages copy: take the address from its bar.", "error");
    }
  });
  get("token-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    keepToken(/** @type {HTMLInputElement} */ (get("token-value")).value);
    dialog("token").close();
    if ((await knock()) && asker.due.length && state.names.trim()) asker.ask();
  });
}

/** Learn the formats, and whether a token is needed. @returns {Promise<boolean>} Whether the door is open. */
async function knock() {
  try {
    download.setFormats((await askModels()).formats);
    return true;
  } catch (error) {
    if (error instanceof ServiceError && error.status === 401) dialog("token").showModal();
    else say(error instanceof Error ? error.message : String(error), "error");
    return false;
  }
}

/** @param {Sample[]} all */
function showSamples(all) {
  samples = all;
  get("samples").replaceChildren(
    ...all.slice(0, 5).map((sample) => {
      const picture = make("img", {
        src: `examples/${sample.file}`,
        alt: sample.title,
        loading: "lazy",
      });
      const button = make(
        "button",
        { type: "button", title: `${sample.title}: ${sample.names}` },
        picture,
      );
      button.addEventListener("click", () => openSample(sample, state.names || sample.names));
      return make("li", {}, button);
    }),
  );
}

/**
 * @param {Sample} sample
 * @param {string} names
 */
async function openSample(sample, names) {
  const file = await loadPicture(sample);
  state.setNames(names);
  state.addPictures([file], nameOf(sample));
  await asker.ask();
}

/** Do what the address says. */
async function open() {
  if (location.hash.replace(/^#/, "") === linkOf(state)) return; // written by this page
  const example = follow(state, location.hash);
  const sample = samples.find((one) => nameOf(one) === example);
  if (!sample) return;
  const own = state.pictures.find((one) => one.example === example);
  if (own) state.select(own);
  else await openSample(sample, state.names || sample.names);
}

/** Write the link when a slider has come to rest: browsers allow few changes a second. */
function dueLink() {
  clearTimeout(linkTimer);
  linkTimer = setTimeout(writeLink, LINK_DELAY);
}

function writeLink() {
  const link = linkOf(state);
  history.replaceState(null, "", link ? `#${link}` : location.pathname);
}

function showWork() {
  const { pictures, current } = state;
  get("welcome").hidden = current !== null;
  get("panes").hidden = current === null;
  get("pictures").hidden = current === null;
  get("progress").hidden = !asker.isBusy;
  const open = pictures.filter(
    ({ status }) => status === "waiting" || status === "computing",
  ).length;
  const isMany = pictures.length > 1;
  get("progress-text").textContent = isMany
    ? `Computing, ${open} of ${pictures.length} to go`
    : "Computing";
}
