/**
 * Painting on a sheet, and undoing it. What a stroke changes is kept as tiles of what was there
 * before, so that undoing costs what the stroke covered, however large the picture is.
 */

/** @typedef {import("./sheet.js").Sheet} Sheet */

const TILE = 64;
const MOST_STROKES = 200;

/** @typedef {{labels: Uint8Array | Uint16Array, painted: Uint8Array}} Tile */

export class Brush {
  /** @param {Sheet} sheet */
  constructor(sheet) {
    this._sheet = sheet;
    /** @type {Map<number, Tile>[]} */
    this._strokes = [];
    /** @type {Map<number, Tile>} */
    this._stroke = new Map();
  }

  get canUndo() {
    return this._strokes.length > 0;
  }

  /** Begin what is undone at once. */
  begin() {
    this._stroke = new Map();
    this._strokes.push(this._stroke);
    if (this._strokes.length > MOST_STROKES) this._strokes.shift();
  }

  /**
   * A line with round ends.
   * @param {[number, number]} from x, y
   * @param {[number, number]} to
   * @param {number} radius
   * @param {number} label
   */
  line([x0, y0], [x1, y1], radius, label) {
    const { width, height } = this._sheet;
    const [dx, dy] = [x1 - x0, y1 - y0];
    const length2 = dx * dx + dy * dy || 1;
    const last = {
      x: Math.min(width - 1, Math.ceil(Math.max(x0, x1) + radius)),
      y: Math.min(height - 1, Math.ceil(Math.max(y0, y1) + radius)),
    };
    for (let y = Math.max(0, Math.floor(Math.min(y0, y1) - radius)); y <= last.y; y++) {
      for (let x = Math.max(0, Math.floor(Math.min(x0, x1) - radius)); x <= last.x; x++) {
        const along = Math.max(
          0,
          Math.min(1, ((x + 0.5 - x0) * dx + (y + 0.5 - y0) * dy) / length2),
        );
        const [ox, oy] = [x + 0.5 - x0 - along * dx, y + 0.5 - y0 - along * dy];
        if (ox * ox + oy * oy <= radius * radius) this._set(x, y, label);
      }
    }
    const [x, y] = [Math.floor(x1), Math.floor(y1)]; // the thinnest brush paints this pixel
    if (x >= 0 && y >= 0 && x < width && y < height) this._set(x, y, label);
  }

  /**
   * The connected region of one label, as it is seen.
   * @param {number} x
   * @param {number} y
   * @param {number} label
   * @param {number} threshold From 0 to 255.
   */
  fill(x, y, label, threshold) {
    const sheet = this._sheet;
    const { width, height } = sheet;
    const before = sheet.label(y * width + x, threshold);
    const isBefore = (/** @type {number} */ at) =>
      !reached[at] && sheet.label(at, threshold) === before;
    const reached = new Uint8Array(width * height);
    const seeds = [y * width + x];
    while (seeds.length) {
      const seed = /** @type {number} */ (seeds.pop());
      if (!isBefore(seed)) continue;
      const row = Math.floor(seed / width) * width;
      let [left, right] = [seed, seed];
      while (left > row && isBefore(left - 1)) left--;
      while (right < row + width - 1 && isBefore(right + 1)) right++;
      for (const beside of [-width, width]) {
        let isRun = false;
        if (row + beside < 0 || row + beside >= width * height) continue;
        for (let at = left; at <= right; at++) {
          const isOpen = isBefore(at + beside);
          if (isOpen && !isRun) seeds.push(at + beside);
          isRun = isOpen;
        }
      }
      for (let at = left; at <= right; at++) {
        reached[at] = 1;
      }
    }
    for (let at = 0; at < reached.length; at++) {
      if (reached[at]) this._set(at % width, Math.floor(at / width), label);
    }
  }

  /** Take the last stroke back. */
  undo() {
    const stroke = this._strokes.pop();
    if (!stroke) return;
    for (const [corner, tile] of stroke) this._copy(corner, tile, false);
    this._sheet.isCorrected = this._sheet.painted.includes(1);
  }

  /**
   * @param {number} x
   * @param {number} y
   * @param {number} label
   */
  _set(x, y, label) {
    const { width, labels, painted } = this._sheet;
    const corner = (y - (y % TILE)) * width + x - (x % TILE);
    if (!this._stroke.has(corner)) {
      const LabelArray = labels instanceof Uint16Array ? Uint16Array : Uint8Array;
      const tile = { labels: new LabelArray(TILE * TILE), painted: new Uint8Array(TILE * TILE) };
      this._copy(corner, tile, true);
      this._stroke.set(corner, tile);
    }
    labels[y * width + x] = label;
    painted[y * width + x] = 1;
    this._sheet.isCorrected = true;
    this._sheet.isSaved = false;
  }

  /**
   * Between the sheet and a tile of it.
   * @param {number} corner The tile's first pixel.
   * @param {Tile} tile
   * @param {boolean} isSaved To the tile, not back.
   */
  _copy(corner, tile, isSaved) {
    const { width, height } = this._sheet;
    const columns = Math.min(TILE, width - (corner % width));
    const rows = Math.min(TILE, height - Math.floor(corner / width));
    for (const key of /** @type {const} */ (["labels", "painted"])) {
      for (let y = 0; y < rows; y++) {
        const at = corner + y * width;
        if (isSaved) tile[key].set(this._sheet[key].subarray(at, at + columns), y * TILE);
        else this._sheet[key].set(tile[key].subarray(y * TILE, y * TILE + columns), at);
      }
    }
  }
}
