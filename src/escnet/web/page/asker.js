/**
 * Asks the service for pictures, one after the other, the one that is looked at first. What a
 * picture had stays until its new answer is there.
 */

import { askLabels, ServiceError } from "./api.js";
import { typed } from "./names.js";
import { Sheet } from "./sheet.js";

const MOST_TRIES = 5;
const LONGEST_WAIT = 30; // seconds between two tries

/** @typedef {import("./state.js").State} State */
/** @typedef {import("./state.js").Picture} Picture */

export class Asker {
  /**
   * @param {State} state
   * @param {(message: string, kind?: "error") => void} say
   * @param {() => void} askToken What to do when the service wants its token.
   */
  constructor(state, say, askToken) {
    this._state = state;
    this._say = say;
    this._askToken = askToken;
    /** @type {AbortController | null} */
    this._stop = null;
    /** What is asked now; the names may be edited meanwhile. */
    this._asked = { names: "", settings: state.settings, question: "" };
  }

  get isBusy() {
    return this._stop !== null;
  }

  /** Pictures whose answer is not to the present question. */
  get due() {
    return this._state.pictures.filter((one) => one.asked !== this._state.question);
  }

  /** Ask for all pictures that are due; what runs to another question is stopped first. */
  async ask() {
    const { names, settings, question, pictures } = this._state;
    if (!names.trim()) return this._say("Type the names of things first.", "error");
    if (!pictures.length) return this._say("Add a photograph first.", "error");
    const isGoingOn = this.isBusy && this._asked.question === question;
    if (!isGoingOn) this._halt();
    for (const picture of this.due) {
      if (picture.status !== "computing") this._mark(picture, "waiting");
    }
    if (isGoingOn) return;
    this._asked = { names: typed(names), settings: { ...settings }, question };
    await this._askWaiting();
  }

  async _askWaiting() {
    const stop = new AbortController();
    this._stop = stop;
    const began = performance.now();
    let number = 0;
    for (let next = this._next(); next && !stop.signal.aborted; next = this._next()) {
      await this._askOne(next, stop.signal);
      number++;
    }
    if (this._stop !== stop) return;
    this._stop = null;
    this._state.tell("work");
    if (!stop.signal.aborted) this._sayEnd(number, (performance.now() - began) / 1000);
  }

  /** Stop, here and at the service. */
  cancel() {
    if (!this.isBusy) return;
    this._halt();
    this._say("Cancelled.");
  }

  _halt() {
    this._stop?.abort();
    this._stop = null;
    for (const picture of this._state.pictures) {
      if (picture.status === "waiting" || picture.status === "computing") {
        this._mark(picture, picture.sheet ? "done" : "new");
      }
    }
    this._state.tell("work");
  }

  _next() {
    const waiting = this._state.pictures.filter((one) => one.status === "waiting");
    return waiting.find((one) => one === this._state.current) ?? waiting[0];
  }

  /**
   * @param {Picture} picture
   * @param {AbortSignal} signal
   */
  async _askOne(picture, signal) {
    const { names, question } = this._asked;
    this._mark(picture, "computing");
    this._state.tell("work");
    try {
      const answer = await this._patient(picture, signal);
      const sheet = await Sheet.of(answer, names);
      if (!signal.aborted) this._state.setSheet(picture, sheet, question);
    } catch (error) {
      if (signal.aborted) return;
      const message = error instanceof Error ? error.message : String(error);
      picture.error = message;
      this._mark(picture, "failed");
      this._say(`${picture.file.name}: ${message}`, "error");
      if (error instanceof ServiceError && error.status === 401) this._askToken();
    }
  }

  /**
   * An answer, after some waiting where the service has too much to do.
   * @param {Picture} picture
   * @param {AbortSignal} signal
   */
  async _patient(picture, signal) {
    const { names, settings } = this._asked;
    for (let number = 1; ; number++) {
      try {
        return await askLabels(picture.file, names, settings, signal);
      } catch (error) {
        const isBusy = error instanceof ServiceError && error.wait > 0;
        if (!isBusy || number === MOST_TRIES || signal.aborted) throw error;
        this._say("The service is busy; the page goes on by itself.");
        await new Promise((done) => setTimeout(done, 1000 * Math.min(error.wait, LONGEST_WAIT)));
      }
    }
  }

  /**
   * @param {Picture} picture
   * @param {Picture["status"]} status
   */
  _mark(picture, status) {
    picture.status = status;
    this._state.tell("pictures");
  }

  /**
   * @param {number} number
   * @param {number} seconds
   */
  _sayEnd(number, seconds) {
    const failed = this._state.pictures.filter((one) => one.status === "failed");
    if (failed.length) return;
    const warnings = this._state.current?.sheet?.warnings ?? [];
    const what = number === 1 ? "Done" : `${number} pictures done`;
    this._say([`${what} in ${seconds.toFixed(1)} s.`, ...warnings].join(" "));
  }
}
