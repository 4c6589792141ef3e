/**
 * The picture on the screen: the photograph, the answer over it, the cross or brush of the pointer.
 * Two panes, answer and photograph, share one view.
 */

import { rgbOf } from "./colours.js";
import { drawOverlay } from "./overlay.js";
import { View } from "./view.js";

const MOST_POINTS = 2_500_000; // of the overlay; sharper screens get it a little coarser
const PIXELATED_ABOVE = 3; // screen pixels for one of the picture
const BLANK = "#8d8a85"; // in place of a photograph that the browser cannot show

/** @typedef {import("./state.js").State} State */

export class Stage {
  /**
   * @param {State} state
   * @param {HTMLElement} box
   * @param {HTMLCanvasElement} answer
   * @param {HTMLCanvasElement} photograph
   * @param {(message: string) => void} say
   */
  constructor(state, box, answer, photograph, say) {
    this._state = state;
    this._box = box;
    this._say = say;
    this.answer = answer;
    this.photograph = photograph;
    this.view = new View();
    /** Where the pointer or the keyboard's cross is, in the picture. @type {[number, number] | null} */
    this.cross = null;
    /** @type {ImageBitmap | null} */
    this._bitmap = null;
    this._size = { width: 0, height: 0 };
    this._overlay = document.createElement("canvas");
    this._isDue = false;
    new ResizeObserver(() => this._resize()).observe(box);
    state.on("current", () => this._load());
    state.on("labels", () => this._resize());
    for (const topic of /** @type {const} */ (["looks", "tool"]))
      state.on(topic, () => this.redraw());
    state.on("looks", () => this._resize());
  }

  /** Width and height of the picture, 0 while there is none. */
  get size() {
    return this._state.current?.sheet ?? this._size;
  }

  /** Draw with the next frame. */
  redraw() {
    if (this._isDue) return;
    this._isDue = true;
    requestAnimationFrame(() => {
      this._isDue = false;
      this._draw();
    });
  }

  async _load() {
    const picture = this._state.current;
    this._bitmap?.close();
    this._bitmap = null;
    this.cross = null;
    this._size = picture?.sheet ?? { width: 0, height: 0 };
    if (picture) {
      const bitmap = await createImageBitmap(picture.file).catch(() => null);
      if (this._state.current !== picture) return bitmap?.close();
      this._bitmap = bitmap;
      if (bitmap) this._size = { width: bitmap.width, height: bitmap.height };
      else this._say("This browser cannot show the photograph; its answer is shown alone.");
    }
    this.view.isFitted = true;
    this._resize();
  }

  _resize() {
    this._box.classList.toggle("beside", this._state.looks.beside);
    const pane = this.answer.getBoundingClientRect();
    const density = devicePixelRatio;
    for (const canvas of [this.answer, this.photograph]) {
      canvas.width = Math.round(pane.width * density);
      canvas.height = Math.round(pane.height * density);
    }
    const { width, height } = this.size;
    if (width && pane.width && pane.height) this.view.resize({ width, height }, pane);
    this._draw();
  }

  _draw() {
    const sheet = this._state.current?.sheet;
    for (const canvas of [this.answer, this.photograph]) {
      const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
      pen.setTransform(1, 0, 0, 1, 0, 0);
      pen.clearRect(0, 0, canvas.width, canvas.height);
      if (!this.size.width || !canvas.width || !canvas.height) continue;
      this._drawPhotograph(pen);
      if (canvas === this.answer && sheet) this._drawAnswer(pen, sheet);
      this._drawCross(pen);
    }
  }

  /** @param {CanvasRenderingContext2D} pen */
  _drawPhotograph(pen) {
    const { width, height } = this.size;
    const { scale, x, y } = this.view;
    pen.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    pen.imageSmoothingEnabled = scale < PIXELATED_ABOVE;
    pen.imageSmoothingQuality = "medium";
    if (this._bitmap) return pen.drawImage(this._bitmap, x, y, width * scale, height * scale);
    pen.fillStyle = BLANK;
    pen.fillRect(x, y, width * scale, height * scale);
  }

  /**
   * @param {CanvasRenderingContext2D} pen
   * @param {import("./sheet.js").Sheet} sheet
   */
  _drawAnswer(pen, sheet) {
    const { looks, modes, threshold } = this._state;
    const { width, height } = pen.canvas.getBoundingClientRect();
    const density = Math.min(devicePixelRatio, Math.sqrt(MOST_POINTS / (width * height)));
    const image = new ImageData(Math.round(width * density), Math.round(height * density));
    drawOverlay(image, sheet, this.view, density, {
      colours: sheet.names.map(rgbOf),
      modes: sheet.names.map(({ name }) => modes.get(name) ?? "fill"),
      outlines: looks.outlines,
      opacity: looks.opacity,
      threshold,
    });
    this._overlay.width = image.width;
    this._overlay.height = image.height;
    /** @type {CanvasRenderingContext2D} */ (this._overlay.getContext("2d")).putImageData(
      image,
      0,
      0,
    );
    pen.imageSmoothingEnabled = false;
    pen.drawImage(this._overlay, 0, 0, width, height);
  }

  /** @param {CanvasRenderingContext2D} pen */
  _drawCross(pen) {
    if (!this.cross) return;
    const [x, y] = this.view.toScreen(...this.cross);
    const isBrush = this._state.tool === "brush";
    const shape = new Path2D();
    if (isBrush)
      shape.arc(x, y, Math.max(2, (this._state.brushSize / 2) * this.view.scale), 0, 2 * Math.PI);
    else
      for (const [dx, dy] of [
        [1, 0],
        [-1, 0],
        [0, 1],
        [0, -1],
      ]) {
        shape.moveTo(x + 4 * dx, y + 4 * dy);
        shape.lineTo(x + 10 * dx, y + 10 * dy);
      }
    for (const [colour, width] of /** @type {const} */ ([
      ["#000a", 3.5],
      ["#fff", 1.5],
    ])) {
      pen.strokeStyle = colour;
      pen.lineWidth = width;
      pen.stroke(shape);
    }
  }
}
