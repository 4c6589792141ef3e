/**
 * The bar above the picture: pointer, paint, view.
 */

import { get, make } from "./elements.js";

/** @typedef {import("./state.js").State} State */
/** @typedef {import("./gestures.js").Gestures} Gestures */

const LARGEST_BRUSH = 200;
const VOID = "\u0000"; // the option of no name; names have no such character

export class Tools {
  /**
   * @param {State} state
   * @param {Gestures} gestures
   */
  constructor(state, gestures) {
    this._state = state;
    this._buttons = /** @type {NodeListOf<HTMLButtonElement>} */ (
      get("tools").querySelectorAll("[data-tool]")
    );
    this._names = /** @type {HTMLSelectElement} */ (get("paint-name"));
    this._size = /** @type {HTMLInputElement} */ (get("brush-size"));
    for (const button of this._buttons) {
      button.addEventListener("click", () =>
        state.setTool({ tool: /** @type {any} */ (button.dataset.tool) }),
      );
    }
    this._names.addEventListener("change", () =>
      state.setTool({ paint: this._names.value === VOID ? null : this._names.value }),
    );
    this._size.addEventListener("input", () =>
      state.setTool({ brushSize: this._size.valueAsNumber }),
    );
    get("undo").addEventListener("click", () => gestures.undo());
    get("beside").addEventListener("click", () => this.turn("beside"));
    get("outlines").addEventListener("click", () => this.turn("outlines"));
    get("zoom-in").addEventListener("click", () => gestures.zoom(1));
    get("zoom-out").addEventListener("click", () => gestures.zoom(-1));
    get("fit").addEventListener("click", () => gestures.fit());
    state.on("labels", () => this._showNames());
    for (const topic of /** @type {const} */ (["looks", "tool", "labels", "current"]))
      state.on(topic, () => this._show());
  }

  /** Turn a look on, or off. @param {"beside" | "outlines"} look */
  turn(look) {
    this._state.setLooks({ [look]: !this._state.looks[look] });
  }

  /** @param {number} factor */
  grow(factor) {
    const size = Math.round(this._state.brushSize * factor);
    this._state.setTool({ brushSize: Math.min(LARGEST_BRUSH, Math.max(1, size)) });
  }

  /** Take the name that is at a place of the legend. @param {number} place From 0. */
  take(place) {
    const row = /** @type {HTMLElement | undefined} */ (get("legend").children[place]);
    if (!row || !this._state.current?.sheet) return;
    const { tool } = this._state;
    this._state.setTool({
      paint: row.dataset.name ?? null,
      tool: tool === "hand" ? "brush" : tool,
    });
  }

  _showNames() {
    const names = this._state.current?.sheet?.names ?? [];
    this._names.replaceChildren(
      ...names.map(({ name }) => make("option", { value: name }, name)),
      make("option", { value: VOID }, "no name"),
    );
    const isKnown = names.some(({ name }) => name === this._state.paint);
    if (names.length && !isKnown && this._state.paint !== null)
      this._state.setTool({ paint: names[0].name });
  }

  _show() {
    const { tool, looks, paint, brushSize, current } = this._state;
    get("tools").hidden = !current;
    for (const button of this._buttons) {
      button.setAttribute("aria-pressed", String(button.dataset.tool === tool));
      button.disabled = !current?.sheet && button.dataset.tool !== "hand";
    }
    get("beside").setAttribute("aria-pressed", String(looks.beside));
    get("outlines").setAttribute("aria-pressed", String(looks.outlines));
    get("paint-options").hidden = tool === "hand" || !current?.sheet;
    get("brush-size-label").hidden = tool !== "brush";
    this._names.value = paint ?? VOID;
    this._size.value = String(brushSize);
    /** @type {HTMLButtonElement} */ (get("undo")).disabled = !current?.brush?.canUndo;
    get("panes").dataset.tool = tool;
  }
}
