/**
 * Explanation: what the value of a page came from, as a graph of pages down to the sources.
 *
 * Each page in it is the page as it was at one tick, the last one that changed it; so its parents are
 * as they were then, whatever happened to them since. A page that several others came from stands in
 * the graph once a tick, and is the same object for all of them.
 *
 * Cost: an object a page, and one a delta that is shown.
 *
 * @module
 */

import { toHex } from "../base/mod.ts";
import { physicalUs } from "../temporal/mod.ts";

/** A delta that led to the value of a page. */
export interface ExplainedDelta {
  /** Page that it changed: the one that is explained, or a page of the table that is. */
  readonly page: number;
  /** Tick that applied it. */
  readonly tick: number;
  /** Hybrid logical timestamp. */
  readonly hlc: bigint;
  /** The source's own time in µs since the Unix epoch, if it stated one. */
  readonly timeUs: number | undefined;
  /** The page's epoch after it. */
  readonly epoch: number;
  /** What it did: `set`, `masked`, `add f64` … */
  readonly kind: string;
  /** Who made it, "" if not said; of a derived delta the name of the rule. */
  readonly source: string;
  /** Why, "" if not said. */
  readonly intent: string;
  /** First byte of the span. */
  readonly offset: number;
  /** Bytes of the span. */
  readonly length: number;
  /**
   * The first bytes of the span before it, at most 64; `undefined` where they stood there before the horizon,
   * are not found in the 16,384 rows that one explanation looks at, or the page is not among its nearest 256.
   */
  readonly before: Uint8Array | undefined;
  /** The first bytes of the span after it, at most 64; where it does not set all of them `undefined` as `before`. */
  readonly after: Uint8Array | undefined;
  /** Deltas that it stands for: 1, or more where older ones were merged into one. */
  readonly advance: number;
}

/** The rule that made a value. */
export interface ExplainedRule {
  /** Its number: another version of its code, or other pages, have another one. */
  readonly number: number;
  /** Its name. */
  readonly name: string;
  /** Version of its code then; `undefined` where its binding is not in the log any more. */
  readonly version: number | undefined;
  /** Module that its code was in; `undefined` of a closure. */
  readonly module: string | undefined;
  /** Ids of the pages that it read. */
  readonly inputs: readonly number[];
}

/**
 * Why an explanation does not go on behind a page: `depth`, as its parents are further away than was
 * asked for; `horizon`, as what is before that tick was merged or dropped; `pages`, as it has as many
 * pages as it may have; `binding`, as nothing is known of the rule; `log`, as there is none.
 */
export type ExplanationEnd = "depth" | "horizon" | "pages" | "binding" | "log";

/** A page as one tick left it, and what that came from. */
export interface ExplainedPage {
  /** Id. */
  readonly id: number;
  /** Name, "" for none. */
  readonly name: string;
  /** `source`: deltas made it; `derived`: a rule did; `unwritten`: nothing has changed it so far. */
  readonly kind: "source" | "derived" | "unwritten";
  /** Epoch after that tick; of a table that of its root page. */
  readonly epoch: number;
  /** The last tick that changed it; 0 where none has, `undefined` without a log. */
  readonly tick: number | undefined;
  /** Steps from the page that was asked about, on the shortest way. */
  readonly depth: number;
  /** Pages of the table that this is, the root among them; 1 of all else. */
  readonly pages: number;
  /** The newest deltas, newest first; of a derived page those of that tick. */
  readonly deltas: readonly ExplainedDelta[];
  /** Whether there are more deltas than are given. */
  readonly more: boolean;
  /** The rule that made it, of a derived page. */
  readonly rule: ExplainedRule | undefined;
  /** Version of the graph in that tick, of a derived page. */
  readonly graphVersion: number | undefined;
  /**
   * What its fields held after that tick, by name: where `values` was asked for, of the nearest 256 pages, if the
   * page is a struct that is there now and its bytes then are known.
   */
  readonly value?: Readonly<Record<string, unknown>>;
  /** The pages that it was made from, as they were in that tick: all inputs of the rule, each once. */
  readonly parents: readonly ExplainedPage[];
  /** Why the way to the sources ends here, if it does. */
  readonly end: ExplanationEnd | undefined;
}

/** What is asked of {@linkcode StateBus.explain}. */
export interface ExplainOptions {
  /** Most steps from the page to its sources, 1 to 31. Default: 31. */
  readonly depth?: number;
  /** As of this tick. Default: now. */
  readonly tick?: number;
  /** As of the last tick at or before this time: a Date, ISO text, or µs since the Unix epoch. */
  readonly time?: Date | string | number;
  /** First byte of the part of the page that is meant; with `length`. Default: all of it. */
  readonly offset?: number;
  /** Bytes of that part. */
  readonly length?: number;
  /** Most deltas that are shown of each of the nearest 256 pages, up to 1024; of others one. Default: 3. */
  readonly deltas?: number;
  /** Whether the fields of structs are told, too ({@linkcode ExplainedPage.value}). Default: false. */
  readonly values?: boolean;
}

/** What an explanation says of itself as a whole. */
type Extent = Pick<Explanation, "depth" | "pages" | "truncated" | "complete">;

/** Bytes of a value that are printed. */
const PRINTED_BYTES = 16;
/** Characters of a field that are printed. */
const PRINTED_CHARACTERS = 60;

/**
 * What a value came from; given by {@linkcode StateBus.explain}. It is shared by all who ask the same: read
 * it, and do not write into its bytes.
 */
export class Explanation {
  /** The page that was asked about. */
  readonly root: ExplainedPage;
  /** The tick as of which it was asked. */
  readonly tick: number;
  /** The first tick whose state can be had, 0 where all can; branches that end there have `end` "horizon". */
  readonly horizon: number;
  /** Steps to the page that is furthest from the root. */
  readonly depth: number;
  /** Pages in it, each counted once a tick. */
  readonly pages: number;
  /** Whether some branch was cut: by the depth that was asked for, or at the most pages. */
  readonly truncated: boolean;
  /** Whether every branch goes down to sources. */
  readonly complete: boolean;

  /** @ignore Made by the bus. */
  constructor(root: ExplainedPage, tick: number, horizon: number, extent: Extent) {
    this.root = root;
    this.tick = tick;
    this.horizon = horizon;
    this.depth = extent.depth;
    this.pages = extent.pages;
    this.truncated = extent.truncated;
    this.complete = extent.complete;
  }

  /** All pages in it, each once, from the root on: no page before one that it is nearer than. */
  *[Symbol.iterator](): Generator<ExplainedPage> {
    yield* pagesUnder(this.root);
  }

  /** The pages that were not made from others. */
  sources(): ExplainedPage[] {
    return [...this].filter(({ kind }) => kind !== "derived");
  }

  /**
   * An indented tree, a line a page and a line a delta. A page that has been shown is not shown again, but
   * named.
   *
   * @returns Lines, without a newline at the end.
   */
  toText(): string {
    return [...textOf(this)].join("\n");
  }

  /** As {@linkcode Explanation.toText}. */
  toString(): string {
    return this.toText();
  }

  /**
   * An object for JSON: the pages in a list, each naming its parents by their places in it. Bytes are
   * hexadecimal, timestamps decimal text.
   */
  toJSON(): ExplanationJson {
    const pages = [...this], places = new Map(pages.map((page, place) => [page, place]));
    const { tick, horizon, depth, truncated, complete } = this;
    return {
      tick,
      horizon,
      depth,
      truncated,
      complete,
      pages: pages.map((page) => ({
        ...page,
        tick: page.tick ?? null,
        ...(page.value === undefined ? {} : { value: valueJson(page.value) }),
        deltas: page.deltas.map(deltaJson),
        parents: page.parents.map((parent) => places.get(parent)!),
      })),
    };
  }
}

/** A delta in JSON. */
export interface ExplainedDeltaJson extends Omit<ExplainedDelta, "hlc" | "before" | "after"> {
  /** Hybrid logical timestamp, in decimal digits. */
  readonly hlc: string;
  /** Bytes before, hexadecimal. */
  readonly before: string | undefined;
  /** Bytes after, hexadecimal. */
  readonly after: string | undefined;
}

/** A page in JSON. */
export interface ExplainedPageJson extends Omit<ExplainedPage, "tick" | "deltas" | "parents"> {
  /** The last tick that changed it; 0 where none has, `null` without a log. */
  readonly tick: number | null;
  /** Its deltas. */
  readonly deltas: readonly ExplainedDeltaJson[];
  /** Places of its parents among the pages. */
  readonly parents: readonly number[];
}

/** An explanation in JSON. */
export interface ExplanationJson {
  /** The tick as of which it was asked. */
  readonly tick: number;
  /** The first tick whose state can be had. */
  readonly horizon: number;
  /** Steps to the page that is furthest from the root. */
  readonly depth: number;
  /** Whether some branch was cut. */
  readonly truncated: boolean;
  /** Whether every branch goes down to sources. */
  readonly complete: boolean;
  /** The pages, the one that was asked about first. */
  readonly pages: readonly ExplainedPageJson[];
}

/** Fields for JSON, which has no 64-bit integers, no bytes, and not all numbers. */
function valueJson(value: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(value).map(([name, one]) => {
      if (one instanceof Uint8Array) return [name, toHex(one)];
      const isPlain = typeof one !== "bigint" && (typeof one !== "number" || Number.isFinite(one));
      return [name, isPlain ? one : String(one)];
    }),
  );
}

/** The value of a field, as text: text in quotes, bytes in hexadecimal digits. */
function fieldText(value: unknown): string {
  if (value instanceof Uint8Array) return bytesText(value, value.length);
  if (typeof value !== "string") return String(value);
  const isLong = value.length > PRINTED_CHARACTERS;
  return JSON.stringify(isLong ? `${value.slice(0, PRINTED_CHARACTERS)}…` : value);
}

function deltaJson(delta: ExplainedDelta): ExplainedDeltaJson {
  const { hlc, before, after } = delta;
  return {
    ...delta,
    hlc: String(hlc),
    before: before && toHex(before),
    after: after && toHex(after),
  };
}

/** Pages by their distance. */
function* pagesUnder(root: ExplainedPage): Generator<ExplainedPage> {
  const found = [root], seen = new Set(found);
  for (let at = 0; at < found.length; at++) {
    yield found[at];
    for (const parent of found[at].parents) {
      if (seen.has(parent)) continue;
      seen.add(parent);
      found.push(parent);
    }
  }
}

/** Depth first without recursion: what is to be printed next is at the end of `open`. */
function* textOf({ root, tick, horizon }: Explanation): Generator<string> {
  yield `as of tick ${tick}${horizon > 0 ? `, horizon tick ${horizon}` : ""}`;
  const shown = new Set<ExplainedPage>();
  const open = [{ page: root, own: "", below: "" }];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const { page, own, below } = next;
    const isKnown = shown.has(page) && (page.parents.length > 0 || page.deltas.length > 0);
    yield `${own}${pageText(page)}${isKnown ? ", see above" : ""}`;
    if (isKnown) continue;
    shown.add(page);
    const { deltas, parents, more } = page, inner = parents.length > 0 ? "│ " : "  ";
    for (const delta of deltas) yield `${below}${inner}${deltaText(delta, page)}`;
    if (more) yield `${below}${inner}and more deltas before`;
    if (page.end !== undefined) yield `${below}${inner}${END_TEXT[page.end](horizon)}`;
    for (let at = parents.length - 1; at >= 0; at--) {
      const isLast = at === parents.length - 1;
      open.push({
        page: parents[at],
        own: `${below}${isLast ? "└─ " : "├─ "}`,
        below: `${below}${isLast ? "   " : "│  "}`,
      });
    }
  }
}

const END_TEXT: Readonly<Record<ExplanationEnd, (horizon: number) => string>> = {
  depth: () => "its parents are further away than the depth asked for",
  pages: () => "its parents are left out: there are too many pages",
  horizon: (horizon) => `what is before tick ${horizon} is gone`,
  binding: () => "the binding of its rule is not in the log",
  log: () => "there is no log to tell its deltas",
};

function pageText(
  { id, name, kind, epoch, tick, pages, rule, graphVersion, value }: ExplainedPage,
): string {
  const called = name === "" ? "" : ` ${JSON.stringify(name)}`;
  const what = pages > 1 ? `table ${id}${called} of ${pages} pages` : `page ${id}${called}`;
  const when = tick === undefined ? "" : tick === 0 ? ", never written" : `, tick ${tick}`;
  const version = rule?.version === undefined ? "" : ` version ${rule.version}`;
  const by = rule === undefined
    ? ""
    : `, by rule ${rule.number} ${JSON.stringify(rule.name)}${version}`;
  const graph = graphVersion === undefined || kind !== "derived" ? "" : `, graph ${graphVersion}`;
  const fields = value === undefined
    ? ""
    : ` = { ${
      Object.entries(value).map(([name, one]) => `${name}: ${fieldText(one)}`).join(", ")
    } }`;
  return `${what}, epoch ${epoch}${when}${by}${graph}${fields}`;
}

function deltaText(delta: ExplainedDelta, page: ExplainedPage): string {
  const { tick, hlc, kind, source, intent, offset, length, before, after, advance } = delta;
  const parts = [
    ...(tick === page.tick ? [] : [`tick ${tick}`]),
    ...(delta.page === page.id ? [] : [`page ${delta.page}`]),
    `${kind} ${offset}+${length}: ${bytesText(before, length)} → ${bytesText(after, length)}`,
    ...(source === "" || page.kind === "derived" ? [] : [`by ${JSON.stringify(source)}`]),
    ...(intent === "" ? [] : [`because ${JSON.stringify(intent)}`]),
    ...(advance === 1 ? [] : [`stands for ${advance}`]),
    ...(hlc === 0n ? [] : [`at ${isoText(hlc)}`]),
  ];
  return parts.join(", ");
}

function bytesText(bytes: Uint8Array | undefined, length: number): string {
  if (bytes === undefined) return "?";
  const some = toHex(bytes.subarray(0, PRINTED_BYTES));
  return length > Math.min(bytes.length, PRINTED_BYTES) ? `${some}…` : some;
}

/** Microseconds are too fine for a Date. */
function isoText(hlc: bigint): string {
  const us = physicalUs(hlc), ms = Math.floor(us / 1000);
  const micro = String(us - 1000 * ms).padStart(3, "0");
  return Number.isNaN(new Date(ms).getTime())
    ? `${us} µs`
    : new Date(ms).toISOString().replace("Z", `${micro}Z`);
}
