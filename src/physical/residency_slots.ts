/**
 * Resident slots: the allocator of a store whose cold pages are spilled, which gives room of one size class to another.
 *
 * The other allocator never takes a span back from its size class: a thousand freed slots of 64 bytes would not
 * help a page of 1 MiB. This one cuts the arena into units; a span of one or some units belongs to one size class
 * while any of its slots is in use, and is anybody's again when the last one is given back. Free slots are linked in
 * a table beside the arena, by which a slot leads to the row of its page as well, so that whoever looks for room
 * can go through memory span by span and see whose bytes stand there.
 *
 * For one thread only: workers may read and write pages, and neither allocate nor free.
 *
 * Cost: some 0.1 µs a call plus the zeroing; 4 bytes a slot of the spans in use and 16 a unit.
 *
 * @module
 */

import { alignUp, assert, MmsbError } from "../base/mod.ts";
import {
  type AllocatorImage,
  type AllocatorStatistics,
  type ClassStatistics,
  SlotAllocator,
} from "./allocator.ts";
import { ADDRESS_BYTES, type Arena, REGION_BYTES, SPAN_BYTES } from "./arena.ts";
import { SIZE_CLASSES, sizeClassOf, sizeOfClass } from "./size_class.ts";

/** Arenas below this have small units, so that few pages of many sizes find room. */
const SMALL_ARENA_BYTES = 64 * 1024 * 1024;
const SMALL_UNIT_BYTES = 4096;
/** Most slots of a span of more than one unit. */
const SPAN_SLOTS = 4;
const NONE = -1;

/** What makes room for a slot of a size class, or throws. */
export type RoomMaker = (sizeClass: number) => void;

/** The allocator of an arena from which pages may be taken away. */
export class ResidentSlots extends SlotAllocator {
  /** Bytes of a unit. */
  readonly unitBytes: number;
  /** Units of the arena; unit 0 is nobody's, as address 0 stands for "none". */
  readonly units: number;
  /** Units that no size class has. */
  freeUnits: number;
  /** Is asked where there is no slot. */
  makeRoom: RoomMaker | undefined;

  readonly #arena: Arena;
  /** First unit of the span that a unit belongs to, {@linkcode NONE} for free ones. */
  readonly #spanOf: Int32Array;
  /** By a span's first unit: its size class, its slots in use, its first free slot. */
  readonly #classOf: Int8Array;
  readonly #live: Int32Array;
  readonly #freeSlot: Int32Array;
  /** By a span's first unit: for each slot the row of its page, or the complement of the next free slot + 1. */
  readonly #owners: (Int32Array | undefined)[];
  /** Spans of each class that have free slots, in a list. */
  readonly #heads = new Int32Array(SIZE_CLASSES).fill(NONE);
  readonly #next: Int32Array;
  readonly #previous: Int32Array;
  /** Bytes and units of a span of each class. */
  readonly #spanUnits = new Int32Array(SIZE_CLASSES);
  readonly #spanSlots = new Int32Array(SIZE_CLASSES);
  /** No unit before it is free. */
  #lowest = 1;
  readonly #allocations = new Float64Array(SIZE_CLASSES);
  readonly #frees = new Float64Array(SIZE_CLASSES);
  readonly #spans = new Int32Array(SIZE_CLASSES);

  /** Makes the allocator of an arena, all of which it takes at once: memory becomes resident when it is touched. */
  constructor(arena: Arena) {
    super(arena);
    this.#arena = arena;
    arena.grow(arena.limitBytes);
    this.unitBytes = arena.limitBytes < SMALL_ARENA_BYTES ? SMALL_UNIT_BYTES : SPAN_BYTES;
    this.units = Math.floor(arena.limitBytes / this.unitBytes);
    this.freeUnits = this.units - 1;
    this.#spanOf = new Int32Array(this.units).fill(NONE);
    this.#classOf = new Int8Array(this.units);
    this.#live = new Int32Array(this.units);
    this.#freeSlot = new Int32Array(this.units);
    this.#owners = new Array<Int32Array | undefined>(this.units).fill(undefined);
    this.#next = new Int32Array(this.units).fill(NONE);
    this.#previous = new Int32Array(this.units).fill(NONE);
    for (let index = 0; index < SIZE_CLASSES; index++) {
      const slotBytes = sizeOfClass(index), units = spanUnits(slotBytes, this.unitBytes);
      this.#spanUnits[index] = units;
      this.#spanSlots[index] = Math.floor(units * this.unitBytes / slotBytes);
    }
  }

  /** Units of a span of a size class. */
  unitsOf(sizeClass: number): number {
    return this.#spanUnits[sizeClass];
  }

  /** First unit of the span that a unit belongs to; negative where the unit is free. */
  spanAt(unit: number): number {
    return this.#spanOf[unit];
  }

  /** Size class of a span. */
  classAt(span: number): number {
    return this.#classOf[span];
  }

  /** For each slot of a span the row of its page; not above 0 where the slot is free. */
  ownersAt(span: number): Int32Array {
    return this.#owners[span]!;
  }

  /** Notes whose slot it is. */
  own(address: number, row: number): void {
    const span = this.#spanOf[this.#unitOf(address)];
    this.#owners[span]![this.#indexIn(span, address)] = row;
  }

  /** Whether a slot of a class can be had as things stand. */
  hasRoom(sizeClass: number): boolean {
    return this.#heads[sizeClass] !== NONE || this.#findUnits(this.#spanUnits[sizeClass]) !== NONE;
  }

  /** Bytes that pages of a class could still take, wherever they stand. */
  freeBytesFor(sizeClass: number): number {
    const live = this.#allocations[sizeClass] - this.#frees[sizeClass];
    const free = this.#spans[sizeClass] * this.#spanSlots[sizeClass] - live;
    return this.freeUnits * this.unitBytes + free * sizeOfClass(sizeClass);
  }

  /** {@inheritDoc SlotAllocator.allocate} */
  override allocate(size: number): number {
    const address = this.allocateUnset(size);
    const words = address * (ADDRESS_BYTES / 4);
    this.#arena.words.fill(0, words, words + sizeOfClass(sizeClassOf(size)) / 4);
    return address;
  }

  /**
   * Takes a slot that holds whatever it held, for who writes all of it.
   *
   * @throws {MmsbError} as {@linkcode SlotAllocator.allocate}, and what making room throws.
   */
  allocateUnset(size: number): number {
    const sizeClass = sizeClassOf(size);
    let span = this.#spanWithRoom(sizeClass);
    if (span === NONE && this.makeRoom !== undefined) {
      this.makeRoom(sizeClass);
      span = this.#spanWithRoom(sizeClass);
    }
    if (span === NONE) {
      const { limitBytes } = this.#arena;
      throw new MmsbError(
        "allocation",
        `Cannot allocate ${size} bytes as the arena is full: its limit is ${limitBytes} bytes; delete pages or open the bus with a larger memoryLimitBytes`,
        { values: { bytes: size, limitBytes } },
      );
    }
    const owners = this.#owners[span]!, slot = this.#freeSlot[span];
    this.#freeSlot[span] = ~owners[slot] - 1;
    owners[slot] = 0;
    this.#live[span]++;
    if (this.#freeSlot[span] === NONE) this.#unlink(span, sizeClass);
    this.#allocations[sizeClass]++;
    return (span * this.unitBytes + slot * sizeOfClass(sizeClass)) / ADDRESS_BYTES;
  }

  /** {@inheritDoc SlotAllocator.free} */
  override free(address: number, size: number): void {
    const sizeClass = sizeClassOf(size), span = this.#spanOf[this.#unitOf(address)];
    const owners = this.#owners[span]!, slot = this.#indexIn(span, address);
    owners[slot] = ~(this.#freeSlot[span] + 1);
    if (this.#freeSlot[span] === NONE) this.#link(span, sizeClass);
    this.#freeSlot[span] = slot;
    this.#frees[sizeClass]++;
    if (--this.#live[span] === 0) this.#giveBack(span, sizeClass);
  }

  /** {@inheritDoc SlotAllocator.retire} */
  override retire(address: number, size: number): void {
    // Freeing touches no page here, so there is nothing to put off.
    this.free(address, size);
  }

  /** {@inheritDoc SlotAllocator.clear} */
  override clear(): void {
    this.#spanOf.fill(NONE);
    this.#owners.fill(undefined);
    this.#heads.fill(NONE);
    this.#live.fill(0);
    this.#allocations.fill(0);
    this.#frees.fill(0);
    this.#spans.fill(0);
    this.freeUnits = this.units - 1;
    this.#lowest = 1;
  }

  /** Only the counts: where pages are spilled, an image holds their bytes and no places. */
  override image(): AllocatorImage {
    return super.image();
  }

  /** Empties it: pages are placed anew. */
  override restore(_image: AllocatorImage): void {
    this.clear();
  }

  /** {@inheritDoc SlotAllocator.statistics} */
  override statistics(): AllocatorStatistics {
    let allocations = 0, frees = 0, liveBytes = 0, freeBytes = 0;
    for (let index = 0; index < SIZE_CLASSES; index++) {
      const live = this.#allocations[index] - this.#frees[index], slotBytes = sizeOfClass(index);
      allocations += this.#allocations[index];
      frees += this.#frees[index];
      liveBytes += live * slotBytes;
      freeBytes += (this.#spans[index] * this.#spanSlots[index] - live) * slotBytes;
    }
    const carvedBytes = (this.units - 1 - this.freeUnits) * this.unitBytes;
    const fragmentation = carvedBytes === 0 ? 0 : 1 - liveBytes / carvedBytes;
    const live = allocations - frees;
    return { allocations, frees, live, liveBytes, freeBytes, carvedBytes, fragmentation };
  }

  /** {@inheritDoc SlotAllocator.classes} */
  override classes(): ClassStatistics[] {
    const classes: ClassStatistics[] = [];
    for (let index = 0; index < SIZE_CLASSES; index++) {
      if (this.#allocations[index] === 0) continue;
      const live = this.#allocations[index] - this.#frees[index];
      const carved = this.#spans[index] * this.#spanSlots[index];
      classes.push({
        slotBytes: sizeOfClass(index),
        live,
        pending: 0,
        free: carved - live,
        carved,
      });
    }
    return classes;
  }

  /** Walks all units, spans and lists. */
  override checkInvariants(): void {
    let free = 0;
    const linked = new Set<number>(), slots = new Float64Array(SIZE_CLASSES);
    for (let index = 0; index < SIZE_CLASSES; index++) {
      for (let span = this.#heads[index]; span !== NONE; span = this.#next[span]) {
        assert(!linked.has(span) && this.#classOf[span] === index, `span ${span} is linked once`);
        linked.add(span);
      }
    }
    for (let unit = 1; unit < this.units; unit++) {
      const span = this.#spanOf[unit];
      if (span === NONE) {
        free++;
        assert(unit >= this.#lowest, `free unit ${unit} is not before the lowest`);
        continue;
      }
      if (span !== unit) continue;
      const index = this.#classOf[span], owners = this.#owners[span];
      assert(owners !== undefined, `span ${span} knows its pages`);
      for (let k = 0; k < this.#spanUnits[index]; k++) {
        assert(this.#spanOf[span + k] === span, `unit ${span + k} belongs to span ${span}`);
      }
      let count = 0;
      for (let slot = this.#freeSlot[span]; slot !== NONE; slot = ~owners[slot] - 1) {
        assert(owners[slot] < 0, `slot ${slot} of span ${span} is free`);
        count++;
      }
      assert(count + this.#live[span] === this.#spanSlots[index], `slots of span ${span} agree`);
      assert(linked.has(span) === count > 0, `span ${span} is listed where it has room`);
      slots[index] += this.#live[span];
    }
    assert(free === this.freeUnits, "free units agree");
    for (let index = 0; index < SIZE_CLASSES; index++) {
      const live = this.#allocations[index] - this.#frees[index];
      assert(slots[index] === live, `slots of ${sizeOfClass(index)} B agree`);
    }
  }

  #unitOf(address: number): number {
    return Math.floor(address * ADDRESS_BYTES / this.unitBytes);
  }

  #indexIn(span: number, address: number): number {
    const slotBytes = sizeOfClass(this.#classOf[span]);
    return (address * ADDRESS_BYTES - span * this.unitBytes) / slotBytes;
  }

  #spanWithRoom(sizeClass: number): number {
    const span = this.#heads[sizeClass];
    return span !== NONE ? span : this.#takeSpan(sizeClass);
  }

  #takeSpan(sizeClass: number): number {
    const units = this.#spanUnits[sizeClass], span = this.#findUnits(units);
    if (span === NONE) return NONE;
    for (let unit = span; unit < span + units; unit++) this.#spanOf[unit] = span;
    this.freeUnits -= units;
    if (span === this.#lowest) this.#lowest = span + units;
    const slots = this.#spanSlots[sizeClass], owners = new Int32Array(slots);
    for (let slot = 0; slot < slots; slot++) owners[slot] = ~(slot + 2);
    owners[slots - 1] = ~(NONE + 1);
    this.#owners[span] = owners;
    this.#classOf[span] = sizeClass;
    this.#live[span] = 0;
    this.#freeSlot[span] = 0;
    this.#spans[sizeClass]++;
    this.#link(span, sizeClass);
    return span;
  }

  #giveBack(span: number, sizeClass: number): void {
    const units = this.#spanUnits[sizeClass];
    this.#unlink(span, sizeClass);
    for (let unit = span; unit < span + units; unit++) this.#spanOf[unit] = NONE;
    this.#owners[span] = undefined;
    this.#spans[sizeClass]--;
    this.freeUnits += units;
    this.#lowest = Math.min(this.#lowest, span);
  }

  /** The first of so many free units that follow each other in one region. */
  #findUnits(count: number): number {
    if (this.freeUnits < count) return NONE;
    const region = REGION_BYTES / this.unitBytes, spanOf = this.#spanOf, { units } = this;
    let run = 0, isFirst = true;
    for (let unit = this.#lowest; unit < units; unit++) {
      if (spanOf[unit] !== NONE) {
        run = 0;
        continue;
      }
      if (isFirst) this.#lowest = unit;
      isFirst = false;
      run = unit % region === 0 ? 1 : run + 1;
      if (run === count) return unit - count + 1;
    }
    return NONE;
  }

  #link(span: number, sizeClass: number): void {
    const head = this.#heads[sizeClass];
    this.#next[span] = head;
    this.#previous[span] = NONE;
    if (head !== NONE) this.#previous[head] = span;
    this.#heads[sizeClass] = span;
  }

  #unlink(span: number, sizeClass: number): void {
    const next = this.#next[span], previous = this.#previous[span];
    if (previous === NONE) this.#heads[sizeClass] = next;
    else this.#next[previous] = next;
    if (next !== NONE) this.#previous[next] = previous;
  }
}

/** One unit for small slots; for larger ones some slots, or just one, with little room behind them. */
function spanUnits(slotBytes: number, unitBytes: number): number {
  if (slotBytes <= unitBytes / 8) return 1;
  let best = 0, share = 2;
  for (let slots = 1; slots <= SPAN_SLOTS; slots++) {
    const bytes = alignUp(slots * slotBytes, unitBytes), waste = bytes / (slots * slotBytes) - 1;
    // Room for one more costs units that must be free side by side.
    if (waste >= share - 0.05) continue;
    best = bytes / unitBytes;
    share = waste;
  }
  return best;
}
