/**
 * Work of clocks: timestamps taken, received and compared, by ours and by @consento/hlc; and readings of sources of time.
 *
 * Both get the same readings of a physical clock, each in the form that it wants: ours µs as numbers, the peer a
 * bigint. So both give the same timestamps, as long as the counter stays below our 4,096.
 */

import HLC from "@consento/hlc";
import { CachedClock } from "../src/temporal/sources/cached_clock.ts";
import {
  compare,
  HybridLogicalClock,
  systemNowUs,
  timestampHi,
  timestampLo,
} from "../src/temporal/mod.ts";
import { type ClockSource, SystemClock } from "../src/temporal/sources/mod.ts";
import type { Comparison, OpenSide, Place } from "./_comparison.ts";
import { numbers } from "./_harness.ts";
import { SEED } from "./_work.ts";

const BASE_US = 1_767_225_600_000_000;

/** What the physical clock gives in a run: a µs each 16 readings. */
function readingsOf(size: number): Float64Array {
  return Float64Array.from({ length: size + 1 }, (_, i) => BASE_US + (i >>> 4));
}

/** The same for the peer. */
function wallTimesOf(size: number): bigint[] {
  return Array.from(readingsOf(size), (us) => BigInt(us));
}

/** Our clock at its last timestamp, in the words of both. */
function ofHalves(clock: HybridLogicalClock): string {
  const last = clock.peek();
  return `${last >> 12n}.${last & 0xfffn}`;
}

/** A new clock; the peer takes a reading when it is made, so ours does, too. */
function openOurs(readings: Float64Array): HybridLogicalClock {
  let asked = 1;
  return new HybridLogicalClock({
    nowUs: () => readings[asked++],
    last: BigInt(readings[0]) << 12n,
  });
}

function openPeer(wallTimes: readonly bigint[]): HLC {
  let asked = 0;
  return new HLC({ wallTime: () => wallTimes[asked++] });
}

/** Timestamps of another node that is ahead, as words: nearly in order, and not quite. */
function received(count: number): bigint[] {
  const next = numbers(SEED);
  return Array.from({ length: count }, (_, i) => {
    const us = BASE_US + 1000 + i + next() % 8;
    return BigInt(us) << 12n | BigInt(next() % 4000);
  });
}

const peerOf = (word: bigint): HLC.Timestamp =>
  new HLC.Timestamp({ wallTime: word >> 12n, logical: Number(word & 0xfffn) });

/** Taking timestamps, one at a time. */
export const taking: Comparison = {
  unit: "taking 10,000 hybrid timestamps",
  size: 10_000,
  smokeSize: 1000,
  sides: {
    "@consento/hlc": ({ size }) => {
      const wallTimes = wallTimesOf(size);
      let clock = openPeer(wallTimes);
      return {
        run() {
          clock = openPeer(wallTimes);
          for (let i = 0; i < size; i++) clock.now();
        },
        result: () => `${clock.last.wallTime}.${clock.last.logical}`,
      };
    },
    "HybridLogicalClock": ({ size }) => {
      const readings = readingsOf(size);
      let clock = openOurs(readings);
      return {
        run() {
          clock = openOurs(readings);
          for (let i = 0; i < size; i++) clock.now();
        },
        result: () => ofHalves(clock),
      };
    },
  },
};

/** Taking a timestamp after each one that is received. */
export const receiving: Comparison = {
  unit: "receiving 10,000 hybrid timestamps",
  size: 10_000,
  smokeSize: 1000,
  sides: {
    "@consento/hlc": ({ size }) => {
      const wallTimes = wallTimesOf(size), words = received(size).map(peerOf);
      let clock = openPeer(wallTimes);
      return {
        run() {
          clock = openPeer(wallTimes);
          for (let i = 0; i < size; i++) clock.update(words[i]);
        },
        result: () => `${clock.last.wallTime}.${clock.last.logical}`,
      };
    },
    "HybridLogicalClock": ({ size }) => {
      const readings = readingsOf(size), words = received(size);
      const hi = Uint32Array.from(words, timestampHi), lo = Uint32Array.from(words, timestampLo);
      let clock = openOurs(readings);
      return {
        run() {
          clock = openOurs(readings);
          for (let i = 0; i < size; i++) clock.update(hi[i], lo[i]);
        },
        result: () => ofHalves(clock),
      };
    },
  },
};

/** Comparing timestamps, each with the one before. */
export const comparing: Comparison = {
  unit: "comparing 10,000 hybrid timestamps",
  size: 10_000,
  smokeSize: 1000,
  sides: {
    "@consento/hlc": ({ size }) => {
      const words = received(size).map(peerOf);
      let sum = 0;
      return {
        run() {
          sum = 0;
          for (let i = 1; i < size; i++) sum += HLC.Timestamp.compare(words[i - 1], words[i]);
        },
        result: () => `${sum}`,
      };
    },
    "compare": ({ size }) => {
      const words = received(size);
      const hi = Uint32Array.from(words, timestampHi), lo = Uint32Array.from(words, timestampLo);
      let sum = 0;
      return {
        run() {
          sum = 0;
          for (let i = 1; i < size; i++) sum += compare(hi[i - 1], lo[i - 1], 0, hi[i], lo[i], 0);
        },
        result: () => `${sum}`,
      };
    },
  },
};

/** Reads a clock; what comes out is that it never went back, and how often it was read. */
function reading(
  open: (place: Place) => Promise<{ nowUs: () => number; close?: () => Promise<void> }>,
): OpenSide {
  return async (place) => {
    const { nowUs, close } = await open(place);
    let read = 0, last = 0;
    return {
      run() {
        for (let i = 0; i < place.size; i++) {
          const us = nowUs();
          if (!(us >= last)) throw new Error(`${us} µs after ${last} µs`);
          last = us;
        }
        read += place.size;
      },
      result: () => `${read}`,
      close,
    };
  };
}

async function started<T extends ClockSource>(source: T) {
  await source.start();
  return { nowUs: () => source.nowUs(), close: () => source.close() };
}

/** Reading the time. */
export const readingTime: Comparison = {
  unit: "reading the time 10,000 times",
  size: 10_000,
  smokeSize: 1000,
  sides: {
    "performance.timeOrigin + now": reading(async () => ({ nowUs: systemNowUs })),
    "SystemClock": reading(() => started(new SystemClock())),
    "CachedClock": reading(() => started(new CachedClock(new SystemClock()))),
  },
};
