/**
 * One timer a message: when its window begins or ends, when its deadline class changes, when it has waited long enough.
 *
 * A hierarchical timing wheel (Varghese & Lauck, 1987) with nine levels of 64 places and a step of one µs, so
 * that every timer fires at its very µs and in order of time. A timer stands at the level of the highest group
 * of six bits in which it differs from the wheel's own time, in the place which those bits say; when the
 * wheel comes to the first µs of a place, its timers go down to lower levels. Of each level 64 bits say which
 * places hold something, so an empty hour is passed in one step.
 *
 * Lists are linked both ways through the records: a message that is delivered takes its timer out.
 *
 * Cost: O(1) to set and to take out, some 10 ns each; at most eight moves in a timer's life, none for a message that is
 * delivered soon.
 */
import { assert } from "../../base/assert.ts";
import {
  TIME_US,
  TIMER_COUNT,
  TIMER_NEXT,
  TIMER_PLACE,
  TIMER_PREVIOUS,
  TIMER_US,
  WHEEL_AT,
  WHEEL_LEVELS,
} from "./_queue_layout.ts";
import type { QueueMemory } from "./_queue_memory.ts";

const PLACES = WHEEL_LEVELS * 64;
const OCCUPIED = WHEEL_AT + PLACES;
/** Levels in the lower 30 bits of a time. */
const LOW_LEVELS = 5;
const LOW = 2 ** 30;

/** The timers of a queue. */
export class TimerWheel {
  readonly #words: Int32Array;
  readonly #f64: Float64Array;

  constructor({ words, f64 }: QueueMemory) {
    this.#words = words;
    this.#f64 = f64;
  }

  /** Sets the timer of a record that has none, to a time after the wheel's. */
  set(slot: number, atUs: number): void {
    const words = this.#words;
    this.#f64[(slot >> 1) + TIMER_US] = atUs;
    words[TIMER_COUNT]++;
    this.#place(slot, atUs);
  }

  /** Takes the timer of a record out, if it has one. */
  clear(slot: number): void {
    const words = this.#words, place = words[slot + TIMER_PLACE];
    if (place === 0) return;
    const previous = words[slot + TIMER_PREVIOUS], next = words[slot + TIMER_NEXT];
    if (previous !== 0) words[previous + TIMER_NEXT] = next;
    else this.#setHead(place - 1, next);
    if (next !== 0) words[next + TIMER_PREVIOUS] = previous;
    words[slot + TIMER_PLACE] = 0;
    words[TIMER_COUNT]--;
  }

  /**
   * Goes on to the next time at which timers fire, at most to a given one.
   *
   * @returns The first record of the list that fires, linked by {@linkcode after}; 0 where the wheel has come to
   * `nowUs` and nothing is left to fire up to it. The queue's time is then `nowUs`.
   */
  next(nowUs: number): number {
    const words = this.#words, f64 = this.#f64;
    for (;;) {
      const atUs = words[TIMER_COUNT] === 0 ? Infinity : this.#firstPlaceUs();
      if (atUs > nowUs) {
        if (nowUs > f64[TIME_US]) f64[TIME_US] = nowUs;
        return 0;
      }
      f64[TIME_US] = atUs;
      const place = this.#place0;
      let fires = 0;
      let slot = words[WHEEL_AT + place];
      this.#setHead(place, 0);
      while (slot !== 0) {
        const rest = words[slot + TIMER_NEXT], slotUs = f64[(slot >> 1) + TIMER_US];
        if (slotUs > atUs) {
          this.#place(slot, slotUs);
        } else {
          words[slot + TIMER_PLACE] = 0;
          words[slot + TIMER_NEXT] = fires;
          words[TIMER_COUNT]--;
          fires = slot;
        }
        slot = rest;
      }
      if (fires !== 0) return fires;
    }
  }

  /** The next record of a list that fires; ask before the record is given a new timer. */
  after(slot: number): number {
    return this.#words[slot + TIMER_NEXT];
  }

  /** When something may happen next, or somewhat before; Infinity where nothing will. */
  nextUs(): number {
    return this.#words[TIMER_COUNT] === 0 ? Infinity : this.#firstPlaceUs();
  }

  /** Counts the timers, and sees that each stands where it belongs. */
  checkInvariants(): number {
    const words = this.#words, f64 = this.#f64;
    let count = 0;
    for (let place = 0; place < PLACES; place++) {
      let previous = 0;
      for (let slot = words[WHEEL_AT + place]; slot !== 0; slot = words[slot + TIMER_NEXT]) {
        const atUs = f64[(slot >> 1) + TIMER_US];
        assert(words[slot + TIMER_PREVIOUS] === previous, "Timers are linked both ways");
        assert(words[slot + TIMER_PLACE] === place + 1, "A record names the place of its timer");
        assert(atUs > f64[TIME_US], "A timer that is left lies in the future");
        assert(placeOf(atUs, f64[TIME_US]) === place, "A timer stands where its time belongs");
        previous = slot;
        count++;
      }
      const isMarked = (words[OCCUPIED + (place >> 5)] & (1 << (place & 31))) !== 0;
      assert(isMarked === (previous !== 0), "The bits say which places hold timers");
    }
    assert(count === words[TIMER_COUNT], "As many timers are set as are counted");
    return count;
  }

  #place(slot: number, atUs: number): void {
    const words = this.#words, place = placeOf(atUs, this.#f64[TIME_US]);
    const head = words[WHEEL_AT + place];
    words[slot + TIMER_PLACE] = place + 1;
    words[slot + TIMER_PREVIOUS] = 0;
    words[slot + TIMER_NEXT] = head;
    if (head !== 0) words[head + TIMER_PREVIOUS] = slot;
    words[WHEEL_AT + place] = slot;
    words[OCCUPIED + (place >> 5)] |= 1 << (place & 31);
  }

  #setHead(place: number, slot: number): void {
    const words = this.#words;
    words[WHEEL_AT + place] = slot;
    if (slot === 0) words[OCCUPIED + (place >> 5)] &= ~(1 << (place & 31));
  }

  /** The place that {@linkcode #firstPlaceUs} found. */
  #place0 = 0;

  /** First µs of the first place that holds timers; some do. */
  #firstPlaceUs(): number {
    const words = this.#words, timeUs = this.#f64[TIME_US];
    let level = 0;
    while ((words[OCCUPIED + 2 * level] | words[OCCUPIED + 2 * level + 1]) === 0) level++;
    const low = words[OCCUPIED + 2 * level];
    const bits = low !== 0 ? low : words[OCCUPIED + 2 * level + 1];
    // All timers of a level lie ahead of the wheel's own place in it, so the first bit is the next.
    const digit = (low !== 0 ? 31 : 63) - Math.clz32(bits & -bits);
    this.#place0 = level * 64 + digit;
    const step = 64 ** level, round = step * 64;
    return Math.floor(timeUs / round) * round + digit * step;
  }
}

/** Where a time belongs in a wheel that stands at an earlier one. */
function placeOf(atUs: number, timeUs: number): number {
  const atHigh = Math.floor(atUs / LOW), timeHigh = Math.floor(timeUs / LOW);
  const high = atHigh ^ timeHigh;
  if (high !== 0) {
    const level = ((31 - Math.clz32(high)) / 6) | 0;
    return (LOW_LEVELS + level) * 64 + ((atHigh >>> (6 * level)) & 63);
  }
  const low = atUs - atHigh * LOW;
  const differing = low ^ (timeUs - timeHigh * LOW);
  const level = ((31 - Math.clz32(differing | 1)) / 6) | 0;
  return level * 64 + ((low >>> (6 * level)) & 63);
}
