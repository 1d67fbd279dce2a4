/**
 * Scenarios in which rings are explored: few threads, few items, small capacities, and results that say whether anything
 * was lost, came twice or out of order. The rings are parameters, so that rings with planted faults can be explored too.
 */

import assert from "node:assert/strict";
import { isMmsbError } from "../../base/errors.ts";
import { CONTROL_WORDS, HEAD, POSITION, TAIL } from "../ring_memory.ts";
import type { MpmcRing } from "../mpmc_ring.ts";
import type { SpscRing } from "../spsc_ring.ts";
import type { Scenario } from "./interleavings.ts";

/** The rings explored. */
export interface Rings {
  readonly SpscRing: typeof SpscRing;
  readonly MpmcRing: typeof MpmcRing;
}

/** A scenario, made anew for each exploration. */
export type ScenarioOf = (rings: Rings) => Scenario;

/** Moves an empty ring on, as if so many items had gone through it. */
function startAt(memory: SharedArrayBuffer, position: number, sequences: number): void {
  const words = new Int32Array(memory);
  words[TAIL] = words[HEAD] = position;
  for (let i = 0; i < sequences; i++) {
    const at = (position + i) & POSITION;
    words[CONTROL_WORDS + (at & (sequences - 1))] = at;
  }
}

/** What a call gave, or the code of the error that it threw. */
function outcome<T>(call: () => T): T | string {
  try {
    return call();
  } catch (error) {
    if (isMmsbError(error)) return error.code;
    throw error;
  }
}

/** Pops as many items as there are, one at a time, up to a number or until the ring is closed. */
function popAll(ring: SpscRing | MpmcRing, count: number): number[] {
  const got: number[] = [], target = new Int32Array(ring.itemWords);
  while (got.length < count) {
    const items = outcome(() => ring.pop(target));
    if (items === "closed") break;
    got.push(target[0]);
  }
  return got;
}

/** Between two threads, below the wrap of positions and past it: each item once and in order, in blocking calls. */
const SPSC_BLOCKING: ScenarioOf = ({ SpscRing }) => {
  const handle = SpscRing.create({ capacity: 2 }).share();
  startAt(handle.memory, POSITION - 1, 0);
  return {
    memory: handle.memory,
    threads: [
      () => [1, 2, 3].forEach((word) => SpscRing.attach(handle).push(Int32Array.of(word))),
      () => popAll(SpscRing.attach(handle), 3),
    ],
    check: ([, got]) => assert.deepEqual(got, [1, 2, 3]),
  };
};

/** The same by one handle a side, which remembers what it saw, with a push of more than the ring holds. */
const SPSC_BATCH: ScenarioOf = ({ SpscRing }) => {
  const handle = SpscRing.create({ capacity: 2, itemWords: 2 }).share();
  startAt(handle.memory, POSITION, 0);
  return {
    memory: handle.memory,
    threads: [
      () => SpscRing.attach(handle).push(Int32Array.of(1, -1, 2, -2, 3, -3)),
      () => {
        const ring = SpscRing.attach(handle), target = new Int32Array(6);
        for (let items = 0; items < 3;) items += ring.pop(target, { start: 2 * items });
        return [...target];
      },
    ],
    check: ([, got]) => assert.deepEqual(got, [1, -1, 2, -2, 3, -3]),
  };
};

/** Written and read in place. */
const SPSC_IN_PLACE: ScenarioOf = ({ SpscRing }) => {
  const handle = SpscRing.create({ capacity: 2 }).share();
  return {
    memory: handle.memory,
    threads: [
      () => {
        const ring = SpscRing.attach(handle);
        const room = ring.reserve(2);
        for (let i = 0; i < room; i++) ring.data[ring.reservedAt + i] = 7 + i;
        ring.commit(room);
        ring.pushWord(9);
      },
      () => {
        const ring = SpscRing.attach(handle);
        const got = [ring.popWord()];
        const ready = ring.peek(2);
        for (let i = 0; i < ready; i++) got.push(ring.data[ring.peekedAt + i]);
        ring.release(ready);
        while (got.length < 3) got.push(ring.popWord());
        return got;
      },
    ],
    check: ([, got]) => assert.deepEqual(got, [7, 8, 9]),
  };
};

/** A third thread closes: what a push said to be in is popped, and both sides end. */
const SPSC_CLOSE: ScenarioOf = ({ SpscRing }) => {
  const handle = SpscRing.create({ capacity: 2 }).share();
  return {
    memory: handle.memory,
    threads: [
      () => {
        const ring = SpscRing.attach(handle);
        return outcome(() => ring.push(Int32Array.of(1))) === "closed" ? [] : [1];
      },
      () => popAll(SpscRing.attach(handle), Infinity),
      () => SpscRing.attach(handle).close(),
    ],
    check: ([pushed, got]) => assert.deepEqual(got, pushed),
  };
};

/** Time may run out at any sleep: an item is popped or still there, and a push that gave up says what is in. */
const SPSC_TIMEOUT: ScenarioOf = ({ SpscRing }) => {
  const handle = SpscRing.create({ capacity: 2 }).share();
  const timeoutMs = 1e9;
  return {
    memory: handle.memory,
    threads: [
      () => {
        const ring = SpscRing.attach(handle);
        try {
          ring.push(Int32Array.of(1, 2, 3), { timeoutMs });
          return 3;
        } catch (error) {
          if (isMmsbError(error, "memory-pressure")) return error.values.pushed;
          throw error;
        }
      },
      () => {
        const ring = SpscRing.attach(handle), target = new Int32Array(1);
        return ring.pop(target, { timeoutMs }) === 0 ? [] : [target[0]];
      },
    ],
    check: ([pushed, got]) => {
      assert.ok(pushed === 2 || pushed === 3);
      assert.ok(pushed === 2 || (got as number[]).length === 1, "There was no room for the third");
      assert.ok((got as number[]).every((word) => word === 1));
    },
  };
};

/** Two producers and two consumers that only try: nothing twice, nothing but what was pushed, in a producer's order. */
const MPMC_TRY: ScenarioOf = ({ MpmcRing }) => {
  const handle = MpmcRing.create({ capacity: 2 }).share();
  startAt(handle.memory, POSITION, 2);
  const producer = (word: number) => () => MpmcRing.attach(handle).tryPushWord(word) ? [word] : [];
  const consumer = () => [MpmcRing.attach(handle).tryPopWord()].filter((word) => word >= 0);
  return {
    memory: handle.memory,
    threads: [producer(1), producer(2), consumer, consumer],
    check: (results) => {
      const [one, two, ...popped] = results as number[][];
      const got = popped.flat();
      assert.deepEqual([...one, ...two], [1, 2], "Two slots have room for two items");
      assert.equal(new Set(got).size, got.length);
      assert.ok(got.every((word) => word === 1 || word === 2));
    },
  };
};

/** Two producers, one of them with two items, and one consumer: each once, in a producer's order. */
const MPMC_PRODUCERS: ScenarioOf = ({ MpmcRing }) => {
  const handle = MpmcRing.create({ capacity: 2 }).share();
  return {
    memory: handle.memory,
    threads: [
      () => void MpmcRing.attach(handle).push(Int32Array.of(1)),
      () => void MpmcRing.attach(handle).push(Int32Array.of(2)),
      () => popAll(MpmcRing.attach(handle), 2),
    ],
    check: ([, , got]) => assert.deepEqual((got as number[]).toSorted(), [1, 2]),
  };
};

/** Two consumers asleep and two producers of one item: no state in which one sleeps while its item is there. */
const MPMC_CONSUMERS: ScenarioOf = ({ MpmcRing }) => {
  const handle = MpmcRing.create({ capacity: 2 }).share();
  const consumer = () => popAll(MpmcRing.attach(handle), 1);
  return {
    memory: handle.memory,
    threads: [() => MpmcRing.attach(handle).push(Int32Array.of(1, 2)), consumer, consumer],
    check: ([, one, two]) =>
      assert.deepEqual([...one as number[], ...two as number[]].toSorted(), [1, 2]),
  };
};

/** A full ring and two producers that wait for the one consumer. */
const MPMC_FULL: ScenarioOf = ({ MpmcRing }) => {
  const ring = MpmcRing.create({ capacity: 2 });
  const handle = ring.share();
  ring.tryPush(Int32Array.of(1, 2));
  const producer = (word: number) => () => MpmcRing.attach(handle).push(Int32Array.of(word));
  return {
    memory: handle.memory,
    threads: [producer(3), producer(4), () => MpmcRing.attach(handle).tryPop(new Int32Array(2))],
    check: ([, , popped]) => assert.equal(popped, 2),
  };
};

/** One pushes, another closes, one waits: it gets what a push said to be in, and ends. */
const MPMC_CLOSE_ONE: ScenarioOf = ({ MpmcRing }) => {
  const handle = MpmcRing.create({ capacity: 2 }).share();
  return {
    memory: handle.memory,
    threads: [
      () => outcome(() => MpmcRing.attach(handle).tryPushWord(5)),
      () => MpmcRing.attach(handle).close(),
      () => popAll(MpmcRing.attach(handle), Infinity),
    ],
    check: ([pushed, , got]) => assert.deepEqual(got, pushed === true ? [5] : []),
  };
};

/** One pushes, another closes, two wait: one gets the item, both end. */
const MPMC_CLOSE: ScenarioOf = ({ MpmcRing }) => {
  const handle = MpmcRing.create({ capacity: 2 }).share();
  const consumer = () => {
    const target = new Int32Array(1);
    const items = outcome(() => MpmcRing.attach(handle).pop(target));
    return items === 1 ? target[0] : items;
  };
  return {
    memory: handle.memory,
    statesMax: 40_000_000,
    threads: [
      () => outcome(() => MpmcRing.attach(handle).tryPushWord(5)),
      () => MpmcRing.attach(handle).close(),
      consumer,
      consumer,
    ],
    check: ([pushed, , one, two]) =>
      assert.deepEqual(
        [one, two].toSorted(),
        pushed === true ? [5, "closed"] : ["closed", "closed"],
      ),
  };
};

/** Two producers and two consumers that wait for one another: the largest. */
const MPMC_ALL: ScenarioOf = ({ MpmcRing }) => {
  const handle = MpmcRing.create({ capacity: 2 }).share();
  const consumer = () => popAll(MpmcRing.attach(handle), 1);
  return {
    memory: handle.memory,
    statesMax: 40_000_000,
    threads: [
      () => MpmcRing.attach(handle).push(Int32Array.of(1)),
      () => MpmcRing.attach(handle).push(Int32Array.of(2)),
      consumer,
      consumer,
    ],
    check: ([, , one, two]) =>
      assert.deepEqual([...one as number[], ...two as number[]].toSorted(), [1, 2]),
  };
};

/** Those that take minutes: for the stress run. */
export const LARGE: Readonly<Record<string, ScenarioOf>> = {
  MPMC_PRODUCERS,
  MPMC_CONSUMERS,
  MPMC_CLOSE,
  MPMC_ALL,
};

/** Those for every test run. */
export const QUICK: Readonly<Record<string, ScenarioOf>> = {
  SPSC_BLOCKING,
  SPSC_BATCH,
  SPSC_IN_PLACE,
  SPSC_CLOSE,
  SPSC_TIMEOUT,
  MPMC_TRY,
  MPMC_FULL,
  MPMC_CLOSE_ONE,
};
