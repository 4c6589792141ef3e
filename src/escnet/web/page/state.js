/**
 * What the page knows: pictures with their sheets, names, settings, and how things are looked at.
 * Modules change it through its methods and redraw themselves on its events.
 */

import { Brush } from "./brush.js";

/** @typedef {import("./sheet.js").Sheet} Sheet */
/** @typedef {import("./api.js").Settings} Settings */
/** @typedef {"fill" | "outline" | "hidden"} Mode */
/** @typedef {"hand" | "brush" | "fill"} Tool */
/** @typedef {"pictures" | "current" | "labels" | "names" | "settings" | "looks" | "tool" | "work"} Topic */

/**
 * @typedef {Object} Picture
 * @property {number} id
 * @property {File} file
 * @property {"new" | "waiting" | "computing" | "done" | "failed"} status
 * @property {string} error
 * @property {Sheet | null} sheet
 * @property {Brush | null} brush
 * @property {string} asked Names and settings of the sheet, to tell whether it is up to date.
 * @property {string} example The name of the example that it is, or "".
 */

/**
 * @typedef {Object} Looks How the answer is looked at; nothing of it goes to the service.
 * @property {number} opacity From 0 to 1.
 * @property {number} void_below Confidence from 0 to 1 below which a pixel has no name.
 * @property {boolean} outlines
 * @property {boolean} beside Whether the photograph stands beside the answer.
 */

/** @type {Settings} */
export const DEFAULT_SETTINGS = { background: false, windows: "whole", min_area: 0, fill_holes: 0 };
/** @type {Looks} */
export const DEFAULT_LOOKS = { opacity: 0.6, void_below: 0, outlines: false, beside: false };

export class State extends EventTarget {
  constructor() {
    super();
    /** @type {Picture[]} */
    this.pictures = [];
    /** @type {Picture | null} */
    this.current = null;
    this.names = "";
    this.settings = { ...DEFAULT_SETTINGS };
    this.looks = { ...DEFAULT_LOOKS };
    /** @type {Map<string, Mode>} */
    this.modes = new Map();
    /** @type {Tool} */
    this.tool = "hand";
    /** The name to paint with; null is none, void; "" if nobody has chosen. @type {string | null} */
    this.paint = "";
    this.brushSize = 24;
    this._nextId = 1;
  }

  /**
   * @param {Topic} topic
   * @param {(topic: Topic) => void} listener
   */
  on(topic, listener) {
    this.addEventListener(topic, () => listener(topic));
  }

  /** @param {Topic[]} topics */
  tell(...topics) {
    for (const topic of topics) this.dispatchEvent(new Event(topic));
  }

  /** The void threshold in the units of a sheet's confidence. */
  get threshold() {
    return 255 * this.looks.void_below;
  }

  /** What a sheet has to be asked by to be up to date. */
  get question() {
    return JSON.stringify([this.names.trim(), this.settings]);
  }

  /**
   * @param {File[]} files
   * @param {string} [example]
   */
  addPictures(files, example = "") {
    const pictures = files.map((file) => this._pictureOf(file, example));
    this.pictures.push(...pictures);
    if (pictures.length) this.select(pictures[0]);
    this.tell("pictures");
  }

  /** @param {Picture} picture */
  remove(picture) {
    const at = this.pictures.indexOf(picture);
    this.pictures.splice(at, 1);
    if (this.current === picture) this.select(this.pictures[at] ?? this.pictures[at - 1] ?? null);
    this.tell("pictures");
  }

  /** @param {Picture | null} picture */
  select(picture) {
    this.current?.sheet?.top?.fold();
    this.current = picture;
    this.tell("current", "labels");
  }

  /** @param {number} step To a picture before or behind. */
  move(step) {
    if (!this.current) return;
    const next = this.pictures[this.pictures.indexOf(this.current) + step];
    if (next) this.select(next);
  }

  /**
   * @param {Picture} picture
   * @param {Sheet} sheet
   * @param {string} question
   */
  setSheet(picture, sheet, question) {
    if (picture.sheet) sheet.adopt(picture.sheet);
    Object.assign(picture, {
      sheet,
      brush: new Brush(sheet),
      asked: question,
      status: "done",
      error: "",
    });
    if (picture === this.current) this.tell("labels");
    this.tell("pictures");
  }

  /** @param {string} names */
  setNames(names) {
    this.names = names;
    this.tell("names");
  }

  /** @param {Partial<Settings>} settings */
  setSettings(settings) {
    Object.assign(this.settings, settings);
    this.tell("settings");
  }

  /** @param {Partial<Looks>} looks */
  setLooks(looks) {
    Object.assign(this.looks, looks);
    this.tell("looks");
  }

  /**
   * @param {string} name
   * @param {Mode} mode
   */
  setMode(name, mode) {
    this.modes.set(name, mode);
    this.tell("looks");
  }

  /** Show one name alone, or all again if it is alone already. @param {string} name */
  isolate(name) {
    const names = this.current?.sheet?.names ?? [];
    const isAlone = names.every(
      (one) => (this.modes.get(one.name) === "hidden") === (one.name !== name),
    );
    for (const one of names)
      this.modes.set(one.name, isAlone || one.name === name ? "fill" : "hidden");
    this.tell("looks");
  }

  /** @param {{tool?: Tool, paint?: string | null, brushSize?: number}} change */
  setTool(change) {
    Object.assign(this, change);
    this.tell("tool");
  }

  /** The label to paint with on a sheet. @param {Sheet} sheet */
  paintLabel(sheet) {
    const label = sheet.names.findIndex(({ name }) => name === this.paint);
    return label < 0 ? sheet.void : label;
  }

  /**
   * @param {File} file
   * @param {string} example
   * @returns {Picture}
   */
  _pictureOf(file, example) {
    return {
      id: this._nextId++,
      file,
      status: "new",
      error: "",
      sheet: null,
      brush: null,
      asked: "",
      example,
    };
  }
}
