/**
 * Which part of a picture is seen: a scale and the place of its corner. Sizes of the screen are
 * CSS pixels.
 */

const MOST_SCALE = 40;
const MARGIN = 12;

export class View {
  constructor() {
    this.scale = 1;
    this.x = 0; // of the picture's corner on the screen
    this.y = 0;
    this.isFitted = true;
    this._picture = { width: 1, height: 1 };
    this._screen = { width: 1, height: 1 };
  }

  /**
   * @param {{width: number, height: number}} picture
   * @param {{width: number, height: number}} screen
   */
  resize(picture, screen) {
    const isOther =
      picture.width !== this._picture.width || picture.height !== this._picture.height;
    this._picture = { width: picture.width, height: picture.height };
    this._screen = { width: screen.width, height: screen.height };
    if (isOther || this.isFitted) this.fit();
  }

  /** See the whole picture. */
  fit() {
    const { width, height } = this._picture;
    this.scale = this._fitScale();
    this.x = (this._screen.width - width * this.scale) / 2;
    this.y = (this._screen.height - height * this.scale) / 2;
    this.isFitted = true;
  }

  /**
   * @param {number} factor
   * @param {number} [x] The point of the screen that stays; the middle if none.
   * @param {number} [y]
   */
  zoom(factor, x = this._screen.width / 2, y = this._screen.height / 2) {
    const least = this._fitScale() / 2;
    const scale = Math.min(MOST_SCALE, Math.max(least, this.scale * factor));
    this.x = x - ((x - this.x) * scale) / this.scale;
    this.y = y - ((y - this.y) * scale) / this.scale;
    this.scale = scale;
    this.isFitted = false;
    this._hold();
  }

  /**
   * @param {number} dx
   * @param {number} dy
   */
  pan(dx, dy) {
    this.x += dx;
    this.y += dy;
    this.isFitted = false;
    this._hold();
  }

  /**
   * The place in the picture, in its pixels.
   * @param {number} x
   * @param {number} y
   * @returns {[number, number]}
   */
  toPicture(x, y) {
    return [(x - this.x) / this.scale, (y - this.y) / this.scale];
  }

  /**
   * @param {number} x
   * @param {number} y
   * @returns {[number, number]}
   */
  toScreen(x, y) {
    return [x * this.scale + this.x, y * this.scale + this.y];
  }

  _fitScale() {
    const { width, height } = this._picture;
    const room = Math.min(
      (this._screen.width - 2 * MARGIN) / width,
      (this._screen.height - 2 * MARGIN) / height,
    );
    return Math.max(room, 0.001);
  }

  /** A quarter of the picture at least stays on the screen. */
  _hold() {
    for (const [place, side] of /** @type {const} */ ([
      ["x", "width"],
      ["y", "height"],
    ])) {
      const length = this._picture[side] * this.scale;
      const part = Math.min(length, this._screen[side]) / 4;
      this[place] = Math.min(this._screen[side] - part, Math.max(part - length, this[place]));
    }
  }
}
