/**
 * A picture's labels as they are corrected: the model's answer, what was painted over it, and what
 * is void below a threshold. Sizes are the picture's own pixels.
 */

import { decodePng, encodePng } from "./png.js";

/**
 * @typedef {Object} Name
 * @property {string} name
 * @property {string} colour The model's own choice, such as #4f8ff7.
 * @property {number | null} presence The probability that the picture shows it at all.
 */

/** @typedef {{name: string, probability: number}} Guess */

export class Sheet {
  /**
   * @param {any} answer Of `/v1/segment`, without its pictures.
   * @param {Uint8Array | Uint16Array} labels
   * @param {Uint8Array} confidence 255 is 1.
   * @param {string} asked The names as they were typed.
   */
  constructor(answer, labels, confidence, asked) {
    this.width = /** @type {number} */ (answer.width);
    this.height = /** @type {number} */ (answer.height);
    this.names = /** @type {Name[]} */ (answer.names);
    this.warnings = /** @type {string[]} */ (answer.warnings);
    this.hasBackground = Boolean(answer.settings.background);
    this.model = /** @type {string} */ (answer.model);
    this.asked = asked;
    /** The label of a pixel without a name. */
    this.void = /** @type {number} */ (answer.void.label);
    this.labels = labels;
    this.confidence = confidence;
    /** 1 where a pixel was painted: no threshold touches it. */
    this.painted = new Uint8Array(labels.length);
    this.isCorrected = false;
    /** Whether what was painted is in a file that was downloaded. */
    this.isSaved = true;
    this.top = answer.top ? new Top(answer.top) : null;
  }

  /**
   * @param {any} answer The JSON of `/v1/segment`.
   * @param {string} asked
   */
  static async of(answer, asked) {
    const [labels, confidence] = await Promise.all([
      decodePng(answer.png),
      decodePng(answer.confidence),
    ]);
    const { png, confidence: _, ...rest } = answer;
    return new Sheet(rest, labels.values, /** @type {Uint8Array} */ (confidence.values), asked);
  }

  /**
   * The label at a place, void below the threshold.
   * @param {number} at y * width + x
   * @param {number} threshold From 0 to 255.
   */
  label(at, threshold) {
    return this.confidence[at] < threshold && !this.painted[at] ? this.void : this.labels[at];
  }

  /**
   * All labels, void below the threshold.
   * @param {number} threshold From 0 to 255.
   */
  labelMap(threshold) {
    return this.labels.map((_, at) => this.label(at, threshold));
  }

  /** @param {number} threshold From 0 to 255. */
  toPng(threshold) {
    return encodePng(this.labelMap(threshold), this.width, this.height);
  }

  /**
   * How many pixels each name has, and at the end how many have none.
   * @param {number} threshold From 0 to 255.
   */
  counts(threshold) {
    const counts = new Array(this.names.length + 1).fill(0);
    for (let at = 0; at < this.labels.length; at++) {
      counts[Math.min(this.label(at, threshold), this.names.length)]++;
    }
    return counts;
  }

  /**
   * Take over what was painted by hand on an older answer of the same picture, by name.
   * @param {Sheet} older
   */
  adopt(older) {
    if (!older.isCorrected || older.labels.length !== this.labels.length) return;
    const index = new Map(this.names.map(({ name }, label) => [name, label]));
    const renamed = older.names.map(({ name }) => index.get(name));
    for (let at = 0; at < this.labels.length; at++) {
      if (!older.painted[at]) continue;
      const label = older.labels[at] === older.void ? this.void : renamed[older.labels[at]];
      if (label === undefined) continue;
      this.labels[at] = label;
      this.painted[at] = 1;
      this.isCorrected = true;
      this.isSaved = false;
    }
  }
}

/** The three best names of every pixel; they are unpacked when they are first asked for. */
class Top {
  /** @param {{indices: string, upper: string | null, probabilities: string}} packed */
  constructor(packed) {
    this._packed = packed;
    /** @type {Promise<Uint8Array[]> | null} */
    this._rasters = null;
  }

  /**
   * @param {number} at A pixel.
   * @param {Name[]} names
   * @returns {Promise<Guess[]>} The best first.
   */
  async guesses(at, names) {
    const { indices, upper, probabilities } = this._packed;
    const files = upper ? [indices, probabilities, upper] : [indices, probabilities];
    this._rasters ??= Promise.all(
      files.map(async (file) => /** @type {Uint8Array} */ ((await decodePng(file)).values)),
    );
    const [low, sure, high] = await this._rasters;
    const guesses = [];
    for (let rank = 3 * at; rank < 3 * at + 3; rank++) {
      const entry = names[low[rank] + 256 * (high ? high[rank] : 0)];
      if (entry) guesses.push({ name: entry.name, probability: sure[rank] / 255 });
    }
    return guesses;
  }

  /** Forget what was unpacked; it takes six bytes a pixel. */
  fold() {
    this._rasters = null;
  }
}
