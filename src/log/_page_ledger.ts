/**
 * Page ledger: what the rows of a log claim, checked row by row against what the rows before them
 * said: which pages live, how large they are, at which epoch they stand.
 *
 * It holds no bytes of pages, and shares with the replay only the decoding of columns, so that a
 * fault of one shows in the other. Where frames were lost, the pages' past is not known any more: then each page is believed
 * once, at its next row, so that one lost frame is one fault and not a thousand.
 *
 * Cost: a look at each row; 40 bytes and an entry of a map a page.
 */

import { MmsbError, PAGE_BYTES_MAX, PAGE_ID_MAX } from "../base/mod.ts";
import { decodeMetadata, elementBytes, isKind, KIND_MASKED, kindName } from "../physical/mod.ts";
import { decodeBirth } from "./birth.ts";
import type { LogFaultName } from "./fault.ts";
import { isEdgeRow, SECTION, STRUCTURAL } from "./format.ts";
import type { DecodedRows, FrameHeader } from "./frame_reader.ts";

/** Told of a fault: its name, and what was found in words. */
export type RowFaultSink = (fault: LogFaultName, message: string) => void;

interface LedgerPage {
  readonly id: number;
  /** Bytes; as large as a page can be where the birth was lost. */
  size: number;
  readonly name: string;
  epoch: number;
  /** Tick of its death, 0 while it lives. */
  death: number;
  /** How many losses there had been when the epoch was last sure. */
  sureAt: number;
}

/** What checking the rows of a frame gave. */
export interface FrameOutcome {
  /** Rows with a fault. */
  readonly bad: number;
  /** Of these, rows whose page is not there. */
  readonly orphans: number;
}

/** What becomes of a page, by structural operation. */
const CHANGES: Readonly<Record<number, string>> = {
  [STRUCTURAL.deletePage]: "deleted",
  [STRUCTURAL.setMetadata]: "given metadata",
  [STRUCTURAL.resizePage]: "resized",
  [STRUCTURAL.migratePage]: "given to another shard",
};

/** Pages as a log's rows tell of them. */
export class PageLedger {
  /** Pages that live. */
  living = 0;
  /** Largest id that was born. */
  idMax = 0;
  readonly #pages = new Map<number, LedgerPage>();
  readonly #names = new Map<string, number>();
  readonly #shards: number;
  /** Pages whose absence was told: one fault is enough. */
  readonly #orphaned = new Set<number>();
  #losses = 0;

  /** @param shards Shards of the directory. */
  constructor(shards: number) {
    this.#shards = shards;
  }

  /** Says that rows were lost: what is known of pages may be behind. */
  lose(): void {
    this.#losses++;
  }

  /** Name of a page, "" for none. */
  nameOf(id: number): string {
    return this.#pages.get(id)?.name ?? "";
  }

  /** Takes the births of a structural frame. */
  births(decoded: DecodedRows, bytes: Uint8Array, sink: RowFaultSink): void {
    const { columns } = decoded;
    for (let row = 0; row < decoded.rows; row++) {
      if (columns.kind[row] !== STRUCTURAL.createPage) continue;
      const id = columns.page[row] >>> 0, size = columns.offset[row] >>> 0;
      const shard = decoded.shards?.[row] ?? 0;
      const fault = this.#birthFault(id, size, shard);
      if (fault !== undefined) {
        sink("structure", fault);
        continue;
      }
      const name = this.#nameAtBirth(id, decoded, row, bytes, sink);
      this.#add({ id, size, name, epoch: 0, death: 0, sureAt: this.#losses });
    }
  }

  /** Whether a page is there, or may be. */
  lives(id: number): boolean {
    return this.#find(id)?.death === 0;
  }

  /** Takes all but births and edges of a structural frame, at the end of its tick. */
  changes(
    decoded: DecodedRows,
    bytes: Uint8Array,
    tick: number,
    sink: RowFaultSink,
    onDeath: (page: number) => void,
  ): void {
    const { columns } = decoded;
    for (let row = 0; row < decoded.rows; row++) {
      const operation = columns.kind[row], id = columns.page[row] >>> 0;
      if (operation === STRUCTURAL.createPage || isEdgeRow(operation)) continue;
      const isDeath = operation === STRUCTURAL.deletePage;
      const what = CHANGES[operation];
      if (what === undefined) {
        sink("structure", `operation ${operation} is not known`);
        continue;
      }
      const page = this.#find(id);
      if (page === undefined || page.death !== 0) {
        const why = page === undefined ? "was never born" : `was deleted in tick ${page.death}`;
        sink("structure", `page ${id} is ${what} and ${why}`);
      } else if (isDeath) {
        page.death = tick;
        this.living--;
        onDeath(id);
        if (page.name !== "") this.#names.delete(page.name);
      } else if (operation === STRUCTURAL.resizePage) {
        const size = columns.offset[row] >>> 0;
        if (size >= 1 && size <= PAGE_BYTES_MAX) page.size = size;
        else sink("structure", `page ${id} is resized to ${size} bytes`);
      } else if (operation === STRUCTURAL.migratePage) {
        const shard = decoded.shards?.[row] ?? 0;
        const isShard = this.#shards === 0 || shard < this.#shards;
        if (!isShard) sink("structure", `page ${id} goes to shard ${shard} of ${this.#shards}`);
      } else {
        this.#checkText(() => decodeMetadata(payloadOf(decoded, row, bytes)), id, sink);
      }
    }
  }

  /** Takes the deltas of a frame of tick `tick`. */
  deltas(
    decoded: DecodedRows,
    frame: FrameHeader,
    bytes: Uint8Array,
    tick: number,
    sink: RowFaultSink,
  ): FrameOutcome {
    const { columns, rows, advance } = decoded;
    const payloadStart = frame.sections.get(SECTION.payload)?.at ?? decoded.payloadEnd;
    const found = new FaultCounts();
    const orphaned = new Set<number>();
    let bad = 0, orphans = 0;
    for (let row = 0; row < rows; row++) {
      const id = columns.page[row] >>> 0;
      const page = this.#find(id);
      if (page === undefined || (page.death !== 0 && page.death < tick)) {
        const isUnborn = page === undefined;
        if (!this.#orphaned.has(id)) {
          found.add(
            isUnborn ? "page-unborn" : "page-dead",
            row,
            () =>
              isUnborn
                ? `page ${id} was never born`
                : `page ${id} was deleted in tick ${page.death}`,
          );
        }
        orphans++;
        bad++;
        orphaned.add(id);
        continue;
      }
      const malformed = rowFault(decoded, row, page.size, payloadStart, bytes);
      const step = advance === undefined ? 1 : advance[row] >>> 0;
      const expected = page.epoch + step;
      const epoch = columns.epoch[row];
      const isOff = (expected | 0) !== epoch || step < 1;
      if (malformed !== undefined) found.add("row", row, () => malformed);
      if (isOff && page.sureAt === this.#losses) {
        found.add("epoch", row, () => epochText(page, epoch >>> 0, step));
      }
      if (malformed !== undefined || (isOff && page.sureAt === this.#losses)) bad++;
      // The low half is all there is: the high one is that of the next epoch of which it can be.
      page.epoch = isOff ? nearEpoch(expected, epoch >>> 0) : expected;
      page.sureAt = this.#losses;
    }
    for (const id of orphaned) this.#orphaned.add(id);
    found.tell(sink);
    return { bad, orphans };
  }

  #find(id: number): LedgerPage | undefined {
    const page = this.#pages.get(id);
    if (page !== undefined || this.#losses === 0 || id === 0) return page;
    // Its birth may be in what was lost.
    const size = PAGE_BYTES_MAX;
    return this.#add({ id, size, name: "", epoch: 0, death: 0, sureAt: -1 });
  }

  #add(page: LedgerPage): LedgerPage {
    this.#pages.set(page.id, page);
    if (page.name !== "") this.#names.set(page.name, page.id);
    this.living++;
    this.idMax = Math.max(this.idMax, page.id);
    return page;
  }

  #birthFault(id: number, size: number, shard: number): string | undefined {
    const known = this.#pages.get(id);
    if (id === 0 || id > PAGE_ID_MAX) return `a page is born with the id ${id}`;
    if (known !== undefined && (known.sureAt >= 0 || known.death !== 0)) {
      return `page ${id} is born twice`;
    }
    if (size < 1 || size > PAGE_BYTES_MAX) return `page ${id} is born with ${size} bytes`;
    if (this.#shards > 0 && shard >= this.#shards) {
      return `page ${id} is born in shard ${shard} of ${this.#shards}`;
    }
    return undefined;
  }

  #nameAtBirth(
    id: number,
    decoded: DecodedRows,
    row: number,
    bytes: Uint8Array,
    sink: RowFaultSink,
  ): string {
    let name = "";
    this.#checkText(() => name = decodeBirth(payloadOf(decoded, row, bytes)).name, id, sink);
    const other = this.#names.get(name);
    if (other === undefined || this.#losses > 0) return name;
    sink("structure", `page ${id} is born with the name of page ${other}`);
    return "";
  }

  #checkText(read: () => unknown, id: number, sink: RowFaultSink): void {
    try {
      read();
    } catch (error) {
      if (!(error instanceof MmsbError)) throw error;
      sink("structure", `name or metadata of page ${id}: ${error.message}`);
    }
  }
}

/** Rows of one frame by fault: how many, and what the first one says. */
class FaultCounts {
  readonly #counts = new Map<LogFaultName, { count: number; readonly first: string }>();

  add(fault: LogFaultName, row: number, message: () => string): void {
    const known = this.#counts.get(fault);
    if (known !== undefined) known.count++;
    else this.#counts.set(fault, { count: 1, first: `row ${row}: ${message()}` });
  }

  tell(sink: RowFaultSink): void {
    for (const [fault, { count, first }] of this.#counts) {
      sink(fault, count === 1 ? first : `${count} rows, first ${first}`);
    }
  }
}

/** What is wrong with a row by itself. */
function rowFault(
  decoded: DecodedRows,
  row: number,
  size: number,
  payloadStart: number,
  bytes: Uint8Array,
): string | undefined {
  const { columns, payloadEnd, strings } = decoded;
  const kind = columns.kind[row], start = columns.start[row];
  const offset = columns.offset[row] >>> 0, length = columns.length[row] >>> 0;
  if (length === 0) return "its span is empty";
  if (offset + length > size) {
    return `bytes ${offset} to ${offset + length} leave page ${columns.page[row] >>> 0} of ${size}`;
  }
  if (!isKind(kind)) return `kind ${kind} is not known`;
  if (columns.source[row] >= strings.length || columns.intent[row] >= strings.length) {
    return "its source or intent is none of the frame's strings";
  }
  if (kind > KIND_MASKED) {
    const width = elementBytes(kind);
    if (offset % width !== 0 || length % width !== 0) {
      return `${kindName(kind)} on bytes ${offset} to ${
        offset + length
      }, not on multiples of ${width}`;
    }
  }
  const needed = kind === KIND_MASKED ? maskedBytes(bytes, start, length, payloadEnd) : length;
  if (start < payloadStart || start + needed > payloadEnd) return "its payload leaves the frame";
  return undefined;
}

/** Bytes of a mask and its packed bytes; infinite where the mask itself cannot be. */
function maskedBytes(bytes: Uint8Array, start: number, length: number, end: number): number {
  const maskBytes = Math.ceil(length / 8);
  if (start < 0 || start + maskBytes > end) return Infinity;
  let set = 0;
  for (let bit = 0; bit < 8 * maskBytes; bit++) {
    if ((bytes[start + (bit >>> 3)] >>> (bit & 7) & 1) === 0) continue;
    if (bit >= length) return Infinity;
    set++;
  }
  return maskBytes + set;
}

function epochText(page: LedgerPage, epoch: number, advance: number): string {
  const { id } = page;
  const what = advance === 1 ? "one more" : `${advance} more`;
  return `page ${id} goes from epoch ${page.epoch} to ${epoch}, not to ${what}`;
}

/** The epoch nearest to the expected one that has these low 32 bits. */
function nearEpoch(expected: number, low: number): number {
  const base = Math.floor(expected / 2 ** 32) * 2 ** 32 + low;
  const candidates = [base - 2 ** 32, base, base + 2 ** 32].filter((epoch) => epoch >= 0);
  return candidates.reduce((best, epoch) =>
    Math.abs(epoch - expected) < Math.abs(best - expected) ? epoch : best
  );
}

function payloadOf(decoded: DecodedRows, row: number, bytes: Uint8Array): Uint8Array {
  const start = decoded.columns.start[row], length = decoded.columns.length[row];
  if (length === 0) return bytes.subarray(0, 0);
  if (start < 0 || length < 0 || start + length > decoded.payloadEnd) {
    throw new MmsbError("corrupt-log", "its bytes are not in the frame");
  }
  return bytes.subarray(start, start + length);
}
