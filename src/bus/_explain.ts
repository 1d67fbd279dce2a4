/**
 * Explaining: what callers ask is checked here, and what was found out is kept.
 *
 * An explanation as of a tick never changes, for all in it is in the past: each page as of the tick that
 * changed it last. An explanation of the present is one as of the tick that changed the page last, so it is
 * good as long as the page's epoch stays: a page further up that changes changes this one too, or leaves its
 * value as it was made. Only the horizon can move over it; then all is forgotten.
 *
 * Cost: what is kept is a lookup; the rest is the tree's.
 */

import {
  checkInteger,
  checkKeys,
  checkType,
  EXPLAIN_CACHE_PAGES_MAX,
  EXPLAIN_DELTAS_MAX,
  EXPLAIN_DEPTH_MAX,
  MmsbError,
  PAGE_BYTES_MAX,
  PAGE_ID_MAX,
} from "../base/mod.ts";
import { damagedAt, type LogIndex } from "../log/mod.ts";
import type { PageStore } from "../physical/mod.ts";
import { PastBindings } from "./_explain_bindings.ts";
import type { Span } from "./_explain_deltas.ts";
import { Lives } from "./_explain_lives.ts";
import { explainPresent } from "./_explain_memory.ts";
import { ExplainedTree } from "./_explain_tree.ts";
import { addValues } from "./_explain_values.ts";
import { type ExplainOptions, Explanation } from "./explanation.ts";
import { noLog } from "./history.ts";
import { Page } from "./page.ts";
import type { Past } from "./past.ts";

const OPTION_KEYS = ["depth", "tick", "time", "offset", "length", "deltas", "values"];
/** Deltas of a page where no number is given. */
const DELTAS_DEFAULT = 3;

/** What of its bus explaining needs. */
export interface ExplainHost {
  /** What the bus asks of its log; none in memory. */
  readonly past: Past | undefined;
  /** The pages of the bus's tick; none where they are another process's. */
  store(): PageStore | undefined;
  /** The bus's last tick. */
  tick(): number;
  /** Whether the handle is one of the bus. */
  owns(page: Page): boolean;
}

interface Asked {
  readonly page: number;
  /** `undefined` for now. */
  readonly tick: number | undefined;
  readonly depth: number;
  readonly deltas: number;
  readonly values: boolean;
  readonly span: Span | undefined;
}

interface Kept {
  readonly explanation: Explanation;
  /** What tells that an explanation of the present is still good. */
  readonly mark: number;
}

/** Explains pages of one bus. */
export class Explainer {
  readonly #host: ExplainHost;
  /** Explanations by what was asked, the one used last at the end. */
  readonly #kept = new Map<string, Kept>();
  #keptPages = 0;
  /** What the log began with when they were made. */
  #begin = "";
  #bindings: { readonly index: LogIndex; readonly found: PastBindings } | undefined;

  /** Nothing is known yet. */
  constructor(host: ExplainHost) {
    this.#host = host;
  }

  /**
   * Explains a page.
   *
   * @throws {MmsbError} as {@linkcode StateBus.explain}.
   */
  explain(page: Explainable, options: ExplainOptions): Explanation {
    const { past } = this.#host;
    const asked = this.#check(idOf(page), options);
    if (past === undefined) {
      this.#checkOwn(page);
      return this.#explainPresent(asked);
    }
    const { horizon, text } = past.beginning(), tick = asked.tick ?? this.#host.tick();
    this.#forgetBefore(`${horizon} ${text}`);
    const { page: id, depth, deltas, values, span } = asked;
    const { offset, length } = span ?? {};
    const key = [id, asked.tick, depth, deltas, values, offset, length].join();
    const mark = asked.tick === undefined ? this.#markOf(id) : 0;
    const kept = this.#kept.get(key);
    if (kept !== undefined && kept.mark === mark) {
      this.#kept.delete(key);
      this.#kept.set(key, kept);
      const { explanation } = kept;
      if (explanation.tick === tick) return explanation;
      return new Explanation(explanation.root, tick, horizon, explanation);
    }
    const explanation = this.#make(past, { ...asked, tick });
    this.#keep(key, { explanation, mark });
    return explanation;
  }

  /** Without a log ids mean nothing beyond the bus. */
  #checkOwn(value: Explainable): void {
    const page = typeof value === "number" || value instanceof Page ? value : value.page;
    if (typeof page === "number" || this.#host.owns(page)) return;
    throw new MmsbError("usage", `Cannot explain page ${page.id}: it is a page of another bus`, {
      values: { page: page.id },
    });
  }

  #check(page: number, options: ExplainOptions): Asked {
    checkKeys("explain", options, OPTION_KEYS);
    const { depth = EXPLAIN_DEPTH_MAX, deltas = DELTAS_DEFAULT, offset, length } = options;
    checkInteger("depth", depth, 1, EXPLAIN_DEPTH_MAX);
    checkInteger("deltas", deltas, 0, EXPLAIN_DELTAS_MAX);
    const values = checkType("values", options.values ?? false, "boolean");
    let span: Span | undefined;
    if (offset !== undefined || length !== undefined) {
      if (offset === undefined || length === undefined) {
        throw new MmsbError("usage", "Cannot explain a part of a page: give offset and length");
      }
      checkInteger("offset", offset, 0, PAGE_BYTES_MAX - 1);
      checkInteger("length", length, 1, PAGE_BYTES_MAX - offset);
      span = { offset, length };
    }
    return { page, tick: this.#tickOf(options), depth, deltas, values, span };
  }

  #tickOf({ tick, time }: ExplainOptions): number | undefined {
    const { past } = this.#host;
    if (tick === undefined && time === undefined) return undefined;
    if (tick !== undefined && time !== undefined) {
      throw new MmsbError("usage", "Cannot explain as of a tick and a time: give one of them");
    }
    if (past !== undefined) return past.tickOf(tick === undefined ? { time } : { tick });
    if (tick !== this.#host.tick()) throw noLog("explain an earlier tick");
    return undefined;
  }

  #make(past: Past, asked: Asked & { tick: number }): Explanation {
    const { page, tick, depth, deltas, values, span } = asked;
    const { index, horizon, fault } = past.source();
    if (fault !== undefined && index.tick < tick) throw damagedAt(fault, index.tick + 1, page);
    if (this.#bindings?.index !== index) {
      this.#bindings = { index, found: new PastBindings(index) };
    }
    const lives = new Lives(past, () => index, this.#host.store());
    lives.checkThere(page, tick, span === undefined ? 0 : span.offset + span.length);
    const source = { index, horizon, lives, bindings: this.#bindings.found };
    const { root, extent } = new ExplainedTree(source, { page, tick, depth, deltas, span }).make();
    return this.#valued(new Explanation(root, tick, horizon, extent), values);
  }

  /** Fills in values, if they are asked for, while the explanation is not known to anybody. */
  #valued(explanation: Explanation, values: boolean): Explanation {
    const { past } = this.#host, store = this.#host.store();
    if (values && store !== undefined) addValues(explanation, store, past);
    return explanation;
  }

  #explainPresent({ page, depth, values, span }: Asked): Explanation {
    if (span !== undefined) throw noLog("explain a part of a page");
    const store = this.#host.store();
    if (store === undefined) {
      throw new MmsbError(
        "usage",
        "Cannot explain a page on an attached bus, which has the writer's pages only: ask the writer",
        { values: { page } },
      );
    }
    checkNow(store, page);
    const { root, extent } = explainPresent(store, page, depth);
    return this.#valued(new Explanation(root, this.#host.tick(), 0, extent), values);
  }

  /**
   * A number that changes when the present value of a page does. Epochs only rise, so the sum of those of a
   * table's pages does.
   */
  #markOf(page: number): number {
    const { past } = this.#host, store = this.#host.store();
    // Of another process's pages only the tick tells.
    if (store === undefined || past!.isPast) return this.#host.tick();
    checkNow(store, page);
    const lives = new Lives(past!, () => past!.index(), store);
    const pages = lives.pagesOfTable(page, this.#host.tick()) ?? [page];
    return pages.reduce((sum, id) => sum + store.table.epoch(store.table.rowOf(id)), 0);
  }

  #keep(key: string, kept: Kept): void {
    this.#keptPages += kept.explanation.pages - (this.#kept.get(key)?.explanation.pages ?? 0);
    this.#kept.delete(key);
    this.#kept.set(key, kept);
    for (const [old, { explanation }] of this.#kept) {
      if (this.#keptPages <= EXPLAIN_CACHE_PAGES_MAX || old === key) return;
      this.#kept.delete(old);
      this.#keptPages -= explanation.pages;
    }
  }

  #forgetBefore(begin: string): void {
    if (begin === this.#begin) return;
    this.#begin = begin;
    this.#kept.clear();
    this.#keptPages = 0;
  }
}

/** What can be explained: a page, a struct or a table, or the id of a page. */
export type Explainable = Page | number | { readonly page: Page };

function idOf(value: Explainable): number {
  const page = value instanceof Page ? value : (value as { page?: unknown } | null)?.page;
  if (page instanceof Page) return page.id;
  if (typeof value === "object" || typeof value === "function") {
    throw new MmsbError("usage", "Cannot explain this: give a page, a struct, a table or an id");
  }
  return checkInteger("page id", value, 1, PAGE_ID_MAX);
}

/** Throws where a page is not there now. */
function checkNow(store: PageStore, page: number): void {
  const row = store.table.rowOf(page);
  if (row !== 0 && store.table.isActive(row)) return;
  throw new MmsbError(
    "invalid-handle",
    row === 0
      ? `Cannot explain page ${page}: it never was, or was deleted; give a tick at which it was there`
      : `Cannot explain page ${page}: it is not there before the next tick`,
    { values: { page } },
  );
}
