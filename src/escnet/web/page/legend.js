/**
 * The names of the picture with their colours and shares: seen alone, as outlines or not at all,
 * recoloured, or chosen to paint with.
 */

import { colourOf, forgetColours, hasPicked, pickColour } from "./colours.js";
import { get, icon, make } from "./elements.js";

const MANY = 12; // names, above which a field to search them is of use

/** @typedef {import("./state.js").State} State */
/** @typedef {import("./sheet.js").Name} Name */
/** @typedef {import("./sheet.js").Sheet} Sheet */

export class Legend {
  /** @param {State} state */
  constructor(state) {
    this._state = state;
    this._list = get("legend");
    this._search = /** @type {HTMLInputElement} */ (get("legend-search"));
    this._reset = get("colours-reset");
    /** @type {Sheet | null} */
    this._sheet = null;
    this._isDue = false;
    state.on("labels", () => this._build());
    state.on("looks", () => this._refresh());
    state.on("tool", () => this._refresh());
    this._search.addEventListener("input", () => this._filter());
    this._reset.addEventListener("click", () => {
      if (this._sheet) forgetColours(this._sheet.names);
      state.tell("looks");
    });
  }

  /** New rows for a new sheet, the largest name first; the order stays while it is painted on. */
  _build() {
    const sheet = this._state.current?.sheet ?? null;
    if (sheet !== this._sheet) {
      this._sheet = sheet;
      const counts = sheet?.counts(this._state.threshold) ?? [];
      const names = [...(sheet?.names ?? [])].map((entry, label) => ({ entry, label }));
      names.sort((one, other) => counts[other.label] - counts[one.label]);
      this._list.replaceChildren(...names.map(({ entry, label }) => this._row(entry, label)));
      if (sheet) this._list.append(this._voidRow(sheet.names.length));
      this._search.hidden = names.length <= MANY;
      this._search.value = "";
    }
    get("legend-part").hidden = !sheet;
    this._refresh();
  }

  /**
   * @param {Name} entry
   * @param {number} label
   */
  _row(entry, label) {
    const { name } = entry;
    const colour = make("input", {
      type: "color",
      "aria-label": `Colour of ${name}`,
      title: "Change the colour",
    });
    colour.addEventListener("input", () => {
      pickColour(name, colour.value);
      this._state.tell("looks");
    });
    const alone = make("button", { type: "button", class: "name", title: `Only ${name}` }, name);
    alone.addEventListener("click", () => this._state.isolate(name));
    return make(
      "li",
      { "data-label": String(label), "data-name": name },
      colour,
      alone,
      presenceOf(entry),
      make("span", { class: "share" }),
      this._modeButton(name, "outline", "Outline"),
      this._modeButton(name, "hidden", "Hide"),
      this._paintButton(name, name),
    );
  }

  /** @param {number} label */
  _voidRow(label) {
    return make(
      "li",
      { "data-label": String(label), class: "void" },
      make("span", { class: "dot void" }),
      make("span", { class: "name" }, "no name"),
      make("span", { class: "share" }),
      this._paintButton(null, "no name"),
    );
  }

  /**
   * @param {string} name
   * @param {"outline" | "hidden"} mode
   * @param {string} verb
   */
  _modeButton(name, mode, verb) {
    const button = make(
      "button",
      {
        type: "button",
        class: "small",
        "data-mode": mode,
        "aria-label": `${verb} ${name}`,
        title: `${verb} ${name}`,
      },
      icon(mode),
    );
    button.addEventListener("click", () => {
      this._state.setMode(name, this._state.modes.get(name) === mode ? "fill" : mode);
    });
    return button;
  }

  /**
   * @param {string | null} name
   * @param {string} shown
   */
  _paintButton(name, shown) {
    const button = make(
      "button",
      {
        type: "button",
        class: "small",
        "data-paint": "",
        "aria-label": `Paint ${shown}`,
        title: `Paint with ${shown}`,
      },
      icon("brush"),
    );
    button.addEventListener("click", () => {
      const { tool } = this._state;
      this._state.setTool({ paint: name, tool: tool === "hand" ? "brush" : tool });
    });
    return button;
  }

  /** Shares, colours and pressed buttons, with the next frame. */
  _refresh() {
    if (this._isDue) return;
    this._isDue = true;
    requestAnimationFrame(() => {
      this._isDue = false;
      this._show();
    });
  }

  _show() {
    const sheet = this._sheet;
    if (!sheet) return;
    const counts = sheet.counts(this._state.threshold);
    for (const row of /** @type {HTMLCollectionOf<HTMLElement>} */ (this._list.children)) {
      const label = Number(row.dataset.label);
      const share = counts[label] / sheet.labels.length;
      /** @type {HTMLElement} */ (row.querySelector(".share")).textContent = percent(share);
      row.classList.toggle("absent", counts[label] === 0);
      const entry = sheet.names[label];
      this._press(row, entry?.name ?? null);
      if (!entry) continue;
      /** @type {HTMLInputElement} */ (row.querySelector("input")).value = colourOf(entry);
      row.classList.toggle("hidden-name", this._state.modes.get(entry.name) === "hidden");
    }
    this._reset.hidden = !hasPicked(sheet.names);
  }

  /**
   * @param {HTMLElement} row
   * @param {string | null} name
   */
  _press(row, name) {
    const { modes, tool, paint } = this._state;
    for (const button of row.querySelectorAll("button.small")) {
      const { mode } = /** @type {HTMLElement} */ (button).dataset;
      const isPressed = mode ? modes.get(name ?? "") === mode : tool !== "hand" && paint === name;
      button.setAttribute("aria-pressed", String(isPressed));
    }
  }

  _filter() {
    const text = this._search.value.trim().toLowerCase();
    for (const row of /** @type {HTMLCollectionOf<HTMLElement>} */ (this._list.children)) {
      row.hidden = !(row.dataset.name ?? "").toLowerCase().includes(text);
    }
  }
}

/**
 * How likely the picture shows a name at all, as a bar; empty for the background.
 *
 * @param {Name} entry
 */
function presenceOf({ name, presence }) {
  if (presence === null) return make("span", { class: "presence" });
  const said = `${name} is in the picture with a probability of ${(100 * presence).toFixed(0)} %`;
  return make("meter", {
    class: "presence",
    min: "0",
    max: "1",
    value: presence.toFixed(3),
    title: said,
    "aria-label": said,
  });
}

/** @param {number} share */
function percent(share) {
  if (share === 0) return "0 %";
  return share < 0.001 ? "< 0.1 %" : `${(100 * share).toFixed(1)} %`;
}
