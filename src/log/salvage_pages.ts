/**
 * Salvage pages: which rows of a damaged log can be kept, and what the others cost which page.
 *
 * A row is kept where its page is known and its bytes are inside. Where a page's epoch leaps, the rows
 * between are lost: the row behind them stands for them as well, so that the page's epoch stays true.
 *
 * Cost: a look at each row once, and an entry of a map a page.
 *
 * @module
 */

import { isKind, KIND_MASKED, maskedPayloadBytes } from "../physical/mod.ts";
import { STRUCTURAL } from "./format.ts";
import type { DecodedRows } from "./frame_reader.ts";
import type { ImportedFrom, LogRow } from "./import_columns.ts";
import type { LostPage, SalvagedPage, SalvageRange } from "./salvage_report.ts";
import type { FoundTick } from "./salvage_walk.ts";

interface Page {
  size: number;
  readonly name: string;
  epoch: number;
  /** Tick in which it was seen last. */
  tick: number;
  /** 1 where its epoch is kept one behind the true one, for the row that will repair it. */
  debt: 0 | 1;
}

/** A leap of more is a step back. */
const LEAP_MAX = 2 ** 31;
/** Most rows that one row can stand for. */
const ADVANCE_MAX = 2 ** 32 - 1;
const EPOCH_WRAP = 2 ** 32;
const NONE = new Uint8Array(0);

/** The pages of a log that is being salvaged. */
export class SalvagePages {
  /** Deltas that were found and are not kept. */
  deltasLost = 0;
  /** Lost rows of which nobody can say what page they are of. */
  rowsUnplaced = 0;
  /** Pages that lost deltas. */
  readonly hurt: SalvagedPage[] = [];
  /** Ticks that are lost, so far. */
  readonly gaps: SalvageRange[] = [];
  readonly #pages = new Map<number, Page>();
  readonly #names = new Map<string, number>();
  readonly #unborn = new Map<number, { rows: number; first: number; last: number }>();
  /** Highest epochs of pages in ticks that are not whole. */
  readonly #seen = new Map<number, { readonly epoch: number; readonly tick: number }>();
  /** Whether a row of a page will be repaired by a checkpoint, and so when. */
  #isRepaired: (page: number, tick: number) => boolean = () => false;

  /** Pages that live. */
  get size(): number {
    return this.#pages.size;
  }

  /** Whether a page lives. */
  has(page: number): boolean {
    return this.#pages.has(page);
  }

  /** Whether a page that lives has a name. */
  hasName(name: string): boolean {
    return name !== "" && this.#names.has(name);
  }

  /** Says which pages a checkpoint is going to repair. */
  repairBy(isRepaired: (page: number, tick: number) => boolean): void {
    this.#isRepaired = isRepaired;
  }

  /** Ids of the pages that live. */
  ids(): number[] {
    return [...this.#pages.keys()];
  }

  /** Size and epoch of a page that lives. */
  at(page: number): { readonly size: number; readonly epoch: number } | undefined {
    return this.#pages.get(page);
  }

  /** Takes the row that repairs a page. */
  repair(page: number, epoch: number, tick: number): void {
    const known = this.#pages.get(page)!;
    if (epoch > known.epoch + known.debt) {
      this.#hurt(page, known, epoch - known.epoch - known.debt, tick);
    }
    this.#seen.delete(page);
    known.epoch = epoch;
    known.debt = 0;
    known.tick = tick;
  }

  /** Takes the row that brings a page to where the log begins, which is no loss. */
  adopt(page: number, epoch: number, tick: number): void {
    Object.assign(this.#pages.get(page)!, { epoch, tick });
  }

  /** Takes a birth. */
  bear(page: number, size: number, name: string, tick: number): void {
    this.#pages.set(page, { size, name, epoch: 0, tick, debt: 0 });
    if (name !== "") this.#names.set(name, page);
  }

  /** Takes a resize or death, at the end of its tick. */
  change({ page, kind, offset }: LogRow): void {
    const known = this.#pages.get(page);
    if (known === undefined) return;
    if (kind === STRUCTURAL.resizePage) known.size = offset;
    if (kind !== STRUCTURAL.deletePage) return;
    this.#settleSeen(page, known);
    this.#pages.delete(page);
    if (known.name !== "") this.#names.delete(known.name);
  }

  /** A delta as it is to be written, or nothing where it cannot be kept. */
  delta(lane: FoundTick, decoded: DecodedRows, row: number): LogRow | undefined {
    const { columns, strings, timesUs, advance, rules } = decoded;
    const { tick } = lane;
    const id = columns.page[row] >>> 0, page = this.#pages.get(id);
    if (page === undefined) return this.#lose(id, tick);
    const offset = columns.offset[row] >>> 0, length = columns.length[row] >>> 0;
    const kind = columns.kind[row];
    const payload = payloadOf(lane, decoded, row);
    const step = this.#step(
      id,
      page,
      columns.epoch[row],
      advance === undefined ? 1 : advance[row] >>> 0,
      tick,
    );
    const fits = length > 0 && offset + length <= page.size && isKind(kind) &&
      payload !== undefined;
    if (!fits || step === 0) {
      this.deltasLost++;
      return undefined;
    }
    page.epoch += step;
    page.tick = tick;
    const timeUs = timesUs?.[row] ?? NaN, imported = importedOf(decoded, row);
    return {
      page: id,
      epoch: page.epoch,
      kind,
      offset,
      length,
      payload,
      source: strings[columns.source[row]],
      intent: strings[columns.intent[row]],
      ...(Number.isNaN(timeUs) ? {} : { timeUs }),
      ...(step === 1 ? {} : { advance: step }),
      ...(rules === undefined ? {} : { rule: rules[row] >>> 0 }),
      ...(imported === undefined ? {} : { imported }),
    };
  }

  /** Notes a delta of a tick that is not whole. */
  miss(decoded: DecodedRows, row: number, tick: number): void {
    const page = decoded.columns.page[row] >>> 0;
    this.deltasLost++;
    if (this.#pages.has(page)) this.#seen.set(page, { epoch: decoded.columns.epoch[row], tick });
  }

  /**
   * Notes a delta of a frame that fails its checksum. What it says may be wrong, so it counts as its page's only where
   * its epoch is one that the page could have had in its tick.
   *
   * @param rowsMax Deltas of the tick.
   */
  guess(decoded: DecodedRows, row: number, tick: number, rowsMax: number): void {
    const id = decoded.columns.page[row] >>> 0, page = this.#pages.get(id);
    const epoch = decoded.columns.epoch[row];
    if (page === undefined || !decoded.hasEpochs) return void this.rowsUnplaced++;
    const seen = this.#seen.get(id), own = page.epoch + page.debt;
    const isNew = leapOf(epoch, own) > 0 && leapOf(epoch, own) <= LEAP_MAX;
    const leap = leapOf(epoch, seen?.epoch ?? own), back = EPOCH_WRAP - leap;
    if (!isNew || leap > rowsMax && back > rowsMax) this.rowsUnplaced++;
    else if (seen === undefined || leap <= rowsMax) this.#seen.set(id, { epoch, tick });
  }

  /** Ends the log: what no later row of a page has told. */
  end(): LostPage[] {
    for (const [id, page] of this.#pages) this.#settleSeen(id, page);
    return [...this.#unborn].sort(([a], [b]) => a - b).map(([page, { rows, first, last }]) => ({
      page,
      rows,
      ticks: { first, last },
    }));
  }

  /** Rows that a row stands for, those that are lost before it counted in; 0 where it makes no sense. */
  #step(id: number, page: Page, low: number, advance: number, tick: number): number {
    const { debt } = page;
    const leap = leapOf(low, page.epoch + debt + advance);
    if (leap === 0) return advance;
    if (leap > LEAP_MAX || leap + advance > ADVANCE_MAX || advance < 1) return 0;
    this.#seen.delete(id);
    this.#hurt(id, page, leap, tick);
    if (debt === 1 || !this.#isRepaired(id, tick)) return leap + advance;
    page.debt = 1;
    return leap + advance - 1;
  }

  #hurt(id: number, page: Page, epochs: number, tick: number): void {
    const between = this.gaps.filter(({ first, last }) => last >= page.tick && first <= tick);
    const ticks = {
      first: Math.max(page.tick, between[0]?.first ?? page.tick),
      last: Math.min(tick, between.at(-1)?.last ?? tick),
    };
    const before = page.epoch + page.debt;
    this.hurt.push({
      page: id,
      ...(page.name === "" ? {} : { name: page.name }),
      epochs: { first: before + 1, last: before + epochs },
      ticks,
    });
  }

  #settleSeen(id: number, page: Page): void {
    const seen = this.#seen.get(id);
    if (seen === undefined) return;
    this.#seen.delete(id);
    const leap = leapOf(seen.epoch, page.epoch + page.debt);
    if (leap > 0 && leap <= LEAP_MAX) this.#hurt(id, page, leap, seen.tick);
  }

  #lose(page: number, tick: number): undefined {
    const lost = this.#unborn.get(page);
    this.#unborn.set(page, {
      rows: (lost?.rows ?? 0) + 1,
      first: lost?.first ?? tick,
      last: tick,
    });
    this.deltasLost++;
  }
}

/** How far an epoch, of which 32 bits are known, is ahead of another. */
function leapOf(epoch: number, from: number): number {
  return ((epoch - from) % EPOCH_WRAP + EPOCH_WRAP) % EPOCH_WRAP;
}

/** A row's payload, not copied; nothing where it is not in its frame. */
function payloadOf(lane: FoundTick, decoded: DecodedRows, row: number): Uint8Array | undefined {
  const { columns, payloadEnd } = decoded;
  const { bytes } = lane.segment;
  const start = columns.start[row], length = columns.length[row] >>> 0;
  const isMasked = columns.kind[row] === KIND_MASKED;
  const maskBytes = isMasked ? length + 7 >>> 3 : length;
  if (start < 0 || start + maskBytes > payloadEnd) return undefined;
  const size = isMasked ? maskedPayloadBytes(bytes, start, length) : length;
  return start + size > payloadEnd
    ? undefined
    : size === 0
    ? NONE
    : bytes.subarray(start, start + size);
}

function importedOf({ imported }: DecodedRows, row: number): ImportedFrom | undefined {
  if (imported === undefined) return undefined;
  const { idLow, idHigh, epoch } = imported;
  return { idLow: idLow[row], idHigh: idHigh[row], epoch: epoch[row] };
}
