/**
 * Explained tree: from a page back to what it was made from, level by level.
 *
 * A page is looked at as the last tick that changed it left it; the rule of its newest row says which
 * pages it came from, and those are looked at as of that same tick. So it goes on until pages that
 * no rule made. What is asked at one distance is read together.
 *
 * A page is the same for all ticks between two of its changes, so it stands in the tree once for those.
 *
 * Cost: some 5 µs a page, and reading the frames that its newest rows stand in.
 */

import { EXPLAIN_NEAR_PAGES_MAX, EXPLAIN_PAGES_MAX } from "../base/mod.ts";
import { type BindingText, type FrameRows, type LogIndex, ROW_KIND } from "../log/mod.ts";
import type { PastBindings } from "./_explain_bindings.ts";
import {
  deltaOf,
  deltasBack,
  type DeltasWanted,
  findDeltas,
  hasMore,
  type Span,
} from "./_explain_deltas.ts";
import { type MadeExplanation, madeOf } from "./_explain_extent.ts";
import type { Lives } from "./_explain_lives.ts";
import {
  type PageRows,
  type PlacedRow,
  readRows,
  RowFinder,
  type RowPlace,
} from "./_explain_rows.ts";
import type { ExplainedPage, ExplainedRule } from "./explanation.ts";

/** What a tree is made from. */
export interface TreeSource {
  /** The index of the log. */
  readonly index: LogIndex;
  /** The first tick whose state can be had. */
  readonly horizon: number;
  /** Names and epochs. */
  readonly lives: Lives;
  /** Rules that are not bound any more. */
  readonly bindings: PastBindings;
}

/** What is asked. */
export interface TreeRequest {
  /** The page. */
  readonly page: number;
  /** As of which tick. */
  readonly tick: number;
  /** Most steps from it. */
  readonly depth: number;
  /** Most deltas of a page. */
  readonly deltas: number;
  /** The part of the page that is meant. */
  readonly span: Span | undefined;
}

type Writable = { -readonly [key in keyof ExplainedPage]: ExplainedPage[key] };

/** A page of the tree while it is made. */
interface Draft {
  readonly page: Writable & { parents: ExplainedPage[] };
  /** Its newest delta. */
  readonly place: RowPlace | undefined;
  /** Rows of the page, or of all pages of the table that it is. */
  readonly rows: readonly PageRows[];
  /** The last tick for which it is known that nothing came after. */
  seenTo: number;
  /** Number of the rule that made it, 0 for none. */
  rule: number;
  /** Whether it is among the nearest pages, of which more than one delta is shown. */
  isNear: boolean;
  /** The same page as of another tick. */
  readonly other: Draft | undefined;
}

interface KnownRule {
  readonly rule: ExplainedRule | undefined;
  /** Each once; `undefined` where nothing is known of them. */
  readonly inputs: readonly number[] | undefined;
}

/** Makes one tree. */
export class ExplainedTree {
  readonly #source: TreeSource;
  readonly #request: TreeRequest;
  readonly #finder: RowFinder;
  readonly #drafts = new Map<number, Draft>();
  readonly #rules = new Map<number, KnownRule>();
  #count = 0;
  /** Pages so far that have deltas. */
  #written = 0;

  /** Nothing is read yet. */
  constructor(source: TreeSource, request: TreeRequest) {
    this.#source = source;
    this.#request = request;
    this.#finder = new RowFinder(source.index, request.tick);
  }

  /**
   * Makes it.
   *
   * @throws {MmsbError} `corrupt-log` where the log is damaged.
   */
  make(): MadeExplanation {
    const { page, tick, depth: depthMax, span } = this.#request;
    let level: Draft[] = [];
    const root = span === undefined
      ? this.#find(page, tick, 0, level)!
      : this.#findPart(page, tick, span, level);
    const all: Draft[] = [];
    for (let depth = 0; level.length > 0; depth++) {
      all.push(...level);
      this.#read(level);
      const next: Draft[] = [];
      for (const draft of level) this.#addParents(draft, depth === depthMax, next);
      level = next;
    }
    this.#addDeltas(all, root);
    return madeOf(all.map(({ page }) => page));
  }

  /** What the newest row of each page says of it. */
  #read(level: readonly Draft[]): void {
    const { index, lives } = this.#source;
    const items: (PlacedRow & { readonly draft: Draft })[] = [];
    for (const draft of level) {
      const { place, page: { id } } = draft;
      if (place === undefined) continue;
      items.push({ place, draft });
      draft.isNear = this.#written++ < EXPLAIN_NEAR_PAGES_MAX;
      // A table's epoch is that of its root, and the newest row may be of any of its pages.
      if (place.page === id) continue;
      const root = this.#finder.rows(id, place.tick).newest;
      if (root !== undefined) items.push({ place: root, draft });
      else draft.page.epoch = lives.epochBefore(id, place.tick);
    }
    readRows(index, items, ({ place, draft }, rows) => {
      const { page } = draft;
      if (place.page === page.id) page.epoch = lives.epochAfter(page.id, rows, place.row);
      if (place === draft.place) this.#takeRow(draft, place, rows);
    });
  }

  #takeRow(draft: Draft, place: RowPlace, rows: FrameRows): void {
    const { page, isNear } = draft;
    if (place.rowKind === ROW_KIND.derived) {
      page.kind = "derived";
      page.graphVersion = rows.frame.graphVersion;
      draft.rule = rows.rule(place.row);
    }
    if (isNear || this.#request.deltas === 0 || draft.rows.length > 1) return;
    const ruleName = draft.rule === 0 ? undefined : this.#ruleOf(draft.rule).rule?.name;
    page.deltas = [deltaOf(place, rows, page.epoch, ruleName)];
    page.more = hasMore(draft.rows[0], place);
  }

  #addParents(draft: Draft, isLast: boolean, next: Draft[]): void {
    const { page, place } = draft, { horizon, lives, index } = this.#source;
    if (place === undefined) {
      const isBefore = index.tickBase > 0 && !lives.isLogged(page.id);
      if (!isBefore) return;
      page.epoch = lives.epochBefore(page.id, this.#request.tick);
      page.kind = page.epoch > 0 ? "source" : "unwritten";
      page.end = "horizon";
      return;
    }
    const tick = place.tick, isGone = horizon > 0 && tick <= horizon;
    if (isGone) page.end = "horizon";
    if (page.kind !== "derived") return;
    const { rule, inputs } = this.#ruleOf(draft.rule);
    page.rule = rule;
    if (isGone) return;
    const all = inputs ?? lives.dataSources(page.id, tick);
    const parents = all.includes(page.id) ? all.filter((id) => id !== page.id) : all;
    if (inputs === undefined && parents.length === 0) page.end = "binding";
    if (parents.length > 0 && isLast) page.end = "depth";
    if (isLast) return;
    for (const id of parents) {
      const found = this.#find(id, tick, page.depth + 1, next);
      if (found === undefined) page.end = "pages";
      else page.parents.push(found.page);
    }
  }

  #ruleOf(number: number): KnownRule {
    let known = this.#rules.get(number);
    if (known !== undefined) return known;
    const { lives, bindings } = this.#source;
    const binding = number === 0 ? undefined : bindingOf(number, lives, bindings);
    known = {
      rule: binding && {
        number,
        name: binding.name,
        version: binding.version,
        module: binding.module ?? undefined,
        inputs: binding.inputs,
      },
      inputs: binding && [...new Set(binding.inputs)],
    };
    this.#rules.set(number, known);
    return known;
  }

  /** A page as of a tick, put at the end of `next` if it is new; `undefined` where there is no room for it. */
  #find(id: number, tick: number, depth: number, next: Draft[]): Draft | undefined {
    const first = this.#drafts.get(id);
    for (let draft = first; draft !== undefined; draft = draft.other) {
      const from = draft.place?.tick ?? 0;
      if (from <= tick && tick <= draft.seenTo) return draft;
    }
    const pages = this.#source.lives.pagesOfTable(id, tick);
    const rows = pages?.map((page) => this.#finder.rows(page, tick)) ??
      [this.#finder.rows(id, tick)];
    let place: RowPlace | undefined;
    for (const { newest } of rows) {
      if (newest !== undefined && (place === undefined || newest.tick > place.tick)) place = newest;
    }
    for (let draft = first; draft !== undefined; draft = draft.other) {
      if (draft.place?.tick !== place?.tick) continue;
      draft.seenTo = Math.max(draft.seenTo, tick);
      return draft;
    }
    if (this.#count >= EXPLAIN_PAGES_MAX) return undefined;
    const draft = this.#add(id, place, rows, tick, depth);
    this.#drafts.set(id, draft);
    next.push(draft);
    return draft;
  }

  /** A part of the page that was asked about; it is not what others came from. */
  #findPart(id: number, tick: number, span: Span, next: Draft[]): Draft {
    const rows = this.#finder.rows(id, tick);
    const found = deltasBack(this.#source.index, rows, span).next();
    const draft = this.#add(id, found.done ? undefined : found.value, [rows], tick, 0);
    next.push(draft);
    return draft;
  }

  #add(
    id: number,
    place: RowPlace | undefined,
    rows: readonly PageRows[],
    tick: number,
    depth: number,
  ): Draft {
    const other = this.#drafts.get(id);
    const page: Draft["page"] = {
      id,
      name: other?.page.name ?? this.#source.lives.nameOf(id),
      kind: place === undefined ? "unwritten" : "source",
      epoch: 0,
      tick: place?.tick ?? 0,
      depth,
      pages: rows.length,
      deltas: [],
      more: false,
      rule: undefined,
      graphVersion: undefined,
      parents: [],
      end: undefined,
    };
    this.#count++;
    return { page, place, rows, seenTo: tick, rule: 0, isNear: false, other };
  }

  #addDeltas(all: readonly Draft[], root: Draft): void {
    const { index, lives, horizon } = this.#source, { deltas: count, span } = this.#request;
    const wanted: (DeltasWanted & { draft: Draft })[] = [];
    for (const draft of all) {
      const { place, rows, page, isNear } = draft;
      // Those of pages far away were made when their rows were read.
      if (place === undefined || page.deltas.length > 0) continue;
      const part = draft === root ? span : undefined, ruleName = page.rule?.name;
      wanted.push({ draft, place, rows, ruleName, span: part, isNear, deltas: [], more: false });
    }
    findDeltas(index, lives, wanted, count, horizon);
    for (const { draft: { page }, deltas, more } of wanted) {
      page.deltas = deltas;
      page.more = more;
    }
    for (const { page, rule: number } of all) {
      // Where the binding is not known the rows still name their rule.
      if (number === 0 || page.rule !== undefined || page.deltas.length === 0) continue;
      const [{ source: name }] = page.deltas;
      page.rule = { number, name, version: undefined, module: undefined, inputs: [] };
    }
  }
}

/** What is known of a rule. */
function bindingOf(
  number: number,
  lives: Lives,
  bindings: PastBindings,
): Pick<BindingText, "name" | "version" | "module" | "inputs"> | undefined {
  return lives.bindings?.get(number) ?? bindings.find(number) ??
    lives.bindingsBefore?.get(number);
}
