/**
 * Pointers, wheel and keys on the stage: pan, zoom, paint, and move the cross.
 */

const ZOOM_STEP = 1.25;
const WHEEL_RATE = 0.0015;

/** @typedef {import("./state.js").State} State */
/** @typedef {import("./stage.js").Stage} Stage */

export class Gestures {
  /**
   * @param {State} state
   * @param {Stage} stage
   * @param {HTMLElement} box Around the panes.
   * @param {() => void} onCross Called when the cross has moved.
   */
  constructor(state, stage, box, onCross) {
    this._state = state;
    this._stage = stage;
    this._onCross = onCross;
    /** Pointers that are down. @type {Map<number, [number, number]>} */
    this._down = new Map();
    this._isPainting = false;
    for (const pane of [stage.answer, stage.photograph]) {
      pane.addEventListener("pointerdown", (event) => this._press(pane, event));
      pane.addEventListener("pointermove", (event) => this._move(pane, event));
      pane.addEventListener("pointerleave", (event) => this._leave(event));
      for (const end of /** @type {const} */ (["pointerup", "pointercancel"])) {
        pane.addEventListener(end, (event) => this._release(event));
      }
      pane.addEventListener("wheel", (event) => this._turn(pane, event), { passive: false });
      pane.addEventListener("contextmenu", (event) => event.preventDefault());
    }
    box.addEventListener("keydown", (event) => this._key(event));
  }

  /** @param {number} steps In is above 0. */
  zoom(steps) {
    this._stage.view.zoom(ZOOM_STEP ** steps);
    this._stage.redraw();
  }

  fit() {
    this._stage.view.fit();
    this._stage.redraw();
  }

  undo() {
    this._state.current?.brush?.undo();
    this._state.tell("labels");
  }

  /** Let the present tool act where the cross is. */
  act() {
    const { current, tool, brushSize, threshold } = this._state;
    const { cross } = this._stage;
    if (!cross || !current?.sheet || !current.brush) return;
    const label = this._state.paintLabel(current.sheet);
    const [x, y] = cross;
    const isInside = x >= 0 && y >= 0 && x < current.sheet.width && y < current.sheet.height;
    if (tool === "fill" && isInside) {
      current.brush.begin();
      current.brush.fill(Math.floor(x), Math.floor(y), label, threshold);
    }
    if (tool === "brush") {
      current.brush.begin();
      current.brush.line(cross, cross, brushSize / 2, label);
    }
    if (tool !== "hand") this._state.tell("labels");
  }

  /**
   * @param {HTMLElement} pane
   * @param {PointerEvent} event
   */
  _press(pane, event) {
    pane.setPointerCapture(event.pointerId);
    this._down.set(event.pointerId, [event.clientX, event.clientY]);
    this._point(pane, event);
    if (this._down.size > 1 && this._isPainting) {
      this._isPainting = false; // two fingers move the picture
      this.undo();
    } else if (this._down.size === 1 && event.button === 0) {
      this._isPainting = this._state.tool === "brush";
      this.act();
    }
  }

  /**
   * @param {HTMLElement} pane
   * @param {PointerEvent} event
   */
  _move(pane, event) {
    const before = this._down.get(event.pointerId);
    const from = this._stage.cross;
    this._point(pane, event);
    if (!before) return;
    const now = /** @type {[number, number]} */ ([event.clientX, event.clientY]);
    const [dx, dy] = [now[0] - before[0], now[1] - before[1]];
    if (this._down.size > 1) this._pinch(pane, event.pointerId, before, now);
    else if (this._isPainting) this._drag(from);
    else if (this._state.tool === "hand" || event.buttons > 1) this._stage.view.pan(dx, dy);
    this._down.set(event.pointerId, now);
  }

  /** A stroke's next line. @param {[number, number] | null} from */
  _drag(from) {
    const { current, brushSize } = this._state;
    const { cross } = this._stage;
    if (!from || !cross || !current?.sheet) return;
    current.brush?.line(from, cross, brushSize / 2, this._state.paintLabel(current.sheet));
  }

  /** @type {(pane: HTMLElement, id: number, before: [number, number], now: [number, number]) => void} */
  _pinch(pane, id, before, now) {
    const other = [...this._down].find(([own]) => own !== id)?.[1];
    if (!other) return;
    const corner = pane.getBoundingClientRect();
    const apart = (/** @type {number[]} */ [x, y]) => Math.hypot(x - other[0], y - other[1]) || 1;
    this._stage.view.pan((now[0] - before[0]) / 2, (now[1] - before[1]) / 2);
    const middle = [(now[0] + other[0]) / 2 - corner.left, (now[1] + other[1]) / 2 - corner.top];
    this._stage.view.zoom(apart(now) / apart(before), middle[0], middle[1]);
  }

  /** @param {PointerEvent} event */
  _release(event) {
    this._down.delete(event.pointerId);
    if (this._isPainting) this._state.tell("labels");
    this._isPainting = false;
  }

  /** @param {PointerEvent} event */
  _leave(event) {
    if (event.pointerType === "touch") return; // a tap leaves the cross where it was
    this._stage.cross = null;
    this._stage.redraw();
    this._onCross();
  }

  /**
   * @param {HTMLElement} pane
   * @param {WheelEvent} event
   */
  _turn(pane, event) {
    event.preventDefault();
    const pixels = event.deltaY * (event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 33 : 1);
    this._stage.view.zoom(Math.exp(-pixels * WHEEL_RATE), event.offsetX, event.offsetY);
    this._point(pane, event);
  }

  /**
   * Put the cross under the pointer.
   * @param {HTMLElement} pane
   * @param {MouseEvent} event
   */
  _point(pane, event) {
    const corner = pane.getBoundingClientRect();
    this._stage.cross = this._stage.view.toPicture(
      event.clientX - corner.left,
      event.clientY - corner.top,
    );
    this._stage.redraw();
    this._onCross();
  }

  /** @param {KeyboardEvent} event */
  _key(event) {
    const steps = /** @type {Record<string, [number, number]>} */ ({
      ArrowLeft: [-1, 0],
      ArrowRight: [1, 0],
      ArrowUp: [0, -1],
      ArrowDown: [0, 1],
    });
    const step = steps[event.key];
    if (step && !event.altKey && !event.ctrlKey && !event.metaKey) {
      const { width, height } = this._stage.size;
      const length = (event.shiftKey ? 40 : 8) / this._stage.view.scale;
      const [x, y] = this._stage.cross ?? [width / 2, height / 2];
      this._stage.cross = [
        Math.min(width - 0.5, Math.max(0.5, x + step[0] * length)),
        Math.min(height - 0.5, Math.max(0.5, y + step[1] * length)),
      ];
    } else if (event.key === "Enter" || event.key === " ") this.act();
    else return;
    event.preventDefault();
    this._stage.redraw();
    this._onCross();
  }
}
