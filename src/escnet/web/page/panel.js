/**
 * The fields beside the picture: names, settings, sliders.
 */

import { get } from "./elements.js";

/** @typedef {import("./state.js").State} State */

const SLIDERS = /** @type {const} */ (["opacity", "void_below"]);
const NUMBERS = /** @type {const} */ (["min_area", "fill_holes"]);

export class Panel {
  /**
   * @param {State} state
   * @param {import("./asker.js").Asker} asker
   */
  constructor(state, asker) {
    this._state = state;
    this._asker = asker;
    this._names = /** @type {HTMLTextAreaElement} */ (get("names"));
    this._windows = /** @type {HTMLSelectElement} */ (get("windows"));
    this._background = /** @type {HTMLInputElement} */ (get("background"));
    this._listen();
    for (const topic of /** @type {const} */ ([
      "names",
      "settings",
      "looks",
      "pictures",
      "work",
      "labels",
    ])) {
      state.on(topic, () => this._show());
    }
    this._show();
  }

  _listen() {
    const { _state: state } = this;
    this._names.addEventListener("input", () => state.setNames(this._names.value));
    this._names.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this._asker.ask();
    });
    get("question").addEventListener("submit", (event) => {
      event.preventDefault();
      this._asker.ask();
    });
    this._background.addEventListener("change", () =>
      state.setSettings({ background: this._background.checked }),
    );
    this._windows.addEventListener("change", () => {
      state.setSettings({ windows: /** @type {any} */ (this._windows.value) });
    });
    for (const key of NUMBERS) {
      const field = /** @type {HTMLInputElement} */ (get(key));
      field.addEventListener("change", () =>
        state.setSettings({ [key]: Math.max(0, Math.round(field.valueAsNumber) || 0) }),
      );
    }
    for (const key of SLIDERS) {
      const slider = /** @type {HTMLInputElement} */ (get(key));
      slider.addEventListener("input", () => state.setLooks({ [key]: slider.valueAsNumber }));
    }
  }

  _show() {
    const { names, settings, looks, pictures, current } = this._state;
    if (this._names.value !== names) this._names.value = names;
    this._names.rows = Math.min(12, Math.max(4, names.split("\n").length + 1));
    this._background.checked = settings.background;
    this._windows.value = settings.windows;
    for (const key of NUMBERS)
      /** @type {HTMLInputElement} */ (get(key)).value = String(settings[key]);
    for (const key of SLIDERS) {
      /** @type {HTMLInputElement} */ (get(key)).value = String(looks[key]);
      get(`${key}-shown`).textContent = `${Math.round(100 * looks[key])} %`;
    }
    const due = this._asker.due.length;
    const ask = get("ask");
    ask.textContent = pictures.length > 1 && due > 1 ? `Segment ${due} pictures` : "Segment";
    ask.classList.toggle("idle", pictures.length > 0 && due === 0);
    get("model").textContent = current?.sheet ? `by the model ${current.sheet.model}` : "";
  }
}
