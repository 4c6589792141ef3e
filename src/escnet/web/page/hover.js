/**
 * What the pixel under the cross is: its name, its confidence, and the two next names.
 */

import { colourOf } from "./colours.js";
import { make } from "./elements.js";

const GAP = 18; // between the cross and the card

/** @typedef {import("./state.js").State} State */
/** @typedef {import("./stage.js").Stage} Stage */

export class Hover {
  /**
   * @param {State} state
   * @param {Stage} stage
   * @param {HTMLElement} card
   */
  constructor(state, stage, card) {
    this._state = state;
    this._stage = stage;
    this._card = card;
    state.on("labels", () => this.update());
    state.on("looks", () => this.update());
  }

  /** Tell what is under the cross now. */
  async update() {
    const sheet = this._state.current?.sheet;
    const cross = this._stage.cross;
    const [x, y] = cross ? cross.map(Math.floor) : [-1, -1];
    const isInside = sheet && x >= 0 && y >= 0 && x < sheet.width && y < sheet.height;
    this._card.hidden = !isInside;
    if (!isInside || !cross) return;
    const at = y * sheet.width + x;
    const own = sheet.names[sheet.label(at, this._state.threshold)];
    const sure = sheet.painted[at] ? "painted" : shown(sheet.confidence[at] / 255);
    const guesses = sheet.top ? await sheet.top.guesses(at, sheet.names) : [];
    if (this._stage.cross !== cross) return; // it has moved on meanwhile
    const next = guesses.filter(({ name }) => name !== own?.name).slice(0, 2);
    this._card.replaceChildren(
      this._row(own, own ? own.name : "no name", sure, "own"),
      ...next.map(({ name, probability }) => {
        const entry = sheet.names.find((one) => one.name === name);
        return this._row(entry, name, shown(probability), "next");
      }),
    );
    this._place(cross);
  }

  /** @type {(entry: import("./sheet.js").Name | undefined, name: string, sure: string, kind: string) => HTMLElement} */
  _row(entry, name, sure, kind) {
    const dot = make("span", { class: entry ? "dot" : "dot void" });
    if (entry) dot.style.backgroundColor = colourOf(entry);
    return make(
      "div",
      { class: kind },
      dot,
      make("span", { class: "name" }, name),
      make("span", { class: "number" }, sure),
    );
  }

  /** @param {[number, number]} cross */
  _place(cross) {
    const pane = this._stage.answer;
    const [x, y] = this._stage.view.toScreen(...cross);
    const { offsetWidth: width, offsetHeight: height } = this._card;
    const isLeft = x + GAP + width > pane.clientWidth;
    const isAbove = y + GAP + height > pane.clientHeight;
    const left = pane.offsetLeft + (isLeft ? x - GAP - width : x + GAP);
    const top = pane.offsetTop + (isAbove ? y - GAP - height : y + GAP);
    this._card.style.transform = `translate(${Math.max(0, Math.round(left))}px, ${Math.max(0, Math.round(top))}px)`;
  }
}

/** @param {number} fraction */
function shown(fraction) {
  return fraction > 0 && fraction < 0.01 ? "< 1 %" : `${Math.round(100 * fraction)} %`;
}
