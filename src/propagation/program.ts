/**
 * Rule program: all bound rules and what wakes them, laid out in columns.
 *
 * A wave over ten thousand rules is bound by the cache, not by arithmetic: with an object, two arrays and a
 * closure for each rule it took 880 ns a run where columns take a tenth. So what a run needs of a rule stands
 * in one record of 64 bytes, a line of the cache, in the order in which the rules were bound; records, lists of
 * readers and the queue of a wave are parts of one array in shared memory, because each further array costs
 * a run its type check, its length and its address. Whatever is rare (tables, edges that are not of type
 * data) is kept aside, behind one bit of a vertex.
 *
 * Words of a record: 0 where the pages of its inputs begin in the array, 1 how many they are; 2 and 3 the same of its
 * outputs, behind which its state follows; 4 its level if it has its code and runs in every tick that changes its
 * inputs, else 0; 5 the wave that it was last woken in; 6 where the list of the rules that it wakes begins, if it
 * writes one page and that wakes nothing but rules, else -1; 7 its runs since the program was made; 8 its flags; 9 twice the pages of its state, and 1
 * if it may write finite numbers only; from 10 on its pages, if they are no more than 2. A page is 3 words: row, slot, size.
 * The code that uses them has the plain numbers: V8 loads and checks an imported constant on each use.
 *
 * A program is made anew when rules or edges have changed; rules take their flags and counts along.
 *
 * Cost: some 100 bytes a rule and 4 to 8 an input; making it some 300 ns a rule.
 *
 * @module
 */

import { MmsbError } from "../base/mod.ts";
import { EDGE, type PageStore, RECORD_LIMIT, RECORD_SHIFT, RECORD_SLOT } from "../physical/mod.ts";
import type { BoundRule, RuleColumns } from "./bound_rule.ts";
import type { TableVertex } from "./firing.ts";
import type { Rule } from "./rule.ts";
import { TableChanges } from "./table_changes.ts";
import { isTableRoot, TableRegion } from "./table_region.ts";

/** A page of a vertex. */
export const WATCHED = 1;
/** A page that a rule writes. */
export const WRITTEN = 2;
/** A page of a vertex that more than rules depends on. */
export const SPECIAL = 4;

/** Flag of a rule that takes deltas. */
export const INCREMENTAL = 256;
/**
 * Flag of a rule with a shader: its outputs get a record for each span of words that differ, in whatever way they were
 * written, since a device does not tell.
 */
export const BY_WORDS = 512;
/** Flags that a rule has for good. */
export const LASTING: number = INCREMENTAL | BY_WORDS;

const RECORD_WORDS = 16;
/** Words of a page that a rule reads or writes. */
export const PLACE_WORDS = 3;
/** Pages that a record has room for. */
const RECORD_PLACES = 2;
const PLACES_AT = 10;

/** What is rare about a vertex. */
export interface SpecialVertex {
  /** Rules, by index, that read it and are only stale when it changes. */
  readonly lazy: number[];
  /** Targets of its edges that are not of type data: row and type in turn. */
  readonly effects: number[];
  /** Rules, by index, that it has a control edge to: they come later. */
  readonly later: number[];
  /** The table, if it is one. */
  table: TableVertex | undefined;
}

/** Edges that the tick which is about to run adds and removes. */
export interface ComingEdges {
  /** Whether the tick has taken them on, and is not over. */
  readonly isTaken: boolean;
  /** Whether it adds an edge. */
  adds(edge: number): boolean;
  /** Whether it removes an edge. */
  removes(edge: number): boolean;
}

/** Pairs of a vertex and a rule that reads it, before they are sorted. */
interface Pairs {
  readonly vertices: number[];
  readonly rules: number[];
}

/** All rules, and what wakes them. */
export class RuleProgram implements RuleColumns {
  /** The rules by index; 0 is none. */
  readonly rules: readonly BoundRule[];
  /** Records of 16 words by rule, and all lists that runs need. */
  readonly image: Int32Array;
  /** For each rule its code. */
  readonly code: readonly (Rule | undefined)[];
  /** For each rule its parameters. */
  readonly params: readonly unknown[];
  /** For each rule its level. */
  readonly level: Int32Array;
  /** For each row of the page table its vertex, 0 for none, negative for one that has more than readers. */
  vertexOf: Int32Array;
  /** For each row what it is; replaced as the table grows. */
  pageFlags: Uint8Array;
  /** For each vertex where the indices of the rules that it wakes begin in the image: a list that ends with 0. */
  readonly readerStart: Int32Array;
  /** For each vertex the rule that writes it, by index. */
  readonly writer: Int32Array;
  /** For each such vertex the wave that it was last seen changed in. */
  readonly seen: Int32Array;
  /** What is rare. */
  readonly special: Map<number, SpecialVertex> = new Map();
  /** Tables by the row of their root. */
  readonly tables: Map<number, TableVertex> = new Map();
  /** The largest level. */
  readonly levels: number;
  /** For each level where the rules to be run begin in the image: a queue with room for all of them. */
  readonly levelStart: Int32Array;
  /** Where in the image stands for each level where its rules to be run end. */
  readonly endsAt: number;
  readonly #store: PageStore;
  #vertices = 1;
  /** Moves of the page table that are known. */
  #moves = -1;

  /**
   * Lays out rules whose pages are there.
   *
   * @param coming Edges that are to count as if the tick which brings them were over.
   * @throws {MmsbError} `cycle` where some wait for each other.
   */
  constructor(store: PageStore, bound: readonly BoundRule[], coming?: ComingEdges) {
    this.#store = store;
    const count = bound.length, { table, edges } = store;
    this.rules = [undefined!, ...bound];
    this.vertexOf = shared(table.ids.length);
    this.pageFlags = new Uint8Array(new SharedArrayBuffer(table.ids.length));
    this.level = shared(count + 1);
    this.code = [undefined, ...bound.map(({ rule }) => rule)];
    this.params = [undefined, ...bound.map(({ parts }) => parts.params)];
    let places = 0;
    for (const { parts } of bound) {
      places += parts.inputIds.length + parts.outputIds.length + parts.stateIds.length;
    }
    // Readers are inputs or edges; there is a list for each vertex, which is one's page.
    const readers = 2 * places + 3 * edges.size, queue = 2 * count + 3;
    this.image = shared((count + 1) * RECORD_WORDS + PLACE_WORDS * places + readers + queue);
    let end = this.#layRecords();
    const writers: number[] = [0];
    for (let index = 1; index <= count; index++) {
      for (let i = this.writtenStart(index); i < this.writtenEnd(index); i += PLACE_WORDS) {
        const row = this.image[i];
        writers[this.#vertexAt(row)] = index;
        this.pageFlags[row] |= WRITTEN;
      }
    }
    const pairs = this.#readingPairs(count, writers);
    if (edges.size > 0) this.#addEdges(pairs, writers, coming);
    this.writer = shared(this.#vertices);
    this.seen = shared(this.#vertices);
    for (let v = 1; v < this.#vertices; v++) this.writer[v] = writers[v] ?? 0;
    this.readerStart = shared(this.#vertices);
    end = this.#sort(pairs, end);
    this.levels = this.#findLevels(count);
    this.levelStart = shared(this.levels + 2);
    for (let index = 1; index <= count; index++) {
      this.levelStart[this.level[index] + 1]++;
      this.image[(index << 4) + 4] *= this.level[index];
    }
    this.levelStart[0] = end;
    for (let l = 1; l <= this.levels + 1; l++) this.levelStart[l] += this.levelStart[l - 1];
    this.endsAt = end + count;
    this.image.set(this.levelStart, this.endsAt);
    for (let index = 1; index <= count; index++) this.#noteReaders(index);
    for (const row of table.rows()) {
      if ((this.pageFlags[row] & SPECIAL) !== 0) this.vertexOf[row] *= -1;
    }
    bound.forEach((rule, i) => rule.enter(this, i + 1));
  }

  /** Number of vertices. */
  get vertices(): number {
    return this.#vertices - 1;
  }

  /** Where in the image the pages of a rule's inputs begin. */
  inputStart(rule: number): number {
    return this.image[rule << 4];
  }

  /** Where they end. */
  inputEnd(rule: number): number {
    return this.image[rule << 4] + PLACE_WORDS * this.image[(rule << 4) + 1];
  }

  /** Where in the image the pages of a rule's outputs, and behind them its state, begin. */
  writtenStart(rule: number): number {
    return this.image[(rule << 4) + 2];
  }

  /** Where they end. */
  writtenEnd(rule: number): number {
    const at = rule << 4, { image } = this;
    return image[at + 2] + PLACE_WORDS * (image[at + 3] + (image[at + 9] >> 1));
  }

  /** Runs of a rule since the program was made. */
  runsOf(rule: number): number {
    return this.image[rule << 4 | 7];
  }

  /** Flags of a rule. */
  flagsOf(rule: number): number {
    return this.image[(rule << 4) + 8] & 0xff;
  }

  /** Sets them. */
  setFlags(rule: number, flags: number): void {
    const at = (rule << 4) + 8;
    this.image[at] = this.image[at] & LASTING | flags;
  }

  /** The rule that writes the page in a row. */
  writerOf(row: number): BoundRule | undefined {
    return this.rules[this.writerAt(row)];
  }

  /** The same by index, 0 for none. */
  writerAt(row: number): number {
    return row < this.vertexOf.length ? this.writer[Math.abs(this.vertexOf[row])] : 0;
  }

  /** Lets the rules take along what has changed of them. */
  end(): void {
    for (let index = 1; index < this.rules.length; index++) this.rules[index].leave();
  }

  /** Pages that rules use, a page once for each use; and how many chunks of tables are known. */
  places(): number {
    let places = 0;
    for (let rule = 1; rule < this.rules.length; rule++) {
      places += this.inputEnd(rule) - this.inputStart(rule) + this.writtenEnd(rule) -
        this.writtenStart(rule);
    }
    for (const { region } of this.tables.values()) places += region.known;
    return places;
  }

  /** Rows of the pages that rules use, each once: their inputs, outputs and state, and all pages of their tables. */
  rows(): Int32Array {
    const rows = new Set<number>(), { image } = this;
    for (let rule = 1; rule < this.rules.length; rule++) {
      for (let i = this.inputStart(rule); i < this.inputEnd(rule); i += PLACE_WORDS) {
        rows.add(image[i]);
      }
      for (let i = this.writtenStart(rule); i < this.writtenEnd(rule); i += PLACE_WORDS) {
        rows.add(image[i]);
      }
    }
    for (const { region } of this.tables.values()) {
      for (const row of region.rows()) rows.add(row);
    }
    return Int32Array.from(rows);
  }

  /** Makes room for rows of the page table. */
  reserveRows(rows: number): void {
    if (rows <= this.vertexOf.length) return;
    const vertexOf = shared(rows), pageFlags = new Uint8Array(new SharedArrayBuffer(rows));
    vertexOf.set(this.vertexOf);
    pageFlags.set(this.pageFlags);
    this.vertexOf = vertexOf;
    this.pageFlags = pageFlags;
  }

  /** Learns of the chunks that a table has got since; gives how many it had. */
  syncTable({ region }: TableVertex): number {
    const { known } = region, vertex = this.vertexOf[region.rootRow];
    region.sync((row) => {
      // Negative once the program stands, as the root's is.
      this.vertexOf[row] = vertex;
      this.pageFlags[row] |= WATCHED | SPECIAL;
    });
    return known;
  }

  /** Forgets the chunks that a table has got since it had so many. */
  forgetChunks({ region }: TableVertex, known: number): void {
    region.forget(known, (row) => {
      this.vertexOf[row] = 0;
      this.pageFlags[row] = 0;
    });
  }

  /** Learns of slots and sizes, where pages may have got others since. */
  lay(): void {
    const { table } = this.#store, { records } = table, { image } = this;
    if (this.#moves === table.moves) return;
    this.#moves = table.moves;
    const lay = (start: number, end: number) => {
      for (let i = start; i < end; i += PLACE_WORDS) {
        const record = image[i] << RECORD_SHIFT, limit = records[record + RECORD_LIMIT];
        image[i + 1] = records[record + RECORD_SLOT];
        image[i + 2] = limit < 0 ? ~limit : limit;
      }
    };
    for (let rule = 1; rule < this.rules.length; rule++) {
      lay(this.inputStart(rule), this.inputEnd(rule));
      lay(this.writtenStart(rule), this.writtenEnd(rule));
    }
  }

  /** Fills the records but for what depends on other rules; gives the end of the rows that they name. */
  #layRecords(): number {
    const { rules, image } = this, { table } = this.#store;
    let end = rules.length * RECORD_WORDS;
    for (let index = 1; index < rules.length; index++) {
      const { parts, rule } = rules[index], { inputIds, outputIds, stateIds } = parts;
      const at = index * RECORD_WORDS, rows = inputIds.length + outputIds.length + stateIds.length;
      let next = rows <= RECORD_PLACES ? at + PLACES_AT : end;
      const lay = (id: number) => {
        image[next] = table.rowOf(id);
        next += PLACE_WORDS;
      };
      image[at] = next;
      image[at + 1] = inputIds.length;
      inputIds.forEach(lay);
      image[at + 2] = next;
      image[at + 3] = outputIds.length;
      outputIds.forEach(lay);
      stateIds.forEach(lay);
      if (rows > RECORD_PLACES) end = next;
      image[at + 4] = parts.mode === "immediate" && rule !== undefined ? 1 : 0;
      image[at + 8] = (rule?.fromDeltas === undefined ? 0 : INCREMENTAL) |
        (rule?.wgsl === undefined ? 0 : BY_WORDS);
      image[at + 9] = 2 * stateIds.length + (parts.finite ? 1 : 0);
    }
    return end;
  }

  /** Notes in a rule's record whom it wakes, where that is simple. */
  #noteReaders(rule: number): void {
    const at = rule << 4, { image, readerStart } = this, start = image[at + 2];
    const isSimple = this.writtenEnd(rule) === start + PLACE_WORDS &&
      (this.pageFlags[image[start]] & SPECIAL) === 0;
    const vertex = this.vertexOf[image[start]];
    image[at + 6] = isSimple ? readerStart[vertex] : -1;
  }

  #vertexAt(row: number): number {
    const known = this.vertexOf[row];
    if (known !== 0) return known;
    const vertex = this.#vertices++;
    this.vertexOf[row] = vertex;
    this.pageFlags[row] |= WATCHED;
    const id = this.#store.table.ids[row];
    if (isTableRoot(this.#store, id)) {
      const region = new TableRegion(this.#store, id);
      const changes = new TableChanges(this.#store, region);
      const table = { region, dirty: [], changes };
      this.#specialAt(row).table = table;
      this.tables.set(row, table);
      this.syncTable(table);
    }
    return vertex;
  }

  #specialAt(row: number): SpecialVertex {
    const vertex = this.#vertexAt(row);
    let special = this.special.get(vertex);
    if (special === undefined) {
      special = { lazy: [], effects: [], later: [], table: undefined };
      this.special.set(vertex, special);
      this.pageFlags[row] |= SPECIAL;
    }
    return special;
  }

  /** Inputs of rules: those with a control edge in place of a data edge make stale and wake nobody. */
  #readingPairs(count: number, writers: number[]): Pairs {
    const { edges } = this.#store, pairs: Pairs = { vertices: [], rules: [] };
    for (let index = 1; index <= count; index++) {
      const target = this.image[this.writtenStart(index)];
      for (let i = this.inputStart(index); i < this.inputEnd(index); i += PLACE_WORDS) {
        const row = this.image[i], vertex = this.#vertexAt(row);
        writers[vertex] ??= 0;
        const isLazy = edges.size > 0 && edges.find(row, target, EDGE.control) !== 0 &&
          edges.find(row, target, EDGE.data) === 0;
        if (isLazy) {
          this.#specialAt(row).lazy.push(index);
        } else {
          pairs.vertices.push(vertex);
          pairs.rules.push(index);
        }
      }
    }
    return pairs;
  }

  /** Edges that are no binding's: data edges wake the rule of their target, others have effects. */
  #addEdges(pairs: Pairs, writers: number[], coming: ComingEdges | undefined): void {
    const { edges } = this.#store;
    for (const edge of edges.edges()) {
      if (edges.isStaged(edge) ? coming?.adds(edge) !== true : coming?.removes(edge)) continue;
      const from = edges.from(edge), to = edges.to(edge), type = edges.type(edge);
      const writer = writers[this.vertexOf[to] ?? 0] ?? 0;
      if (type === EDGE.data) {
        if (writer === 0 || this.#reads(writer, from)) continue;
        pairs.vertices.push(this.#vertexAt(from));
        pairs.rules.push(writer);
      } else {
        const special = this.#specialAt(from);
        // A write to the target takes its marks off, so it must be seen.
        this.#vertexAt(to);
        special.effects.push(to, type);
        if (type === EDGE.control && writer !== 0) special.later.push(writer);
      }
    }
  }

  #reads(rule: number, row: number): boolean {
    for (let i = this.inputStart(rule); i < this.inputEnd(rule); i += PLACE_WORDS) {
      if (this.image[i] === row) return true;
    }
    return false;
  }

  /** Counting sort of the readers by vertex, a 0 behind those of each; gives their end in the image. */
  #sort({ vertices, rules }: Pairs, first: number): number {
    const start = this.readerStart, next = new Int32Array(this.#vertices);
    for (const vertex of vertices) next[vertex]++;
    let end = first;
    for (let v = 1; v < this.#vertices; v++) {
      start[v] = end;
      end += next[v] + 1;
      next[v] = start[v];
    }
    for (let i = 0; i < rules.length; i++) this.image[next[vertices[i]]++] = rules[i];
    return end;
  }

  /** Kahn's order ("Topological sorting of large networks", 1962), without recursion. */
  #findLevels(count: number): number {
    const waiting = new Int32Array(count + 1), ready = new Int32Array(count);
    const each = (rule: number, call: (reader: number) => void) => {
      for (let i = this.writtenStart(rule); i < this.writtenEnd(rule); i += PLACE_WORDS) {
        const vertex = this.vertexOf[this.image[i]];
        for (let k = this.readerStart[vertex]; this.image[k] !== 0; k++) call(this.image[k]);
        const special = this.special.get(vertex);
        special?.lazy.forEach(call);
        special?.later.forEach(call);
      }
    };
    for (let rule = 1; rule <= count; rule++) each(rule, (reader) => waiting[reader]++);
    let found = 0, maximum = 0;
    for (let rule = 1; rule <= count; rule++) {
      if (waiting[rule] !== 0) continue;
      ready[found++] = rule;
      this.level[rule] = 1;
    }
    for (let i = 0; i < found; i++) {
      const rule = ready[i];
      maximum = Math.max(maximum, this.level[rule]);
      each(rule, (reader) => {
        this.level[reader] = Math.max(this.level[reader], this.level[rule] + 1);
        if (--waiting[reader] === 0) ready[found++] = reader;
      });
    }
    if (found < count) {
      const names = this.rules.filter((_, i) => i > 0 && waiting[i] > 0).map(({ name }) => name);
      throw new MmsbError("cycle", `Cannot order rules that wait for each other: "${names[0]}"`, {
        values: { rules: names.slice(0, 100) },
      });
    }
    return maximum;
  }
}

function shared(words: number): Int32Array {
  return new Int32Array(new SharedArrayBuffer(4 * words));
}
