/**
 * The dialog of downloads: this picture or all, in any of the service's formats, as a zip.
 */

import { askFiles } from "./api.js";
import { get, make } from "./elements.js";

const KEY = "escnet.formats";
const USUAL = ["labels", "overlay", "json"];

/** @typedef {import("./state.js").State} State */
/** @typedef {import("./state.js").Picture} Picture */

export class Download {
  /**
   * @param {State} state
   * @param {(message: string, kind?: "error") => void} say
   */
  constructor(state, say) {
    this._state = state;
    this._say = say;
    this._dialog = /** @type {HTMLDialogElement} */ (get("download"));
    this._formats = get("formats");
    this._button = /** @type {HTMLButtonElement} */ (get("download-zip"));
    get("download-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this._load();
    });
    get("download-cancel").addEventListener("click", () => this._dialog.close());
    get("download-all").addEventListener("change", () => this._tellOthers());
    get("download-one").addEventListener("change", () => this._tellOthers());
  }

  /** @param {Record<string, string>} formats What each is. */
  setFormats(formats) {
    const ticked = JSON.parse(localStorage.getItem(KEY) ?? "null") ?? USUAL;
    this._formats.replaceChildren(
      ...Object.entries(formats).map(([name, about]) => {
        const box = make("input", { type: "checkbox", name: "format", value: name });
        box.checked = ticked.includes(name);
        return make("label", {}, box, make("span", {}, make("b", {}, name), " ", about));
      }),
    );
  }

  open() {
    if (!this._state.current?.sheet)
      return this._say("There is no answer to download yet.", "error");
    const number = this._alike().length;
    get("download-all-label").textContent = number > 1 ? `All ${number} pictures` : "All pictures";
    /** @type {HTMLInputElement} */ (get("download-all")).disabled = number < 2;
    /** @type {HTMLInputElement} */ (get(number > 1 ? "download-all" : "download-one")).checked =
      true;
    get("download-problem").textContent = "";
    this._tellOthers();
    this._dialog.showModal();
  }

  /** Pictures whose answer has the names of the present one. */
  _alike() {
    const namesOf = (/** @type {Picture | null} */ one) =>
      JSON.stringify(one?.sheet?.names.map(({ name }) => name));
    const own = namesOf(this._state.current);
    return this._state.pictures.filter((one) => one.sheet && namesOf(one) === own);
  }

  get _isAll() {
    return /** @type {HTMLInputElement} */ (get("download-all")).checked;
  }

  _tellOthers() {
    const others = this._state.pictures.length - this._alike().length;
    const isTold = this._isAll && others > 0;
    get("download-others").textContent = isTold
      ? `Left out, as their answers are to other names: ${others}.`
      : "";
  }

  async _load() {
    const { current, looks, threshold } = this._state;
    const formats = [...this._formats.querySelectorAll("input")]
      .filter((box) => box.checked)
      .map((box) => box.value);
    if (!current?.sheet) return;
    if (!formats.length) return this._tellProblem("Choose a format.");
    localStorage.setItem(KEY, JSON.stringify(formats));
    const pictures = this._isAll ? this._alike() : [current];
    this._button.disabled = true;
    this._button.textContent = "Writing…";
    try {
      const sheets = [];
      for (const { file, sheet } of pictures) {
        if (sheet) sheets.push({ file, labels: await sheet.toPng(threshold) });
      }
      const zip = await askFiles(sheets, current.sheet.asked, {
        background: String(current.sheet.hasBackground),
        formats: formats.join(","),
        opacity: String(looks.opacity),
        outlines: String(looks.outlines),
      });
      for (const { sheet } of pictures) if (sheet) sheet.isSaved = true;
      hand(zip, pictures.length > 1 ? "escnet.zip" : `${stemOf(current.file.name)}.zip`);
      this._dialog.close();
      this._say(
        `Downloaded ${pictures.length === 1 ? current.file.name : `${pictures.length} pictures`}.`,
      );
    } catch (error) {
      this._tellProblem(error instanceof Error ? error.message : String(error));
    } finally {
      this._button.disabled = false;
      this._button.textContent = "Download zip";
    }
  }

  /** @param {string} message */
  _tellProblem(message) {
    get("download-problem").textContent = message;
  }
}

/**
 * Hand a file to the browser.
 * @param {Blob} content
 * @param {string} name
 */
function hand(content, name) {
  const address = URL.createObjectURL(content);
  make("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

/** @param {string} file */
function stemOf(file) {
  return file.replace(/\.[^.]*$/, "") || "picture";
}
