/**
 * Import of JSON lines (see `export_line.ts`): the log that they were made from, with its ticks, times,
 * epochs, sequences and incarnations; of the canonical form, which has no times and sequences, a log
 * with the same ticks, rows and epochs.
 *
 * Each line is checked against those before it, as the bus checks rows: pages are born once, spans are
 * inside them, epochs and times rise. A file without its last line was cut, and is refused.
 *
 * Cost: parsing and checking a line at a time; one tick, and an entry of a map a page.
 *
 * @module
 */

import { MmsbError, PAGE_ID_MAX, SHARDS_MAX } from "../base/mod.ts";
import { encodeMetadata } from "../physical/mod.ts";
import { encodeBirth } from "./birth.ts";
import { EXPORT_FORM, EXPORT_FORMAT, EXPORT_VERSION } from "./export_line.ts";
import { ROW_KIND, STRUCTURAL } from "./format.ts";
import { isDeltas } from "./frame_reader.ts";
import type { LogRow, RowColumns } from "./import_columns.ts";
import { deltaOfLine } from "./import_json_delta.ts";
import { ImportLedger } from "./import_ledger.ts";
import { type ImportLine, importLines } from "./import_lines.ts";
import type { ImportOptions, ImportReport } from "./import_options.ts";
import { ImportStructure, isStructureLine } from "./import_structure.ts";
import { type ImportSource, refuseImport } from "./import_source.ts";
import { LogBuilder, structuralRow } from "./log_builder.ts";
import type { Storage } from "./storage.ts";

const TICK_MAX = Number.MAX_SAFE_INTEGER;
const U32_MAX = 0xffff_ffff;
const PROGRESS_LINES = 4096;

/** Order of the frames of a tick that is written from the canonical form. */
const ORDER: Readonly<Record<string, number>> = { birth: 0, delta: 1 };
const ROW_FIELDS = ["type", "tick", "hlc", "page"];
const FIELDS: Readonly<Record<string, ReadonlySet<string>>> = {
  header: new Set(["type", "format", "version", "canonical", "shards", "incarnation", "horizon"]),
  birth: new Set([...ROW_FIELDS, "shard", "size", "name", "metadata"]),
  delta: new Set([
    ...ROW_FIELDS,
    "producer",
    "sequence",
    "epoch",
    "kind",
    "offset",
    "length",
    "mask",
    "payload",
    "source",
    "intent",
    "timeUs",
    "advance",
    "derived",
    "rule",
    "imported",
  ]),
  metadata: new Set([...ROW_FIELDS, "metadata"]),
  resize: new Set([...ROW_FIELDS, "size"]),
  migrate: new Set([...ROW_FIELDS, "shard"]),
  edge: new Set([...ROW_FIELDS, "from", "edge", "change"]),
  bind: new Set([...ROW_FIELDS, "rule", "binding"]),
  unbind: new Set([...ROW_FIELDS, "rule"]),
  mark: new Set([...ROW_FIELDS, "mark", "set"]),
  death: new Set(ROW_FIELDS),
  commit: new Set([
    "type",
    "tick",
    "hlc",
    "incarnation",
    "nextPageId",
    "nextRule",
    "graphVersion",
    "clockErrorUs",
  ]),
  end: new Set(["type", "ticks", "rows"]),
};

/** Imports JSON lines into an empty storage; nobody should open it if this throws. */
export async function importJson(
  source: ImportSource,
  storage: Storage,
  options: ImportOptions = {},
): Promise<ImportReport> {
  const lines = importLines(source);
  const first = lines.next().value;
  if (first === undefined) {
    const place = { offset: 0, number: 0, unit: "line", field: "type" };
    refuseImport(source, place, "the file is empty");
  }
  const header = headerOf(first);
  const { segmentBytes, segmentBytesMax } = options;
  const builder = new LogBuilder(storage, { shards: header.shards, segmentBytes, segmentBytesMax });
  try {
    const report = await new JsonImport(source, builder, header, options).run(lines);
    await builder.close(header);
    return report;
  } catch (error) {
    await builder.abandon();
    throw error;
  }
}

interface Header {
  readonly canonical: boolean;
  readonly shards: number;
  readonly incarnation: number;
  readonly horizon: number;
}

function headerOf(line: ImportLine): Header {
  if (line.type !== "header") {
    line.refuse("type", `it is ${line.type}, the first line is no header`);
  }
  if (line.text("format", 64) !== EXPORT_FORMAT) {
    line.refuse("format", `it is not ${EXPORT_FORMAT}`);
  }
  const version = line.integer("version", 1, TICK_MAX);
  if (version > EXPORT_VERSION) {
    line.refuse("version", `it is ${version}, this MMSB reads up to ${EXPORT_VERSION}`);
  }
  line.only(FIELDS.header);
  const canonical = line.boolean("canonical");
  return {
    canonical,
    shards: line.integer("shards", 1, SHARDS_MAX),
    incarnation: canonical ? 1 : line.integer("incarnation", 0, U32_MAX),
    horizon: line.integerOr("horizon", 0, TICK_MAX, 0),
  };
}

/** Rows that follow each other in time and belong to one batch. */
interface OpenFrame {
  readonly rowKind: number;
  readonly producer: number;
  readonly sequence: number;
  readonly hlc: bigint;
  readonly rows: RowColumns;
  /** Page, epoch and advance of each delta, in order. */
  readonly steps: number[];
}

class JsonImport {
  readonly #source: ImportSource;
  readonly #builder: LogBuilder;
  readonly #header: Header;
  readonly #progress: (text: string) => void;
  readonly #ledger: ImportLedger;
  readonly #structure: ImportStructure;
  /** Frames of the tick at hand. */
  #frames: OpenFrame[] = [];
  /** The tick at hand, 0 for none. */
  #tick = 0;
  #ticks = 0;
  #rows = 0;
  #incarnation = 1;
  #graphVersion = 0;
  /** Time of the next row, where the lines have none. */
  #hlc: bigint;
  readonly #sequences = new Map<number, number>();

  constructor(source: ImportSource, builder: LogBuilder, header: Header, options: ImportOptions) {
    this.#source = source;
    this.#builder = builder;
    this.#header = header;
    this.#progress = options.progress ?? (() => {});
    this.#ledger = new ImportLedger(header.shards);
    this.#structure = new ImportStructure(this.#ledger);
    this.#hlc = BigInt(options.nowUs ?? 1) << 12n;
  }

  async run(lines: Iterable<ImportLine>): Promise<ImportReport> {
    let isEnded = false, last: ImportLine | undefined;
    for (const line of lines) {
      last = line;
      if (isEnded) line.refuse("type", "lines follow the end");
      if (!Object.hasOwn(FIELDS, line.type) || line.type === "header") {
        line.refuse("type", `there is no line of type ${JSON.stringify(line.type)} here`);
      }
      line.only(FIELDS[line.type]);
      isEnded = line.type === "end";
      if (isEnded) await this.#end(line);
      else if (line.type === "commit") await this.#commit(line);
      else await this.#row(line);
      if (line.number % PROGRESS_LINES === 0) {
        this.#progress(`line ${line.number}, tick ${this.#tick}`);
      }
    }
    if (!isEnded) {
      const number = (last?.number ?? 1) + 1;
      const place = { offset: this.#source.size, number, unit: "line", field: "type" };
      refuseImport(this.#source, place, "the file ends before its end line: it was cut");
    }
    return {
      form: EXPORT_FORM,
      frames: last!.number,
      pages: this.#ledger.born,
      deltas: this.#builder.deltas,
      ticks: this.#builder.tick,
      bytes: this.#source.size,
    };
  }

  async #row(line: ImportLine): Promise<void> {
    const tick = line.integer("tick", 1, TICK_MAX);
    if (tick !== this.#tick) {
      // Only the canonical form has no commits.
      if (this.#tick !== 0 && this.#header.canonical) await this.#writeCanonical();
      if (this.#tick !== 0) line.refuse("tick", `it is ${tick}, tick ${this.#tick} has no commit`);
      if (tick <= this.#builder.tick) {
        line.refuse("tick", `it is ${tick} and comes after tick ${this.#builder.tick}`);
      }
      this.#tick = tick;
    }
    this.#rows++;
    if (line.type === "delta") {
      const row = deltaOfLine(line, this.#ledger);
      const producer = line.integer("producer", 0, U32_MAX);
      const isDerived = line.boolean("derived");
      if (!isDerived && line.has("rule")) line.refuse("rule", "only derived deltas have one");
      const rule = line.integerOr("rule", 1, U32_MAX, 0);
      // A merged delta may be of a rule that was unbound before the horizon.
      if (tick > this.#header.horizon) this.#structure.madeBy(line, rule);
      const rowKind = isDerived ? ROW_KIND.derived : ROW_KIND.data;
      this.#add(line, rule === 0 ? row : { ...row, rule }, rowKind, producer);
    } else if (isStructureLine(line.type)) {
      const { rowKind, row } = this.#structure.row(line);
      this.#add(line, row, rowKind, 0);
    } else {
      this.#add(line, this.#structural(line), ROW_KIND.structural, 0);
    }
  }

  /** Births are known at once, other changes at the end of the tick. */
  #structural(line: ImportLine): LogRow {
    const page = line.integer("page", 1, PAGE_ID_MAX);
    const ledger = this.#ledger;
    switch (line.type) {
      case "birth": {
        const metadata = line.metadata();
        const birth = ledger.bear(line, page);
        const payload = encodeBirth(birth.name, metadata);
        return structuralRow(page, STRUCTURAL.createPage, { ...birth, payload });
      }
      case "metadata":
        ledger.living(line, page);
        return structuralRow(page, STRUCTURAL.setMetadata, {
          payload: encodeMetadata(line.metadata()),
        });
      case "resize":
        return structuralRow(page, STRUCTURAL.resizePage, { size: ledger.resize(line, page) });
      case "migrate":
        return structuralRow(page, STRUCTURAL.migratePage, { shard: ledger.migrate(line, page) });
      default:
        ledger.bury(line, page);
        return structuralRow(page, STRUCTURAL.deletePage);
    }
  }

  /** Puts a row into the frame that it belongs to. */
  #add(line: ImportLine, row: LogRow, rowKind: number, producer: number): void {
    let frame: OpenFrame | undefined;
    if (this.#header.canonical) {
      if (line.has("hlc") || line.has("sequence")) {
        line.refuse(line.has("hlc") ? "hlc" : "sequence", "the canonical form has none");
      }
      // Births are written before the deltas of their tick, changes after them, rules' behind the others.
      const order = rowKind === ROW_KIND.derived ? 2 : ORDER[line.type] ?? 3;
      const about = { rowKind, producer, sequence: order, hlc: 0n };
      frame = this.#frames.findLast((known) => isOf(known, about)) ?? this.#open(about);
    } else {
      const hlc = line.digits("hlc");
      const sequence = line.integerOr("sequence", 0, TICK_MAX, 0);
      const about = { rowKind, producer, sequence, hlc };
      const last = this.#frames.at(-1);
      const goesOn = last !== undefined && isOf(last, about) &&
        last.hlc + BigInt(last.rows.rows) === hlc;
      frame = goesOn ? last : this.#open(about);
    }
    if (isDeltas(rowKind)) frame.steps.push(row.page, row.epoch!, row.advance ?? 1);
    try {
      frame.rows.push(row);
    } catch (cause) {
      if (!(cause instanceof MmsbError)) throw cause;
      line.refuse("payload", cause.message, cause);
    }
  }

  #open(about: Omit<OpenFrame, "rows" | "steps">): OpenFrame {
    const frame = { ...about, rows: this.#builder.rows(), steps: [] };
    this.#frames.push(frame);
    return frame;
  }

  async #commit(line: ImportLine): Promise<void> {
    if (this.#header.canonical) line.refuse("type", "the canonical form has no commits");
    const tick = line.integer("tick", 1, TICK_MAX);
    if (this.#tick === 0 && tick > this.#builder.tick) this.#tick = tick;
    if (tick !== this.#tick) {
      line.refuse("tick", `it is ${tick}, after tick ${this.#tick || this.#builder.tick}`);
    }
    const incarnation = line.integer("incarnation", this.#incarnation, U32_MAX);
    if (incarnation > this.#header.incarnation) {
      line.refuse(
        "incarnation",
        `it is ${incarnation}, the header's is ${this.#header.incarnation}`,
      );
    }
    this.#incarnation = incarnation;
    const nextPageId = line.integer("nextPageId", this.#ledger.idMax + 1, PAGE_ID_MAX);
    const nextRule = line.integerOr("nextRule", 1, U32_MAX, 1);
    const hlc = line.digits("hlc");
    this.#graphVersion = line.integerOr("graphVersion", this.#graphVersion, TICK_MAX, 0);
    const frames = this.#frames.sort((a, b) => a.hlc < b.hlc ? -1 : a.hlc > b.hlc ? 1 : 0);
    checkSteps(line, frames);
    this.#structure.endTick(this.#ledger.dying);
    if (nextRule < this.#structure.nextRule) {
      line.refuse("nextRule", `it is ${nextRule}, rule ${this.#structure.nextRule - 1} was bound`);
    }
    try {
      await this.#builder.begin({
        tick,
        incarnation,
        graphVersion: this.#graphVersion,
        clockErrorUs: line.integerOr("clockErrorUs", 0, U32_MAX, 0),
      });
      for (const { rows, ...about } of frames) this.#builder.frame(rows, about);
      await this.#builder.commit(hlc, nextPageId, nextRule);
    } catch (cause) {
      if (!(cause instanceof MmsbError) || cause.code !== "usage") throw cause;
      line.refuse("hlc", cause.message, cause);
    }
    this.#endTick();
  }

  /** Writes a tick of the canonical form: births, then batches by producer, then changes. */
  async #writeCanonical(): Promise<void> {
    this.#structure.endTick(this.#ledger.dying);
    await this.#builder.begin({ tick: this.#tick });
    const frames = this.#frames.sort((a, b) => a.sequence - b.sequence || a.producer - b.producer);
    for (const { rows, rowKind, producer } of frames) {
      let sequence = 0;
      if (rowKind === ROW_KIND.data) {
        sequence = (this.#sequences.get(producer) ?? 0) + 1;
        this.#sequences.set(producer, sequence);
      }
      this.#builder.frame(rows, { rowKind, producer, sequence, hlc: this.#hlc });
      this.#hlc += BigInt(rows.rows);
    }
    await this.#builder.commit(this.#hlc++, this.#ledger.idMax + 1);
    this.#endTick();
  }

  #endTick(): void {
    this.#ledger.endTick();
    this.#frames = [];
    this.#tick = 0;
    this.#ticks++;
  }

  async #end(line: ImportLine): Promise<void> {
    if (this.#tick !== 0 && this.#header.canonical) await this.#writeCanonical();
    if (this.#tick !== 0) line.refuse("type", `tick ${this.#tick} has no commit`);
    const ticks = line.integer("ticks", 0, TICK_MAX), rows = line.integer("rows", 0, TICK_MAX);
    if (ticks !== this.#ticks) line.refuse("ticks", `it is ${ticks}, there were ${this.#ticks}`);
    if (rows !== this.#rows) line.refuse("rows", `it is ${rows}, there were ${this.#rows}`);
  }
}

/** Lines stand in the order of shards, frames in that of their times: both must lead to the same epochs. */
function checkSteps(line: ImportLine, frames: readonly OpenFrame[]): void {
  const epochs = new Map<number, number>();
  for (const { steps } of frames) {
    for (let at = 0; at < steps.length; at += 3) {
      const page = steps[at], epoch = steps[at + 1], before = epochs.get(page);
      if (before !== undefined && epoch !== before + steps[at + 2]) {
        line.refuse(
          "hlc",
          `by the times of its deltas page ${page} goes from epoch ${before} to ${epoch}`,
        );
      }
      epochs.set(page, epoch);
    }
  }
}

function isOf(frame: OpenFrame, about: Omit<OpenFrame, "rows" | "steps">): boolean {
  return frame.rowKind === about.rowKind && frame.producer === about.producer &&
    frame.sequence === about.sequence;
}
