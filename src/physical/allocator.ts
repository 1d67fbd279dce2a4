/**
 * Slot allocator: gives pages their slots in the arena and takes them back.
 *
 * Fresh slots are carved from spans of 64 KiB that belong to one size class, so slots of one class
 * stand side by side, and each starts on a cache line where its size is a multiple of 64. Freed
 * slots go on a stack per class, linked through their own first word: no memory beside the slots.
 * Both are changed by compare-and-swap on one 64-bit word (the stack's holds a counter against
 * ABA: Treiber, "Systems programming: coping with parallelism", IBM 1986), so every worker may
 * allocate and free without a lock. A reused slot is zeroed when it is given out. Where the arena is full, free slots
 * that lie side by side are cut anew (see `_recut.ts`), so that no size class keeps room from another.
 *
 * The thread of the bus retires slots instead of freeing them ({@linkcode SlotAllocator.retire}), and moves them to
 * the stacks in small pieces; reclaim.ts says why.
 *
 * Cost: about 0.3 µs a call plus the zeroing; 28 bytes of control memory a size class, none a slot.
 *
 * @module
 */

import { alignUp, assert, MmsbError } from "../base/mod.ts";
import { cutRun, recut } from "./_recut.ts";
import { ADDRESS_BYTES, type Arena, REGION_BYTES, SPAN_BYTES } from "./arena.ts";
import { RetiredSlots } from "./reclaim.ts";
import { SIZE_CLASSES, sizeClassOf, sizeOfClass } from "./size_class.ts";

/** What the allocator has given out and taken back. */
export interface AllocatorStatistics {
  /** Slots given out since the start. */
  readonly allocations: number;
  /** Slots taken back since the start. */
  readonly frees: number;
  /** Slots in use now. */
  readonly live: number;
  /** Bytes of the slots in use. */
  readonly liveBytes: number;
  /** Bytes of freed slots that wait for reuse. */
  readonly freeBytes: number;
  /** Bytes of the arena handed to size classes. */
  readonly carvedBytes: number;
  /** Share of the carved bytes that no page uses, 0 to 1. */
  readonly fragmentation: number;
}

/** The slots of one size class; all counts of slots but the last are of now. */
export interface ClassStatistics {
  /** Bytes of a slot. */
  readonly slotBytes: number;
  /** Slots that pages have. */
  readonly live: number;
  /** Slots that wait to be reclaimed; they can be given out. */
  readonly pending: number;
  /** Slots on the free stack. */
  readonly free: number;
  /** Slots ever cut: live, pending and free ones together. */
  readonly carved: number;
}

/** Where an allocator stands, so that it can be put back there: the slots given out and the free ones. */
export interface AllocatorImage {
  /** Next free span, in address units. */
  readonly nextSpan: number;
  /** The span of each class: next slot and end. */
  readonly spans: readonly [next: Uint32Array, end: Uint32Array];
  /** The counters of all classes. */
  readonly counters: Uint32Array;
  /** Free slots of each class, the next one to be given out first. */
  readonly free: readonly (readonly number[])[];
}

/** Address of the first slot. */
export const FIRST_SPAN: number = SPAN_BYTES / ADDRESS_BYTES;
const MASK = 0xffff_ffffn;
/** Counters of a size class, modulo 2^32: slots given out, slots taken back, slots ever cut. */
const COUNTERS = 3;
/** Slots that are put on a stack with one exchange. */
const RUN_SLOTS = 256;

/** The allocator of one arena. */
export class SlotAllocator {
  readonly #arena: Arena;
  /** Word 0: next free span. Then the head of the free slots of each class. */
  readonly #control: BigInt64Array;
  /** The same words in halves, the low one first. */
  readonly #heads: Int32Array;
  /** The span of each class that this thread cuts slots from: next slot and end. */
  readonly #spanNext = new Uint32Array(SIZE_CLASSES);
  readonly #spanEnd = new Uint32Array(SIZE_CLASSES);
  /** For each class {@linkcode COUNTERS} counters. */
  readonly #counters: Uint32Array;
  /** Below this address fresh slots may hold old bytes: the allocator was taken back there once. */
  #usedEnd = 0;
  readonly #retired = new RetiredSlots();
  #run: Uint32Array | undefined;
  /** What was too short for another slot at the ends of spans: address and end of each. */
  #leftovers: number[] = [];
  /** Slots and bytes ever taken back when no run of free ones was long enough, and the longest run then. */
  #inVain = { frees: -1, freedBytes: 0, longestBytes: 0 };
  /** Whether slots are cut one by one, so that no size class has room that it does not need. */
  isTight = false;

  /** Makes the allocator of an arena; address 0 stays unused and stands for "none". */
  constructor(arena: Arena) {
    this.#arena = arena;
    this.#control = new BigInt64Array(new SharedArrayBuffer(8 * (1 + SIZE_CLASSES)));
    this.#heads = new Int32Array(this.#control.buffer);
    this.#counters = new Uint32Array(new SharedArrayBuffer(4 * COUNTERS * SIZE_CLASSES));
    this.#control[0] = BigInt(FIRST_SPAN);
  }

  /**
   * Takes a slot of zero bytes.
   *
   * @param size Bytes wanted, 1 to 16 MiB.
   * @returns The slot's address in 16-byte units.
   * @throws {MmsbError} `allocation` where the arena is full.
   */
  allocate(size: number): number {
    const sizeClass = sizeClassOf(size);
    const slotBytes = sizeOfClass(sizeClass);
    let address = this.#retired.pop(sizeClass) || this.#pop(sizeClass);
    const isReused = address !== 0;
    if (!isReused) {
      address = this.#carve(sizeClass, slotBytes);
      Atomics.add(this.#counters, COUNTERS * sizeClass + 2, 1);
    }
    if (isReused || address < this.#usedEnd) {
      const word = address * (ADDRESS_BYTES / 4);
      this.#arena.words.fill(0, word, word + slotBytes / 4);
    }
    Atomics.add(this.#counters, COUNTERS * sizeClass, 1);
    return address;
  }

  /**
   * Gives a slot back. Its bytes stay as they are until it is given out again.
   *
   * @param address The slot.
   * @param size The size it was allocated for.
   */
  free(address: number, size: number): void {
    const sizeClass = sizeClassOf(size);
    this.#push(address, sizeClass);
    Atomics.add(this.#counters, COUNTERS * sizeClass + 1, 1);
  }

  /**
   * Gives a slot back as {@linkcode SlotAllocator.free} does, without touching it: it can be given out
   * again, and is moved to its stack by {@linkcode SlotAllocator.reclaim}.
   *
   * @param address The slot.
   * @param size The size it was allocated for.
   */
  retire(address: number, size: number): void {
    const sizeClass = sizeClassOf(size);
    this.#retired.push(address, sizeClass);
    Atomics.add(this.#counters, COUNTERS * sizeClass + 1, 1);
  }

  /** Slots that {@linkcode SlotAllocator.reclaim} has to move. */
  get pendingSlots(): number {
    return this.#retired.count;
  }

  /** Their bytes. */
  get pendingBytes(): number {
    return this.#retired.bytes;
  }

  /**
   * Moves retired slots to the stacks of free ones.
   *
   * @param slotsMax Most slots to move.
   * @returns How many were moved.
   */
  reclaim(slotsMax: number): number {
    const run = this.#run ??= new Uint32Array(RUN_SLOTS);
    let moved = 0;
    while (moved < slotsMax && this.#retired.count > 0) {
      const some = Math.min(RUN_SLOTS, slotsMax - moved);
      const { sizeClass, count } = this.#retired.take(
        some === RUN_SLOTS ? run : run.subarray(0, some),
      );
      this.#pushRun(run, count, sizeClass);
      moved += count;
    }
    return moved;
  }

  /**
   * Notes where the allocator stands. Only while no other thread allocates or frees.
   *
   * @returns What {@linkcode SlotAllocator.restore} takes.
   */
  image(): AllocatorImage {
    this.reclaim(Infinity);
    this.#cutLeftovers();
    return {
      nextSpan: Number(this.#control[0]),
      spans: [this.#spanNext.slice(), this.#spanEnd.slice()],
      counters: this.#counters.slice(),
      free: Array.from({ length: SIZE_CLASSES }, (_, index) => [...this.#freeSlots(index)]),
    };
  }

  /**
   * Puts the allocator back where it stood, in this arena or in another one. No byte of a page is
   * touched; what was given out since comes back zeroed when it is given out again.
   *
   * @throws {MmsbError} `allocation` where this arena cannot hold what the image has; nothing is
   * changed then.
   */
  restore(image: AllocatorImage): void {
    this.#arena.grow(image.nextSpan * ADDRESS_BYTES);
    this.#forget();
    this.#usedEnd = Math.max(this.#usedEnd, Number(this.#control[0]));
    this.#control[0] = BigInt(image.nextSpan);
    this.#spanNext.set(image.spans[0]);
    this.#spanEnd.set(image.spans[1]);
    this.#counters.set(image.counters);
    const { words } = this.#arena;
    image.free.forEach((slots, index) => {
      slots.forEach((address, at) => words[address * (ADDRESS_BYTES / 4)] = slots[at + 1] ?? 0);
      this.#heads[2 * (1 + index)] = slots[0] ?? 0;
    });
  }

  /**
   * All that the allocator keeps outside the arena, as bytes. Only while no other thread allocates or
   * frees.
   *
   * @returns What {@linkcode SlotAllocator.load} takes, over the same arena.
   */
  save(): Uint8Array {
    this.reclaim(Infinity);
    this.#cutLeftovers();
    const saved = new Uint8Array(this.#savedParts().reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of this.#savedParts()) {
      saved.set(part, at);
      at += part.length;
    }
    new BigInt64Array(saved.buffer, 0, 1)[0] |= BigInt(this.#usedEnd) << 32n;
    return saved;
  }

  /** Goes on where another allocator of the same arena was saved. */
  load(saved: Uint8Array): void {
    this.#forget();
    let at = 0;
    for (const part of this.#savedParts()) {
      part.set(saved.subarray(at, at + part.length));
      at += part.length;
    }
    this.#usedEnd = Number(BigInt.asUintN(32, this.#control[0] >> 32n));
    this.#control[0] &= MASK;
  }

  /**
   * Goes on with all slots in use standing together. Only while no other thread allocates or frees.
   *
   * @param end Address behind the last one.
   * @param gaps Room before it that none has: address and end of each.
   */
  packed(end: number, gaps: readonly number[]): void {
    this.#forget();
    this.#leftovers = [...gaps];
    this.#usedEnd = Math.max(this.#usedEnd, Number(this.#control[0]));
    this.#control.fill(0n);
    this.#control[0] = BigInt(end);
    this.#spanNext.fill(0);
    this.#spanEnd.fill(0);
    for (let at = 0; at < this.#counters.length; at += COUNTERS) {
      this.#counters[at + 2] = this.#counters[at] - this.#counters[at + 1];
    }
  }

  /** Makes free slots of what was left at the ends of spans: it does not stand in what is saved. */
  #cutLeftovers(): void {
    const leftovers = this.#leftovers.splice(0), slots = emptyClasses();
    for (let i = 0; i < leftovers.length; i += 2) {
      cutRun(slots, leftovers[i], leftovers[i + 1], SIZE_CLASSES - 1);
    }
    if (leftovers.length > 0) this.#pushCut(slots);
  }

  /** Puts slots that were just cut on their stacks. */
  #pushCut(slots: readonly (readonly number[])[]): void {
    slots.forEach((addresses, index) => {
      this.#counters[COUNTERS * index + 2] += addresses.length;
      for (const address of addresses) this.#push(address, index);
    });
    // Their bytes may be old ones, so slots cut from them must be zeroed.
    this.#usedEnd = Math.max(this.#usedEnd, Number(this.#control[0]));
  }

  /** Forgets what stands outside the saved parts. */
  #forget(): void {
    this.#retired.clear();
    this.#leftovers = [];
    this.#inVain = { frees: -1, freedBytes: 0, longestBytes: 0 };
    this.isTight = false;
  }

  #savedParts(): Uint8Array[] {
    return [this.#control, this.#spanNext, this.#spanEnd, this.#counters].map(
      (part) => new Uint8Array(part.buffer),
    );
  }

  /** Takes all slots back at once. The arena keeps its memory; slots come back zeroed. */
  clear(): void {
    this.#forget();
    this.#usedEnd = Math.max(this.#usedEnd, Number(this.#control[0]));
    this.#control.fill(0n);
    this.#control[0] = BigInt(FIRST_SPAN);
    this.#spanNext.fill(0);
    this.#spanEnd.fill(0);
    this.#counters.fill(0);
  }

  /** Counts over all classes; walks nothing but the 76 classes. */
  statistics(): AllocatorStatistics {
    let allocations = 0, frees = 0, live = 0, liveBytes = 0, freeBytes = 0;
    for (let index = 0; index < SIZE_CLASSES; index++) {
      // Frees first: each is counted after its allocation, so the difference is never negative.
      const given = Atomics.load(this.#counters, COUNTERS * index + 1);
      const taken = Atomics.load(this.#counters, COUNTERS * index);
      allocations += taken;
      frees += given;
      live += taken - given >>> 0;
      liveBytes += (taken - given >>> 0) * sizeOfClass(index);
      freeBytes += this.#freeCount(index) * sizeOfClass(index);
    }
    const carvedBytes = (Number(this.#control[0]) - FIRST_SPAN) * ADDRESS_BYTES;
    return {
      allocations,
      frees,
      live,
      liveBytes,
      freeBytes,
      carvedBytes,
      fragmentation: carvedBytes === 0 ? 0 : 1 - liveBytes / carvedBytes,
    };
  }

  /** Counts of each size class of which a slot was ever cut, smallest slots first. */
  classes(): ClassStatistics[] {
    const classes: ClassStatistics[] = [];
    for (let index = 0; index < SIZE_CLASSES; index++) {
      const carved = Atomics.load(this.#counters, COUNTERS * index + 2);
      if (carved === 0) continue;
      const given = Atomics.load(this.#counters, COUNTERS * index + 1);
      const live = Atomics.load(this.#counters, COUNTERS * index) - given >>> 0;
      const pending = this.#retired.countOf(index);
      const free = this.#freeCount(index) - pending;
      classes.push({ slotBytes: sizeOfClass(index), live, pending, free, carved });
    }
    return classes;
  }

  /**
   * Walks every stack of free slots and all that wait: each slot is inside the arena and there once, and counts
   * agree. Only while no other thread allocates or frees.
   */
  checkInvariants(): void {
    const seen = new Set<number>();
    for (let index = 0; index < SIZE_CLASSES; index++) {
      const slotBytes = sizeOfClass(index), before = seen.size;
      for (const address of this.#reusable(index)) {
        assert(!seen.has(address), `slot ${address} is free once`);
        seen.add(address);
        assert(address * ADDRESS_BYTES + slotBytes <= this.#arena.byteLength, "slot inside arena");
      }
      assert(seen.size - before === this.#freeCount(index), `free slots of ${slotBytes} B agree`);
    }
    const { liveBytes, freeBytes, carvedBytes } = this.statistics();
    assert(liveBytes + freeBytes <= carvedBytes, "slots fit the carved bytes");
  }

  #freeCount(sizeClass: number): number {
    const first = COUNTERS * sizeClass, counters = this.#counters;
    const given = Atomics.load(counters, first + 1), taken = Atomics.load(counters, first);
    // A slot that another thread is just cutting is counted as taken or as cut, not yet as both.
    return Math.max(0, Atomics.load(counters, first + 2) - (taken - given) | 0);
  }

  *#reusable(sizeClass: number): Generator<number> {
    yield* this.#freeSlots(sizeClass);
    yield* this.#retired.list(sizeClass);
  }

  *#freeSlots(sizeClass: number): Generator<number> {
    let address = Number(Atomics.load(this.#control, 1 + sizeClass) & MASK);
    while (address !== 0) {
      yield address;
      address = this.#arena.words[address * (ADDRESS_BYTES / 4)];
    }
  }

  #push(address: number, sizeClass: number): void {
    const head = 1 + sizeClass;
    const words = this.#arena.words;
    for (;;) {
      const old = Atomics.load(this.#control, head);
      Atomics.store(words, address * (ADDRESS_BYTES / 4), Number(old & MASK));
      const next = BigInt.asIntN(64, ((old >> 32n) + 1n) << 32n | BigInt(address));
      if (Atomics.compareExchange(this.#control, head, old, next) === old) return;
    }
  }

  /** Links slots to one another and puts them on a stack together. */
  #pushRun(slots: Uint32Array, count: number, sizeClass: number): void {
    if (count === 0) return;
    const head = 1 + sizeClass, { words } = this.#arena;
    // Nobody else knows these slots yet; the exchange below shows them.
    for (let i = 0; i + 1 < count; i++) words[slots[i] * (ADDRESS_BYTES / 4)] = slots[i + 1];
    const last = slots[count - 1] * (ADDRESS_BYTES / 4);
    for (;;) {
      const old = Atomics.load(this.#control, head);
      Atomics.store(words, last, Number(old & MASK));
      const next = BigInt.asIntN(64, ((old >> 32n) + 1n) << 32n | BigInt(slots[0]));
      if (Atomics.compareExchange(this.#control, head, old, next) === old) return;
    }
  }

  #pop(sizeClass: number): number {
    const head = 1 + sizeClass;
    // The low half alone says whether there is a slot, without a bigint.
    if (Atomics.load(this.#heads, 2 * head) === 0) return 0;
    for (;;) {
      const old = Atomics.load(this.#control, head);
      const address = Number(old & MASK);
      if (address === 0) return 0;
      // Another thread may take this slot first; then the word read is not a link, but the
      // counter in the head has moved and the swap below fails.
      const link = Atomics.load(this.#arena.words, address * (ADDRESS_BYTES / 4)) >>> 0;
      const next = BigInt.asIntN(64, ((old >> 32n) + 1n) << 32n | BigInt(link));
      if (Atomics.compareExchange(this.#control, head, old, next) === old) return address;
    }
  }

  /** Cuts a fresh slot from this thread's own span; what is left of an old span waits for a recut. */
  #carve(sizeClass: number, slotBytes: number): number {
    const slot = slotBytes / ADDRESS_BYTES;
    let address = this.#spanNext[sizeClass];
    if (address + slot > this.#spanEnd[sizeClass]) {
      let bytes = this.isTight ? slotBytes : spanBytes(slotBytes);
      address = this.#takeSpan(bytes) || this.#takeFree(bytes);
      if (address === 0) address = this.#takeSpan(bytes = slotBytes) || this.#takeFree(bytes);
      if (address === 0) throw this.#full(slotBytes);
      const left = this.#spanNext[sizeClass], end = this.#spanEnd[sizeClass];
      if (left < end) this.#leftovers.push(left, end);
      this.#spanEnd[sizeClass] = address + bytes / ADDRESS_BYTES;
    }
    this.#spanNext[sizeClass] = address + slot;
    return address;
  }

  /** Takes a fresh span; 0 where the arena is full. */
  #takeSpan(bytes: number): number {
    const span = bytes / ADDRESS_BYTES;
    const region = REGION_BYTES / ADDRESS_BYTES;
    for (;;) {
      const old = Atomics.load(this.#control, 0);
      let start = Number(old);
      if (Math.floor(start / region) !== Math.floor((start + span - 1) / region)) {
        start = alignUp(start, region);
      }
      const end = (start + span) * ADDRESS_BYTES;
      if (end > this.#arena.limitBytes) return 0;
      this.#arena.grow(end);
      const next = BigInt(start + span);
      if (Atomics.compareExchange(this.#control, 0, old, next) !== old) continue;
      // No slot crosses from one region to the next: what is left before it is for smaller ones.
      if (start > Number(old)) this.#leftovers.push(Number(old), start);
      return start;
    }
  }

  /**
   * Takes room from free slots of any class, as the arena is full; 0 where there is none. Only while no other
   * thread allocates or frees.
   */
  #takeFree(bytes: number): number {
    const wanted = sizeClassOf(bytes);
    const address = this.#split(wanted, bytes);
    if (address !== 0 || !this.#recut(wanted)) return address;
    return this.#split(wanted, bytes);
  }

  /** Takes the first bytes of the smallest free slot of a class or a larger one; the rest of it stays free. */
  #split(wanted: number, bytes: number): number {
    for (let sizeClass = wanted; sizeClass < SIZE_CLASSES; sizeClass++) {
      const address = this.#retired.pop(sizeClass) || this.#pop(sizeClass);
      if (address === 0) continue;
      this.#counters[COUNTERS * sizeClass + 2]--;
      const end = address + sizeOfClass(sizeClass) / ADDRESS_BYTES;
      const rest = emptyClasses();
      cutRun(rest, address + bytes / ADDRESS_BYTES, end, wanted);
      this.#pushCut(rest);
      return address;
    }
    return 0;
  }

  /** Cuts all free slots anew; gives whether there is one of the wanted class then. */
  #recut(wanted: number): boolean {
    let frees = 0, freedBytes = 0;
    for (let index = 0; index < SIZE_CLASSES; index++) {
      const given = this.#counters[COUNTERS * index + 1];
      frees += given;
      freedBytes += given * sizeOfClass(index);
    }
    // Each slot that has come back since it was of no use joins two runs at most.
    const { longestBytes } = this.#inVain, joined = frees - this.#inVain.frees;
    const hopedBytes = longestBytes * (joined + 1) + freedBytes - this.#inVain.freedBytes;
    if (this.#inVain.frees >= 0 && joined >= 0 && hopedBytes < sizeOfClass(wanted)) return false;
    this.reclaim(Infinity);
    const counts = Array.from({ length: SIZE_CLASSES }, (_, index) => this.#freeCount(index));
    const before = Array.from({ length: SIZE_CLASSES }, (_, index) => [...this.#freeSlots(index)]);
    const rests = this.#rests();
    for (let i = 0; i < rests.length; i += 2) cutRun(before, rests[i], rests[i + 1], wanted);
    const after = recut(before, wanted);
    if (typeof after === "number") {
      this.#inVain = { frees, freedBytes, longestBytes: after };
      return false;
    }
    this.#arena.grow(this.#arena.limitBytes);
    after.forEach((slots, index) => {
      this.#counters[COUNTERS * index + 2] += slots.length - counts[index];
      this.#control[1 + index] &= ~MASK;
      this.#pushRun(Uint32Array.from(slots), slots.length, index);
    });
    this.#control[0] = BigInt(this.#arena.limitBytes / ADDRESS_BYTES);
    this.#spanNext.fill(0);
    this.#spanEnd.fill(0);
    this.#leftovers = [];
    return true;
  }

  /** Room that no slot was cut from: at the ends of spans and of the arena. Address and end of each piece. */
  #rests(): number[] {
    const rests = [...this.#leftovers], region = REGION_BYTES / ADDRESS_BYTES;
    this.#spanNext.forEach((next, index) => {
      if (next < this.#spanEnd[index]) rests.push(next, this.#spanEnd[index]);
    });
    const end = this.#arena.limitBytes / ADDRESS_BYTES;
    for (let at = Number(this.#control[0]); at < end;) {
      const next = Math.min(end, alignUp(at + 1, region));
      rests.push(at, next);
      at = next;
    }
    return rests;
  }

  #full(bytes: number): MmsbError {
    const { limitBytes } = this.#arena;
    return new MmsbError(
      "allocation",
      `Cannot allocate ${bytes} bytes as the arena is full: its limit is ${limitBytes} bytes; delete pages, or open the bus with a larger memoryLimitBytes or with spill`,
      { values: { bytes, limitBytes } },
    );
  }
}

function emptyClasses(): number[][] {
  return Array.from({ length: SIZE_CLASSES }, () => []);
}

/**
 * Bytes of the span that slots of a size are cut from: 64 KiB, or four slots where that would waste
 * much of it, or just one of the largest.
 */
function spanBytes(slotBytes: number): number {
  if (slotBytes <= SPAN_BYTES / 8) return SPAN_BYTES;
  return slotBytes < SPAN_BYTES ? 4 * slotBytes : slotBytes;
}
