/**
 * Progress for a person who waits: one line that is written over on a terminal; elsewhere (a file, a
 * CI log) a plain line at most every 5 s, so that a log stays short and still shows life.
 *
 * It goes to standard error: what a run prints as its result must stay clean in a pipe.
 *
 * Cost: a comparison of times per call; a terminal is written at most 20 times a second.
 */

/** Most writes to a terminal: the eye sees no more. */
const TERMINAL_INTERVAL_MS = 50;
/** Time between two lines elsewhere, in milliseconds. */
const PLAIN_INTERVAL_MS = 5000;

/** Where progress goes, and what it is. */
export interface ProgressOptions {
  /** Writes text as it stands; to standard error, as a rule. */
  readonly write: (text: string) => void;
  /** Whether that is a terminal, on which a line can be written over. */
  readonly terminal: boolean;
  /** Columns of the terminal; 80 if left out. */
  readonly columns?: () => number;
  /** A clock in milliseconds that never goes back; `performance.now` if left out. */
  readonly now?: () => number;
}

/**
 * A progress line.
 *
 * @example To a log
 * ```ts
 * import assert from "node:assert/strict";
 *
 * let [time, log] = [0, ""];
 * const progress = new Progress({
 *   write: (text) => log += text,
 *   terminal: false,
 *   now: () => time,
 * });
 * progress.update("cycle 1");
 * progress.update("cycle 2");
 * time = 5000;
 * progress.update("cycle 3");
 * assert.equal(log, "cycle 1\ncycle 3\n");
 * ```
 */
export class Progress {
  readonly #options: Required<ProgressOptions>;
  #writtenAt = -Infinity;
  #isShown = false;

  /**
   * Makes a progress line; nothing is written yet.
   *
   * @param options Where it goes.
   */
  constructor(options: ProgressOptions) {
    this.#options = { columns: () => 80, now: () => performance.now(), ...options };
  }

  /**
   * Shows a text, unless another was shown a moment ago.
   *
   * @param text What is being done; line breaks become spaces.
   */
  update(text: string): void {
    const { write, terminal, columns, now } = this.#options;
    const time = now();
    if (time - this.#writtenAt < (terminal ? TERMINAL_INTERVAL_MS : PLAIN_INTERVAL_MS)) return;
    this.#writtenAt = time;
    // deno-lint-ignore no-control-regex
    const line = text.replace(/[\x00-\x1f\x7f-\x9f]+/g, " ");
    if (!terminal) return write(`${line}\n`);
    // One column stays free: a full line would wrap, and the next one could not cover it.
    const width = Math.max(columns() - 1, 10);
    const characters = [...line];
    const shown = characters.length > width ? `${characters.slice(0, width - 1).join("")}…` : line;
    write(`\r\x1b[K${shown}`);
    this.#isShown = true;
  }

  /** Takes the line off a terminal, so that what comes next stands on a clean line. */
  clear(): void {
    if (!this.#isShown) return;
    this.#options.write("\r\x1b[K");
    this.#isShown = false;
    this.#writtenAt = -Infinity;
  }
}
