/**
 * What comes in: pictures and class lists, dropped, pasted or chosen.
 */

import { readNames } from "./api.js";
import { get } from "./elements.js";
import { isNamesFile, textOf } from "./names.js";

const PICTURES = /\.(jpe?g|jfif|jpe|png|webp|gif|bmp|tiff?|avif|heic|heif|jxl|jp2|j2k|ppm|pgm)$/i;

/** @typedef {import("./state.js").State} State */

export class Intake {
  /**
   * @param {State} state
   * @param {() => void} ask What to do when something new is there.
   * @param {(message: string, kind?: "error") => void} say
   */
  constructor(state, ask, say) {
    this._state = state;
    this._ask = ask;
    this._say = say;
    for (const id of ["choose-pictures", "choose-folder", "choose-list"]) {
      const field = /** @type {HTMLInputElement} */ (get(id));
      field.addEventListener("change", () => {
        this.take([...(field.files ?? [])]);
        field.value = ""; // the same file may be chosen again
      });
    }
    addEventListener("paste", (event) => {
      const files = [...(event.clipboardData?.files ?? [])];
      if (files.length) event.preventDefault();
      this.take(files);
    });
    addEventListener("dragover", (event) => {
      event.preventDefault();
      document.body.classList.add("dropping");
    });
    addEventListener("dragleave", (event) => {
      if (!event.relatedTarget) document.body.classList.remove("dropping");
    });
    addEventListener("drop", async (event) => {
      event.preventDefault();
      document.body.classList.remove("dropping");
      if (event.dataTransfer) this.take(await filesOf(event.dataTransfer));
    });
  }

  /** Pictures join the others; another file is read as a class list. @param {File[]} files */
  async take(files) {
    const pictures = files.filter(
      (file) => file.type.startsWith("image/") || PICTURES.test(file.name),
    );
    const lists = files.filter((file) => !pictures.includes(file));
    const isOne = lists.length === 1;
    if (isOne) await this._read(lists[0]);
    else if (lists.length && !pictures.length) this._say("Give one class list at a time.", "error");
    this._state.addPictures(pictures);
    const isNew = pictures.length > 0 || isOne;
    if (isNew && this._state.pictures.length && this._state.names.trim()) this._ask();
  }

  /** @param {File} list */
  async _read(list) {
    try {
      const names = await readNames(list);
      const text = await list.text();
      this._state.setNames(isNamesFile(text) ? text.trim() : textOf(names));
      this._say(`${Object.keys(names).length} names from ${list.name}.`);
    } catch (error) {
      this._say(error instanceof Error ? error.message : String(error), "error");
    }
  }
}

/** The files of a drop, those of folders among them. @param {DataTransfer} dropped */
async function filesOf(dropped) {
  const entries = [...dropped.items]
    .map((item) => item.webkitGetAsEntry?.())
    .filter((entry) => entry !== null && entry !== undefined);
  if (!entries.length) return [...dropped.files];
  const files = (await Promise.all(entries.map(below))).flat();
  return entries.some((entry) => entry.isDirectory)
    ? files.filter((file) => PICTURES.test(file.name))
    : files;
}

/**
 * @param {FileSystemEntry} entry
 * @returns {Promise<File[]>}
 */
async function below(entry) {
  if (entry.isFile) {
    const file = /** @type {FileSystemFileEntry} */ (entry);
    return [await new Promise((done, fail) => file.file(done, fail))];
  }
  const reader = /** @type {FileSystemDirectoryEntry} */ (entry).createReader();
  const files = [];
  for (;;) {
    /** @type {FileSystemEntry[]} */
    const some = await new Promise((done, fail) => reader.readEntries(done, fail)); // up to 100
    if (!some.length) return files;
    files.push(...(await Promise.all(some.map(below))).flat());
  }
}
