/**
 * The pictures as a strip of thumbnails, each with how far it is.
 */

import { get, icon, make } from "./elements.js";

const HEIGHT = 120; // of a thumbnail, in pixels; the screen shows it at half of that

/** @typedef {import("./state.js").State} State */
/** @typedef {import("./state.js").Picture} Picture */

const TOLD = {
  new: "not asked yet",
  waiting: "waiting",
  computing: "computing",
  done: "done",
  failed: "failed",
};

export class Strip {
  /** @param {State} state */
  constructor(state) {
    this._state = state;
    this._list = get("strip");
    /** @type {Map<number, HTMLElement>} */
    this._items = new Map();
    for (const topic of /** @type {const} */ ([
      "pictures",
      "current",
      "labels",
      "names",
      "settings",
    ])) {
      state.on(topic, () => this._refresh());
    }
  }

  _refresh() {
    const { pictures, current, question } = this._state;
    const items = pictures.map((picture) => this._item(picture));
    if (
      items.length !== this._list.children.length ||
      items.some((item, at) => item !== this._list.children[at])
    ) {
      this._list.replaceChildren(...items);
      this._items = new Map(pictures.map((picture, at) => [picture.id, items[at]]));
    }
    this._list.hidden = pictures.length === 0;
    for (const picture of pictures) {
      const item = this._item(picture);
      const isOld = picture.status === "done" && picture.asked !== question;
      item.dataset.status = isOld ? "old" : picture.status;
      item.classList.toggle("corrected", picture.sheet?.isCorrected ?? false);
      const told = isOld ? "answer to other names" : picture.error || TOLD[picture.status];
      const button = /** @type {HTMLElement} */ (item.querySelector(".thumbnail"));
      button.title = `${picture.file.name}: ${told}`;
      button.setAttribute("aria-label", `${picture.file.name}, ${told}`);
      button.setAttribute("aria-current", String(picture === current));
      if (picture === current) item.scrollIntoView({ block: "nearest", inline: "nearest" });
    }
  }

  /** @param {Picture} picture */
  _item(picture) {
    const own = this._items.get(picture.id);
    if (own) return own;
    const canvas = make("canvas");
    const button = make(
      "button",
      { type: "button", class: "thumbnail" },
      canvas,
      make("span", { class: "state" }),
    );
    button.addEventListener("click", () => this._state.select(picture));
    const remove = make(
      "button",
      {
        type: "button",
        class: "remove",
        "aria-label": `Remove ${picture.file.name}`,
        title: "Remove",
      },
      icon("close"),
    );
    remove.addEventListener("click", () => {
      const isSure =
        !picture.sheet ||
        picture.sheet.isSaved ||
        confirm(`${picture.file.name} has corrections that were not downloaded. Remove it?`);
      if (isSure) this._state.remove(picture);
    });
    const item = make("li", {}, button, remove);
    this._items.set(picture.id, item);
    draw(canvas, picture.file);
    return item;
  }
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {File} file
 */
async function draw(canvas, file) {
  const bitmap = await createImageBitmap(file, {
    resizeHeight: HEIGHT,
    resizeQuality: "medium",
  }).catch(() => null);
  canvas.width = bitmap?.width ?? HEIGHT;
  canvas.height = HEIGHT;
  if (!bitmap) return;
  /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d")).drawImage(bitmap, 0, 0);
  bitmap.close();
}
