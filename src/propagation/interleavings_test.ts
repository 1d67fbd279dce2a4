/**
 * Rings in every order of their threads' steps, and the same with faults planted in their source: a checker that finds no
 * fault where there is one proves nothing.
 */

import assert from "node:assert/strict";
import { MpmcRing } from "./mpmc_ring.ts";
import { SpscRing } from "./spsc_ring.ts";
import { explore, InterleavingError } from "./testdata/interleavings.ts";
import { LARGE, QUICK, type Rings, type ScenarioOf } from "./testdata/ring_scenarios.ts";

for (const [name, scenario] of Object.entries(QUICK)) {
  Deno.test(`Rings are right in every order of steps: ${name}`, () => {
    const { states, outcomes } = explore(scenario({ SpscRing, MpmcRing }));
    assert.ok(states > 1000 && outcomes > 0, `${states} states, ${outcomes} outcomes`);
  });
}

/** A fault: in a file, a text and what stands there in its place. */
interface Fault {
  readonly file: string;
  readonly from: string;
  readonly to: string;
  readonly found: RegExp;
  readonly scenario: ScenarioOf;
}

const LOST = /Nobody can go on/;

const FAULTS: Readonly<Record<string, Fault>> = {
  "no look between saying that one sleeps and sleeping": {
    file: "_waiting.ts",
    from: `const seen = sleepers.arm();
      if (attempt()) return true;
      const { words, signalAt } = sleepers;
      const outcome = Atomics.wait(`,
    to: `const seen = sleepers.arm();
      const { words, signalAt } = sleepers;
      const outcome = Atomics.wait(`,
    found: LOST,
    scenario: QUICK.SPSC_BLOCKING,
  },
  "a sleeper that says so after its look": {
    file: "_waiting.ts",
    from: `const seen = sleepers.arm();
      if (attempt()) return true;
      const { words, signalAt } = sleepers;
      const outcome = Atomics.wait(`,
    to: `if (attempt()) return true;
      const seen = sleepers.arm();
      const { words, signalAt } = sleepers;
      const outcome = Atomics.wait(`,
    found: LOST,
    scenario: QUICK.SPSC_BLOCKING,
  },
  "a wake-up before the item is published": {
    file: "spsc_ring.ts",
    from: `const found = Atomics.compareExchange(this.#words, TAIL, tail, next);`,
    to: `if (Atomics.load(this.#words, ITEM_WANTED) !== 0) wakeOne(this.#words, ITEM_WANTED);
    const found = Atomics.compareExchange(this.#words, TAIL, tail, next);
    if (found === tail) {
      this.#tail = next;
      return;
    }`,
    found: LOST,
    scenario: QUICK.SPSC_BLOCKING,
  },
  "an index published before its data": {
    file: "spsc_ring.ts",
    from: `this.data[tail & this.#mask] = value;
    this.#publish(1);`,
    to: `this.#publish(1);
    this.data[tail & this.#mask] = value;`,
    found: /Data race/,
    scenario: QUICK.SPSC_IN_PLACE,
  },
  "room given back before the words are read": {
    file: "spsc_ring.ts",
    from: `const value = this.data[head & this.#mask] >>> 0;
    this.#free(1);`,
    to: `this.#free(1);
    const value = this.data[head & this.#mask] >>> 0;`,
    found: /Data race/,
    scenario: QUICK.SPSC_IN_PLACE,
  },
  "a tail published by a store, which opens a closed ring": {
    file: "spsc_ring.ts",
    from: `const found = Atomics.compareExchange(this.#words, TAIL, tail, next);`,
    to: `const found = tail;
    Atomics.store(this.#words, TAIL, next);`,
    found: /Nobody can go on|Wrong results/,
    scenario: QUICK.SPSC_CLOSE,
  },
  "a full ring taken for one with room": {
    file: "spsc_ring.ts",
    from: `const items = room < wanted ? room : wanted;`,
    to: `const items = room < wanted ? room + 1 : wanted;`,
    found: /Data race|Wrong results/,
    scenario: QUICK.SPSC_BATCH,
  },
  "a slot passed on before it is written": {
    file: "mpmc_ring.ts",
    from: `this.#data[slot] = value;
        Atomics.store(this.#sequences, slot, next);`,
    to: `Atomics.store(this.#sequences, slot, next);
        this.#data[slot] = value;`,
    found: /Data race/,
    scenario: QUICK.MPMC_TRY,
  },
  "a head moved by a store": {
    file: "mpmc_ring.ts",
    from: `if (Atomics.compareExchange(this.#words, HEAD, head, next) !== head) continue;
        const value`,
    to: `Atomics.store(this.#words, HEAD, next);
        const value`,
    found: /Wrong results/,
    scenario: QUICK.MPMC_TRY,
  },
  "a wake-up not passed on to the next consumer": {
    file: "mpmc_ring.ts",
    from: `      this.#wakeForRoom(items);
      this.#passOnItems(next);`,
    to: `      this.#wakeForRoom(items);`,
    found: LOST,
    scenario: LARGE.MPMC_CLOSE,
  },
  "one woken for a batch of two": {
    file: "mpmc_ring.ts",
    from: `this.#wakeForItems(items);`,
    to: `this.#wakeForItems(0);`,
    found: LOST,
    scenario: LARGE.MPMC_CONSUMERS,
  },
};

const FILES = ["ring_memory.ts", "_ring_calls.ts", "_waiting.ts", "spsc_ring.ts", "mpmc_ring.ts"];

/** The rings with a fault in their source. */
async function faulty({ file, from, to }: Fault): Promise<Rings> {
  const dir = await Deno.makeTempDir({ prefix: "mmsb-rings-" });
  try {
    for (const name of FILES) {
      let text = await Deno.readTextFile(new URL(`./${name}`, import.meta.url));
      if (name === file) {
        assert.equal(text.split(from).length, 2, `${from} stands once in ${file}`);
        text = text.replace(from, () => to);
      }
      text = text.replaceAll(
        /"(\.\.\/[^"]+)"/g,
        (_, path) => `"${new URL(path, import.meta.url)}"`,
      );
      await Deno.writeTextFile(`${dir}/${name}`, text);
    }
    const [spsc, mpmc] = await Promise.all([
      import(`file://${dir}/spsc_ring.ts`),
      import(`file://${dir}/mpmc_ring.ts`),
    ]);
    return { SpscRing: spsc.SpscRing, MpmcRing: mpmc.MpmcRing };
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

for (const [name, fault] of Object.entries(FAULTS)) {
  Deno.test(`Exploring finds a planted fault: ${name}`, async () => {
    const rings = await faulty(fault);
    assert.throws(() => explore(fault.scenario(rings)), (error) => {
      assert.ok(error instanceof InterleavingError);
      assert.match(error.message, fault.found);
      return true;
    });
  });
}

Deno.test("explore() says so where a word is used plainly and by atomics", () => {
  const memory = new SharedArrayBuffer(8);
  const plain = () => {
    new Int32Array(memory)[0] = 1;
  };
  const atomic = () => Atomics.load(new Int32Array(memory), 0);
  assert.throws(
    () => explore({ memory, threads: [plain, atomic], check: () => {} }),
    /both plainly and by atomics/,
  );
});

Deno.test("explore() meets every order: two threads that add without a swap lose one of two", () => {
  const memory = new SharedArrayBuffer(4);
  const add = (): void => {
    const words = new Int32Array(memory);
    Atomics.store(words, 0, Atomics.load(words, 0) + 1);
  };
  const sums = new Set<unknown>();
  const read = () => Atomics.load(new Int32Array(memory), 0);
  explore({ memory, threads: [add, add, read], check: (results) => void sums.add(results[2]) });
  assert.deepEqual([...sums].toSorted(), [0, 1, 2]);
});
