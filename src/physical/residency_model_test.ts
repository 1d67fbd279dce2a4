/**
 * Residency against a model: whatever is done to a store that spills, its pages are as in a map of arrays.
 *
 * Memory is small, sizes are few and pages many, so nearly every step has pages go and come back.
 */

import assert from "node:assert/strict";
import fc from "fast-check";
import { equalBytes, MmsbError } from "../base/mod.ts";
import { TestDisk } from "./_test_disk_test.ts";
import { PageStore, type StoreImage } from "./page_store.ts";

/** Of arenas of this size. */
const UNIT_BYTES = 4096;
const LIMITS = [64 * 1024, 128 * 1024, 192 * 1024];
/** Several slots a unit, one, and several units. */
const SIZES = [16, 100, 1000, 1000, 4096, 9000];
const PAGES_MAX = 700;

interface ModelPage {
  readonly bytes: Uint8Array;
  readonly epoch: number;
  /** The tick that used it last. */
  readonly used: number;
}

/** One step of a program, told by small numbers. */
interface Step {
  readonly kind: string;
  readonly a: number;
  readonly b: number;
}

class Program {
  store!: PageStore;
  disk!: TestDisk;
  #limit = LIMITS[0];
  #tick = 1;
  #nextId = 1;
  #pages = new Map<number, ModelPage>();
  readonly #views = new Map<number, Uint8Array>();
  #rules: number[] = [];
  #kept: { image: StoreImage; pages: Map<number, ModelPage> } | undefined;

  constructor() {
    this.#open(0);
  }

  step({ kind, a, b }: Step): void {
    const steps: Record<string, () => void> = {
      births: () => this.#births(a, b),
      writes: () => this.#writes(a, b),
      replays: () => this.#replays(a, b),
      reads: () => this.#reads(a, b),
      scan: () => this.#scan(),
      deaths: () => this.#deaths(a, b),
      resize: () => this.#resize(a, b),
      view: () => this.#view(a),
      rules: () => this.#pinRules(a, b),
      keep: () => this.#keep(),
      putBack: () => this.#putBack(),
      reopen: () => this.#reopen(a),
      damage: () => this.#damage(a),
      fullDisk: () => this.#fullDisk(a, b),
      unreadable: () => this.#unreadable(a, b),
      clear: () => a % 4 === 0 ? this.#clear() : this.#scan(),
    };
    steps[kind]();
    this.check();
  }

  /** All pages are as the model has them, and all structures agree. */
  check(): void {
    const { store } = this, { table, ages } = store;
    store.checkInvariants();
    assert.equal(table.size, this.#pages.size);
    const pinned = new Set([...this.#views.keys(), ...this.#rules]).size;
    assert.equal(store.residency!.statistics().pinnedPages, pinned);
    for (const [id, { bytes, epoch, used }] of this.#pages) {
      const row = table.rowOf(id);
      assert.ok(row !== 0 && table.isActive(row), `page ${id} is there and real`);
      assert.equal(table.sizeOf(row), bytes.length, `size of page ${id}`);
      assert.equal(table.epoch(row), epoch, `epoch of page ${id}`);
      assert.equal(ages!.ageOf(row), this.#tick - used, `age of page ${id}`);
    }
    for (const [id, view] of this.#views) {
      assert.ok(!table.isSpilled(table.rowOf(id)), `page ${id}, whose view was given out, stays`);
      assert.ok(equalBytes(view, this.#pages.get(id)!.bytes), `the view of page ${id} is live`);
    }
    for (const id of this.#rules) {
      assert.ok(!table.isSpilled(table.rowOf(id)), `page ${id}, which a rule uses, stays`);
    }
  }

  #open(limit: number): void {
    this.#limit = LIMITS[limit % LIMITS.length];
    this.disk = new TestDisk();
    const coldAfterTicks = limit % 2 === 0 ? undefined : 2;
    this.store = new PageStore(this.#limit, undefined, { open: () => this.disk, coldAfterTicks });
    this.store.ages!.clear(this.#tick);
  }

  /** Some ids, most of them next to each other: they were born together and went together. */
  #some(a: number, b: number, max = 60): number[] {
    const ids = [...this.#pages.keys()], count = Math.min(ids.length, 1 + b % max);
    const step = b % 3 === 0 ? 1 + a % 13 : 1;
    return Array.from({ length: count }, (_, i) => ids[(a + i * step) % ids.length]);
  }

  #isPinning(): boolean {
    return this.#views.size + this.#rules.length > 0;
  }

  /** Does what may find no room; gives whether it did. */
  #tried(work: () => void, mayFail = this.#isPinning()): boolean {
    try {
      work();
      return true;
    } catch (error) {
      const isRoom = error instanceof MmsbError && error.code === "memory-pressure";
      if (!isRoom || !mayFail) throw error;
      return false;
    }
  }

  #used(id: number): void {
    this.#pages.set(id, { ...this.#pages.get(id)!, used: this.#tick });
  }

  #births(a: number, b: number, mayFail = this.#isPinning()): void {
    const { store } = this, size = SIZES[a % SIZES.length];
    const count = Math.min(1 + b % Math.max(1, Math.min(60, 40_000 / size | 0)), PAGES_MAX);
    for (let i = 0; i < count && this.#pages.size < PAGES_MAX; i++) {
      const id = this.#nextId++;
      const isMade = this.#tried(() => {
        const row = store.create(id, { size, shard: 0, name: "" });
        store.table.setActive(row, true);
      }, mayFail);
      if (!isMade) return;
      const bytes = store.view(store.table.rowOf(id));
      assert.ok(bytes.every((byte) => byte === 0), `page ${id} begins as zeros`);
      for (let k = 0; k < size; k++) bytes[k] = id * 31 + k * 7 + (k >>> 8);
      this.#pages.set(id, { bytes: bytes.slice(), epoch: 0, used: this.#tick });
    }
  }

  /** Writes one page that is in memory, as a tick does. */
  #write(id: number, value: number): void {
    const { table, arena } = this.store, row = table.rowOf(id), slot = table.slotInMemory(row);
    assert.ok(slot !== 0, `page ${id}, which is held, is in memory`);
    const { bytes: before, epoch } = this.#pages.get(id)!, bytes = before.slice();
    bytes[value % bytes.length] = value;
    arena.bytes(slot, bytes.length).set(bytes);
    table.setEpoch(row, epoch + 1);
    this.#pages.set(id, { bytes, epoch: epoch + 1, used: this.#tick });
  }

  /** A tick of one batch that names many pages, some of them twice and some that are not there. */
  #writes(a: number, b: number): void {
    const ids = this.#some(a, b), { residency } = this.store;
    const named = [...ids, this.#nextId, ...ids.slice(0, 3)];
    let bytes = 0, largest = 0;
    for (const id of new Set(ids)) {
      const { length } = this.#pages.get(id)!.bytes;
      bytes += length + 256;
      largest = Math.max(largest, length);
    }
    residency!.beginTick();
    // Pages that are held may stand where a page of several units wants them side by side.
    const mayFail = this.#isPinning() || bytes > this.#limit / 4 ||
      ids.length > 1 && largest > UNIT_BYTES;
    if (this.#tried(() => residency!.holdPages(named, named.length), mayFail)) {
      // What a tick makes meanwhile takes no page's place that it holds.
      if (b % 4 === 0) this.#births(a, 5, true);
      for (const id of ids) this.#write(id, a + id);
    } else {
      // It was held for, or not: who knows. What is in memory may count as used.
      for (const id of ids) this.#relearnAge(id);
    }
    this.#endTick();
  }

  /** What a replay does: as many rows at a time as there is room for. */
  #replays(a: number, b: number): void {
    const ids = this.#some(a, b, 300), { residency } = this.store;
    for (let first = 0; first < ids.length;) {
      let end = first;
      const isDone = this.#tried(() => end = residency!.holdSome(ids, first, ids.length));
      for (const id of ids.slice(end)) this.#relearnAge(id);
      if (!isDone) break;
      assert.ok(end > first);
      for (const id of ids.slice(first, end)) this.#write(id, a + id);
      residency!.endTick();
      first = end;
    }
    this.#endTick();
  }

  #relearnAge(id: number): void {
    const age = this.store.ages!.ageOf(this.store.table.rowOf(id));
    if (age === 0) this.#used(id);
  }

  #endTick(): void {
    const { residency, ages } = this.store;
    residency!.endTick();
    residency!.maintain();
    ages!.advance(this.#tick);
    // Nothing happens in between.
    ages!.advance(++this.#tick);
  }

  #reads(a: number, b: number): void {
    for (const id of this.#some(a, b)) this.#read(id);
  }

  #read(id: number): void {
    const { table } = this.store, { bytes } = this.#pages.get(id)!;
    const read = new Uint8Array(bytes.length);
    const isRead = this.#tried(() => {
      this.store.copyOut(table.rowOf(id), 0, read, read.length);
    });
    if (!isRead) return;
    assert.ok(equalBytes(read, bytes), `page ${id} has its bytes`);
    this.#used(id);
  }

  /** What a checkpoint does: all pages are looked at where they are. */
  #scan(): void {
    const { store } = this, { spilled } = store.residency!;
    for (const [id, { bytes }] of this.#pages) {
      assert.ok(equalBytes(store.view(store.table.rowOf(id)), bytes), `page ${id} has its bytes`);
    }
    assert.equal(store.residency!.spilled, spilled);
  }

  #forget(id: number): void {
    this.#pages.delete(id);
    this.#views.delete(id);
    this.#rules = this.#rules.filter((other) => other !== id);
  }

  #deaths(a: number, b: number): void {
    const ids = new Set(this.#some(a, b, 90));
    if (this.#rules.some((id) => ids.has(id))) this.#pinRules(0, 0);
    if (this.#pages.size === 0) return;
    if (b % 2 === 0) this.store.removeAll(ids);
    else for (const id of ids) this.store.remove(id);
    for (const id of ids) this.#forget(id);
  }

  #resize(a: number, b: number): void {
    for (const id of this.#some(a, 2)) {
      if (this.#views.has(id) || this.#rules.includes(id)) continue;
      const size = SIZES[b % SIZES.length] + a % 3, { epoch, bytes } = this.#pages.get(id)!;
      this.store.residency!.beginTick();
      if (this.#tried(() => this.store.resize(id, size))) {
        const resized = new Uint8Array(size);
        resized.set(bytes.subarray(0, size));
        this.#pages.set(id, { bytes: resized, epoch, used: this.#tick });
      } else this.#relearnAge(id);
      this.#endTick();
    }
  }

  #view(a: number): void {
    if (this.#views.size > 2) return;
    for (const id of this.#some(a, 0, 1)) {
      if (this.#pages.get(id)!.bytes.length > 5000) continue;
      const row = this.store.table.rowOf(id), isSpilled = this.store.table.isSpilled(row);
      if (!this.#tried(() => this.#views.set(id, this.store.liveView(row)))) continue;
      if (isSpilled) this.#used(id);
    }
  }

  #pinRules(a: number, b: number): void {
    const { residency, table } = this.store;
    const ids = b === 0 ? [] : [...new Set(this.#some(a, b, 5))];
    const rows = Int32Array.from(ids, (id) => table.rowOf(id));
    if (this.#tried(() => residency!.pinRules(rows), true)) {
      this.#rules = ids;
      for (const id of ids) this.#used(id);
    } else for (const id of ids) this.#relearnAge(id);
  }

  #keep(): void {
    this.#kept = { image: this.store.image(), pages: new Map(this.#pages) };
  }

  #putBack(): void {
    if (this.#kept === undefined) return;
    this.#views.clear();
    this.#rules = [];
    this.store.restore(this.#kept.image);
    this.#pages = new Map(this.#kept.pages);
    this.#nextId = Math.max(this.#nextId, this.store.nextPageId);
    for (const id of this.#pages.keys()) this.#used(id);
  }

  /** Another process, with more memory or less. */
  #reopen(a: number): void {
    this.#keep();
    this.store.close();
    assert.ok(this.disk.isClosed);
    this.#open(a);
    this.#putBack();
  }

  #clear(): void {
    this.store.clear();
    this.#tick = 0;
    this.#pages.clear();
    this.#views.clear();
    this.#rules = [];
  }

  #spilledPage(a: number): number | undefined {
    const { table } = this.store;
    const gone = [...this.#pages.keys()].filter((id) => table.isSpilled(table.rowOf(id)));
    return gone[a % Math.max(1, gone.length)];
  }

  #flip(): void {
    const { bytes } = this.disk;
    for (let i = 0; i < bytes.length; i += 16) bytes[i] ^= 0x55;
  }

  /** What was read ahead before the damage is as good as ever; else it is told. */
  #rightOrRefused(id: number, look: () => Uint8Array): void {
    let bytes: Uint8Array;
    try {
      bytes = look();
    } catch (error) {
      assert.match((error as MmsbError).code, /^(checksum|disk-full|memory-pressure)$/);
      return;
    }
    assert.ok(equalBytes(bytes, this.#pages.get(id)!.bytes), `page ${id} is right or refused`);
  }

  #damage(a: number): void {
    const id = this.#spilledPage(a);
    if (id === undefined) return;
    const row = this.store.table.rowOf(id);
    this.#flip();
    // What is written meanwhile would be damaged when the others are mended.
    this.disk.writesLeft = 0;
    this.#rightOrRefused(id, () => this.store.view(row));
    for (const ids of [[id], [id, this.#spilledPage(a + 1) ?? id]]) {
      this.#rightOrRefused(id, () => {
        this.store.residency!.holdPages(ids, ids.length);
        for (const one of ids) this.#used(one);
        return this.store.view(row);
      });
    }
    this.disk.writesLeft = Infinity;
    this.#flip();
    this.store.residency!.endTick();
    this.#read(id);
  }

  #fullDisk(a: number, b: number): void {
    this.disk.writesLeft = a % 3;
    try {
      this.#births(a, b);
      this.#reads(b, a);
    } catch (error) {
      if (!(error instanceof MmsbError && error.code === "disk-full")) throw error;
    }
    this.disk.writesLeft = Infinity;
  }

  #unreadable(a: number, b: number): void {
    const id = this.#spilledPage(a);
    if (id === undefined) return;
    const ids = [id, ...this.#some(a, b)], { residency } = this.store;
    this.disk.readsFail = true;
    residency!.beginTick();
    try {
      // What was read ahead is there all the same.
      residency!.holdPages(ids, ids.length);
    } catch (error) {
      assert.match((error as MmsbError).code, /^(io|memory-pressure)$/);
    }
    this.disk.readsFail = false;
    for (const one of ids) this.#relearnAge(one);
    this.#endTick();
    this.#read(id);
  }
}

const KINDS: readonly (readonly [string, number])[] = [
  ["births", 8],
  ["writes", 6],
  ["replays", 2],
  ["reads", 5],
  ["scan", 1],
  ["deaths", 4],
  ["resize", 2],
  ["view", 1],
  ["rules", 1],
  ["keep", 1],
  ["putBack", 1],
  ["reopen", 1],
  ["damage", 1],
  ["fullDisk", 1],
  ["unreadable", 1],
  ["clear", 1],
];
const anyStep: fc.Arbitrary<Step> = fc.record({
  kind: fc.oneof(...KINDS.map(([kind, weight]) => ({ arbitrary: fc.constant(kind), weight }))),
  a: fc.nat(10_000),
  b: fc.nat(10_000),
});

Deno.test("A store that spills is as a map of arrays, whatever is done to it", () => {
  let evictions = 0, returns = 0, moved = 0;
  fc.assert(
    fc.property(fc.array(anyStep, { minLength: 40, maxLength: 60, size: "max" }), (steps) => {
      const program = new Program();
      for (let i = 0; i < 14; i++) program.step({ kind: "births", a: i, b: 59 + i });
      for (const step of steps) program.step(step);
      program.step({ kind: "scan", a: 0, b: 0 });
      const { residency } = program.store, { bytesWritten } = residency!.statistics();
      evictions += residency!.statistics().evictions;
      returns += residency!.statistics().returns;
      moved += bytesWritten;
      program.store.close();
    }),
    { numRuns: 40, interruptAfterTimeLimit: 20_000 },
  );
  assert.ok(evictions > 8000 && returns > 2500, `${evictions} went, ${returns} came back`);
  assert.ok(moved > 0);
});
