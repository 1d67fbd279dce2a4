import assert from "node:assert/strict";
import { isMmsbError } from "../../base/mod.ts";
import { PageStore } from "../../physical/mod.ts";
import { BoundRule } from "../bound_rule.ts";
import type { Rule } from "../rule.ts";
import { Waves } from "../waves.ts";
import { RuleWorkers, type RuleWorkersOptions } from "./rule_workers.ts";

const MODULE = new URL("../testdata/counting_rule.ts", import.meta.url).href;
const RULES = 60;

/** Rules that copy a page and count their runs, each over a page of its own. */
class Copies {
  readonly store = new PageStore(1 << 24);
  readonly waves = new Waves(this.store);
  readonly workers: RuleWorkers;
  #tick = 0;

  constructor(options: Partial<RuleWorkersOptions>) {
    for (let id = 1; id <= 2 * RULES; id++) {
      const row = this.store.create(id, { size: 32, shard: 0, name: "" });
      this.store.table.setActive(row, true);
    }
    this.workers = new RuleWorkers(this.store, { workers: 2, isStrict: true, ...options });
  }

  async bind(): Promise<void> {
    const rule = (await import(MODULE)).default as Rule;
    await this.workers.load(MODULE, "default", rule.version);
    for (let number = 1; number <= RULES; number++) {
      const bound = new BoundRule({
        number,
        name: `copy ${number}`,
        inputIds: [number],
        outputIds: [RULES + number],
        stateIds: [],
        params: { plus: number },
        mode: "immediate",
        every: 1,
        finite: false,
        module: MODULE,
        export: "default",
      }, rule);
      this.waves.add(bound);
    }
    this.waves.helpers = this.workers;
  }

  /** Runs all rules. */
  run(value: number): void {
    const { store, waves } = this;
    for (const rule of waves.rules()) {
      store.view(store.table.rowOf(rule.number))[0] = value;
      // As if its input had changed.
      rule.flags |= 2;
      waves.request(rule);
    }
    waves.begin(++this.#tick);
    try {
      waves.propagate();
    } catch (error) {
      waves.rollBack();
      throw error;
    }
    waves.commit();
  }

  outputs(): number[][] {
    return Array.from({ length: RULES }, (_, i) => {
      const bytes = this.store.view(this.store.table.rowOf(1 + RULES + i));
      return [...new Int32Array(bytes.slice().buffer, 0, 3)];
    });
  }
}

function expected(value: number, runs: number): number[][] {
  return Array.from({ length: RULES }, (_, i) => [value, 1 + i, runs]);
}

Deno.test("RuleWorkers runs all rules of a level, each once, on its threads", async () => {
  const copies = new Copies({});
  await copies.bind();
  try {
    for (let run = 1; run <= 20; run++) {
      copies.run(run);
      assert.deepEqual(copies.outputs(), expected(run, run));
      copies.store.checkInvariants();
    }
    const runs = copies.workers.runs.reduce((sum, own) => sum + own, 0);
    assert.equal(runs, 20 * RULES);
  } finally {
    await copies.workers.close();
  }
});

Deno.test("RuleWorkers goes on where its threads are killed, also in the middle of a level", async () => {
  const copies = new Copies({ timeoutMs: 1000 });
  await copies.bind();
  try {
    let done = 0;
    for (let round = 1; round <= 2; round++) {
      const killed = [copies.workers.kill(0), copies.workers.kill(1)];
      // Even rounds: nobody has heard of it yet.
      if (round % 2 === 1) await Promise.all(killed);
      try {
        copies.run(round);
        done++;
      } catch (error) {
        assert(isMmsbError(error, "worker"), String(error));
        assert(done === 0 || copies.outputs()[0][0] < round, "nothing is half done");
      }
      await Promise.all(killed);
      await copies.workers.waitBeforeTick();
    }
    copies.run(9);
    assert.deepEqual(copies.outputs(), expected(9, done + 1));
  } finally {
    await copies.workers.close();
  }
});

Deno.test("RuleWorkers learns what runs take, and leaves cheap levels to the thread of the bus", async () => {
  const copies = new Copies({ isStrict: false });
  await copies.bind();
  try {
    const shared = () => copies.workers.runs.reduce((sum, own) => sum + own, 0);
    copies.run(1);
    assert.equal(shared(), RULES, "the first level is shared, to learn from it");
    let run = 1, before = 0;
    // Not at once, as code is slow before it is compiled.
    while (run < 3000 && shared() !== before) {
      before = shared();
      copies.run(++run);
    }
    assert.equal(shared(), before, "levels that are cheap are not shared");
    assert.deepEqual(copies.outputs(), expected(run, run));
  } finally {
    await copies.workers.close();
  }
});

Deno.test("RuleWorkers.load() refuses what a worker does not find", async () => {
  const copies = new Copies({});
  try {
    await assert.rejects(copies.workers.load(MODULE, "nothing", 1), /Cannot find rule "nothing"/);
    await assert.rejects(copies.workers.load(MODULE, "default", 99), /has version 99/);
  } finally {
    await copies.workers.close();
  }
});
