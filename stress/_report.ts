/**
 * What a stress suite is given, and what it tells: steps as they are done, a table at the end that says
 * what was done, how much, how fast, in how much memory and what was checked, and the same as JSON.
 *
 * A suite throws at the first thing that is wrong; whoever runs it adds the command that repeats it.
 */

/** What a suite is to do. */
export interface StressOptions {
  /** Part of its work, above 0; 1 for all of it. */
  readonly scale: number;
  /** Of all that is left to chance. */
  readonly seed: number;
  /** Minutes that it may go on, where it is one that goes on; 0 for its fixed amount of work. */
  readonly minutes: number;
  /** Told how far it is. */
  readonly progress: (text: string) => void;
}

/** One thing that was done. */
export interface StressStep {
  /** What, in words. */
  readonly what: string;
  /** How much of it. */
  readonly amount: string;
  /** How fast, with what it is compared with; "" where that means nothing. */
  readonly rate: string;
  /** What was compared afterwards, and was right. */
  readonly checked: string;
  /** Resident set of the process after it, in bytes. */
  readonly residentBytes: number;
  /** The same in numbers. */
  readonly figures: Readonly<Record<string, number>>;
}

/** What a suite did. */
export interface StressReport {
  readonly suite: string;
  readonly seed: number;
  readonly scale: number;
  readonly seconds: number;
  readonly steps: readonly StressStep[];
  /** What else is to be said. */
  readonly notes: readonly string[];
  /** Measurements over time, oldest first, where there are any. */
  readonly samples?: readonly Readonly<Record<string, number>>[];
  /** A table of its own in place of that of the steps, its head first. */
  readonly table?: readonly (readonly string[])[];
}

/** Something was wrong that shows only in the whole: the report says what. */
export class StressFailure extends Error {
  override readonly name = "StressFailure";
  /** All that was measured. */
  readonly report: StressReport;

  constructor(message: string, report: StressReport) {
    super(message);
    this.report = report;
  }
}

/** Collects steps, and tells of each when it is done. */
export class StressLog {
  readonly steps: StressStep[] = [];
  readonly notes: string[] = [];
  readonly #suite: string;
  readonly #options: StressOptions;
  readonly #start = performance.now();

  constructor(suite: string, options: StressOptions) {
    this.#suite = suite;
    this.#options = options;
  }

  /** Adds a step. */
  add(step: Omit<StressStep, "residentBytes">): void {
    this.steps.push({ ...step, residentBytes: Deno.memoryUsage().rss });
    const { what, amount, rate } = step;
    this.#options.progress(`${what}: ${[amount, rate].filter((text) => text !== "").join(", ")}`);
  }

  /** The report. */
  report(more: Pick<StressReport, "samples" | "table"> = {}): StressReport {
    const { seed, scale } = this.#options;
    const seconds = (performance.now() - this.#start) / 1000;
    const { steps, notes } = this;
    return { suite: this.#suite, seed, scale, seconds, steps, notes, ...more };
  }
}

/** A report as people read it. */
export function reportText(report: StressReport): string {
  const { suite, seed, scale, seconds, steps, notes, table } = report;
  const head = ["what was done", "how much", "how fast", "memory", "checked, and right"];
  const rows = steps.map((step) => [
    step.what,
    step.amount,
    step.rate,
    mebibytes(step.residentBytes),
    step.checked,
  ]);
  return [
    `=== stress ${suite}: seed ${seed}, scale ${scale}, ${seconds.toFixed(1)} s ===`,
    ...tableLines(table ?? [head, ...rows]),
    ...notes,
  ].join("\n");
}

/** A table as Markdown writes it, so that it can go into a document; the first row is its head. */
export function tableLines(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  const line = (row: readonly string[]) =>
    `| ${row.map((text, column) => text.padEnd(widths[column])).join(" | ")} |`;
  return [
    line(rows[0]),
    line(widths.map((width) => "-".repeat(width))),
    ...rows.slice(1).map(line),
  ];
}

/** A number as people read it. */
export function count(value: number): string {
  return value.toLocaleString("en", { maximumFractionDigits: 0 });
}

/** Rows a second, short: `12.3 M/s`. */
export function perSecond(rows: number, seconds: number): string {
  const rate = rows / seconds;
  if (rate >= 1e6) return `${(rate / 1e6).toFixed(1)} M/s`;
  return rate >= 1e4 ? `${(rate / 1e3).toFixed(0)} k/s` : `${rate.toFixed(0)}/s`;
}

/** Bytes as people read them. */
export function mebibytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}

/** A scaled amount, at least `min`. */
export function scaled(amount: number, scale: number, min = 1): number {
  return Math.max(min, Math.round(amount * scale));
}

/** Does something in a new folder, which is gone afterwards; a failure leaves it, and names it. */
export async function inFolder<T>(name: string, use: (dir: string) => Promise<T>): Promise<T> {
  const dir = await Deno.makeTempDir({ prefix: `mmsb-stress-${name}-` });
  let done: T;
  try {
    done = await use(dir);
  } catch (error) {
    if (error instanceof StressFailure) {
      await Deno.remove(dir, { recursive: true });
      throw error;
    }
    throw new Error(`In ${dir}, which is left as it is: ${error}`, { cause: error });
  }
  await Deno.remove(dir, { recursive: true });
  return done;
}
