/**
 * PNG files of grey, indexed or RGB pixels, read and written without a canvas: a canvas shows an
 * indexed file's colours in place of its values, cuts 16 bits to 8, and some browsers add noise to
 * what is read from it.
 */

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const CHANNELS = /** @type {Record<number, number>} */ ({ 0: 1, 2: 3, 3: 1 });
const UP = 2; // PNG's filter of the difference from the row above

/**
 * @typedef {Object} Raster
 * @property {number} width
 * @property {number} height
 * @property {number} channels 1 or 3.
 * @property {Uint8Array | Uint16Array} values Row by row.
 */

/**
 * @param {string} base64 The file's content.
 * @returns {Promise<Raster>}
 */
export async function decodePng(base64) {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  const width = view.getUint32(16);
  const height = view.getUint32(20);
  const depth = bytes[24];
  const channels = CHANNELS[bytes[25]];
  const parts = [];
  for (let at = 8; at < bytes.length;) {
    const size = view.getUint32(at);
    const kind = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    if (kind === "IDAT") parts.push(bytes.slice(at + 8, at + 8 + size));
    at += size + 12;
  }
  const packed = await through(new Blob(parts), new DecompressionStream("deflate"));
  const plain = unfiltered(packed, height, (width * channels * depth) / 8, (channels * depth) / 8);
  return { width, height, channels, values: depth === 16 ? joined(plain) : plain };
}

/**
 * @param {Uint8Array | Uint16Array} values One for each pixel.
 * @param {number} width
 * @param {number} height
 * @returns {Promise<Blob>} A grey PNG of as many bits as the values have.
 */
export async function encodePng(values, width, height) {
  const step = values.BYTES_PER_ELEMENT;
  const plain = step === 2 ? split(/** @type {Uint16Array} */ (values)) : values;
  const row = width * step;
  const content = new Uint8Array(height * (row + 1));
  for (let y = 0; y < height; y++) {
    const to = y * (row + 1) + 1;
    content[to - 1] = UP;
    for (let x = 0; x < row; x++) {
      content[to + x] = plain[y * row + x] - (y ? plain[(y - 1) * row + x] : 0);
    }
  }
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header[8] = step * 8;
  const packed = await through(new Blob([content]), new CompressionStream("deflate"));
  const chunks = [chunk("IHDR", header), chunk("IDAT", packed), chunk("IEND", new Uint8Array())];
  return new Blob([new Uint8Array(SIGNATURE), ...chunks], { type: "image/png" });
}

/**
 * @param {Blob} blob
 * @param {GenericTransformStream} stream
 */
async function through(blob, stream) {
  const piped = blob.stream().pipeThrough(/** @type {ReadableWritablePair} */ (stream));
  return new Uint8Array(await new Response(piped).arrayBuffer());
}

/**
 * @param {Uint8Array} packed Rows, each after the byte of its filter.
 * @param {number} height
 * @param {number} row Bytes of a row.
 * @param {number} pixel Bytes of a pixel.
 */
function unfiltered(packed, height, row, pixel) {
  const plain = new Uint8Array(height * row);
  for (let y = 0; y < height; y++) {
    const filter = packed[y * (row + 1)];
    const from = y * (row + 1) + 1;
    const to = y * row;
    for (let x = 0; x < row; x++) {
      const left = x >= pixel ? plain[to + x - pixel] : 0;
      const up = y ? plain[to + x - row] : 0;
      const corner = y && x >= pixel ? plain[to + x - row - pixel] : 0;
      plain[to + x] = packed[from + x] + predicted(filter, left, up, corner);
    }
  }
  return plain;
}

/** PNG's five filters. @type {(filter: number, a: number, b: number, c: number) => number} */
function predicted(filter, left, up, corner) {
  if (filter === 0) return 0;
  if (filter === 1) return left;
  if (filter === UP) return up;
  if (filter === 3) return (left + up) >> 1;
  const toLeft = Math.abs(up - corner);
  const toUp = Math.abs(left - corner);
  const toCorner = Math.abs(left + up - 2 * corner);
  if (toLeft <= toUp && toLeft <= toCorner) return left;
  return toUp <= toCorner ? up : corner;
}

/** @param {Uint8Array} bytes Two for each value, the higher first. */
function joined(bytes) {
  return Uint16Array.from(
    { length: bytes.length / 2 },
    (_, i) => (bytes[2 * i] << 8) | bytes[2 * i + 1],
  );
}

/** @param {Uint16Array} values */
function split(values) {
  const bytes = new Uint8Array(2 * values.length);
  values.forEach((value, i) => bytes.set([value >> 8, value & 255], 2 * i));
  return bytes;
}

/**
 * @param {string} kind
 * @param {Uint8Array} content
 */
function chunk(kind, content) {
  const bytes = new Uint8Array(content.length + 12);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, content.length);
  for (let i = 0; i < 4; i++) bytes[4 + i] = kind.charCodeAt(i);
  bytes.set(content, 8);
  view.setUint32(content.length + 8, crc32(bytes.subarray(4, content.length + 8)));
  return bytes;
}

const CRC = Uint32Array.from({ length: 256 }, (_, value) => {
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

/** @param {Uint8Array} bytes */
function crc32(bytes) {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = CRC[(crc ^ byte) & 255] ^ (crc >>> 8);
  return ~crc >>> 0;
}
