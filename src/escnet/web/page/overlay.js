/**
 * Labels as colours over a view of the picture. Each point of the screen is looked up, so the cost
 * is the screen's, however large the picture is, and every setting acts with the next frame.
 */

/**
 * @typedef {Object} Appearance
 * @property {number[][]} colours Red, green and blue of each name.
 * @property {("fill" | "outline" | "hidden")[]} modes How each name is drawn.
 * @property {boolean} outlines Whether all are outlines.
 * @property {number} opacity Of what is filled, from 0 to 1; outlines are opaque.
 * @property {number} threshold Confidence below which a pixel is void, from 0 to 255.
 */

/** @typedef {import("./sheet.js").Sheet} Sheet */
/** @typedef {import("./view.js").View} View */

const HIDDEN = 0; // pixels are alpha, blue, green, red, as a little-endian number
const WHITE = 0xffffff;
const DARK = 0x202020;

/**
 * @param {ImageData} image What is drawn on; as many pixels as the screen has.
 * @param {Sheet} sheet
 * @param {View} view
 * @param {number} density Pixels of the image for each of the screen's.
 * @param {Appearance} appearance
 */
export function drawOverlay(image, sheet, view, density, appearance) {
  const pixels = new Uint32Array(image.data.buffer);
  const label = lookedUp(image, sheet, view, density, appearance.threshold);
  const { fill, edge } = paints(sheet, appearance);
  const { opacity } = appearance;
  const [hatch, gap, border] = [
    pixel(WHITE, 0.7 * opacity),
    pixel(DARK, 0.3 * opacity),
    pixel(WHITE, opacity),
  ];
  const { width, height } = image;
  const reach = Math.max(1, Math.round(density));
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const at = y * width + x;
      const own = label[at];
      if (own < 0) pixels[at] = HIDDEN;
      else if (own >= fill.length) pixels[at] = (x + y) % (8 * reach) < 2 * reach ? hatch : gap;
      else {
        pixels[at] = fill[own];
        if (edge[own] && isEdge(label, at, x, y, width, height, 2 * reach)) pixels[at] = edge[own];
        else if (fill[own] && isBorder(label, at, x, y, width, height)) pixels[at] = border;
      }
    }
  }
}

/**
 * The label of each point; -1 outside of the picture.
 * @type {(image: ImageData, sheet: Sheet, view: View, density: number, threshold: number) => Int32Array}
 */
function lookedUp(image, sheet, view, density, threshold) {
  const label = new Int32Array(image.width * image.height).fill(-1);
  const column = Int32Array.from({ length: image.width }, (_, x) =>
    Math.floor(view.toPicture((x + 0.5) / density, 0)[0]),
  );
  for (let y = 0; y < image.height; y++) {
    const row = Math.floor(view.toPicture(0, (y + 0.5) / density)[1]);
    if (row < 0 || row >= sheet.height) continue;
    for (let x = 0; x < image.width; x++) {
      if (column[x] < 0 || column[x] >= sheet.width) continue;
      label[y * image.width + x] = sheet.label(row * sheet.width + column[x], threshold);
    }
  }
  return label;
}

/**
 * Each name's pixel inside, and at its edge where it has one.
 * @param {Sheet} sheet
 * @param {Appearance} appearance
 */
function paints(sheet, appearance) {
  const fill = new Uint32Array(sheet.names.length);
  const edge = new Uint32Array(sheet.names.length);
  sheet.names.forEach((_, label) => {
    const [red, green, blue] = appearance.colours[label];
    const colour = (blue << 16) | (green << 8) | red;
    const mode = appearance.modes[label];
    const isOutline = mode === "outline" || (mode === "fill" && appearance.outlines);
    if (mode === "fill" && !isOutline) fill[label] = pixel(colour, appearance.opacity);
    if (isOutline) edge[label] = pixel(colour, 1);
  });
  return { fill, edge };
}

/** @type {(colour: number, alpha: number) => number} */
function pixel(colour, alpha) {
  return ((Math.round(255 * alpha) << 24) | colour) >>> 0;
}

/**
 * Whether another label is that near, in any of the four directions.
 * @type {(label: Int32Array, at: number, x: number, y: number, width: number, height: number, near: number) => boolean}
 */
function isEdge(label, at, x, y, width, height, near) {
  const own = label[at];
  return (
    (x >= near && label[at - near] !== own) ||
    (x + near < width && label[at + near] !== own) ||
    (y >= near && label[at - near * width] !== own) ||
    (y + near < height && label[at + near * width] !== own)
  );
}

/**
 * Whether another label follows to the right or below: a thin line between two regions.
 * @type {(label: Int32Array, at: number, x: number, y: number, width: number, height: number) => boolean}
 */
function isBorder(label, at, x, y, width, height) {
  const [right, below] = [
    x + 1 < width ? label[at + 1] : -1,
    y + 1 < height ? label[at + width] : -1,
  ];
  return (right >= 0 && right !== label[at]) || (below >= 0 && below !== label[at]);
}
