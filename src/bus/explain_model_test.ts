/** Explanations by index beside those found by reading the whole log, on random graphs. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { isMmsbError } from "../base/mod.ts";
import { MemoryStorage, readMeta } from "../log/mod.ts";
import { ScannedLog } from "../model/provenance_scan.ts";
import { defineRule, type Rule } from "../propagation/mod.ts";
import {
  type ExplainedPage,
  type Explanation,
  type Page,
  type RuleHandle,
  StateBus,
} from "./mod.ts";

const OPTIONS = { memoryLimitBytes: 2 ** 22, segmentBytes: 4096, segmentBytesMax: 4096 };

/** Sums its inputs; a version adds its number, so that another version writes other bytes. */
function sum(version: number): Rule {
  return defineRule({
    version,
    compute(ctx) {
      const { count, wide } = ctx.params as { count: number; wide: boolean };
      let total = version;
      for (let at = 0; at < count; at++) total += ctx.input(at).getUint32(0);
      // Some rules write two spans, some only what seldom changes.
      ctx.output(0).setUint32(0, wide ? total : total >>> 6);
      if (wide) ctx.output(0).setUint32(8, total ^ 5);
    },
  });
}

type Deed = readonly [what: string, a: number, b: number, c: number];

const deeds = fc.array(
  fc.array(
    fc.tuple(
      fc.constantFrom(
        ...["create", "create", "write", "write", "write", "write", "add", "mask"],
        ...["derive", "derive", "derive", "bind", "rebind", "unbind", "delete", "resize"],
      ),
      fc.nat(15),
      fc.nat(15),
      fc.nat(255),
    ),
    { minLength: 1, maxLength: 6 },
  ),
  { minLength: 4, maxLength: 40 },
);

/** Does what was drawn, as far as it can be done. */
class Life {
  readonly bus: StateBus;
  readonly pages: Page[] = [];
  readonly bound = new Map<string, { rule: RuleHandle; inputs: Page[]; output: Page }>();
  #names = 0;
  #version = 1;

  constructor(bus: StateBus) {
    this.bus = bus;
  }

  do([what, a, b, c]: Deed): void {
    const { bus, pages } = this;
    if (what === "create" || pages.length < 2) {
      pages.push(
        bus.createPage({ size: 16 + c % 3 * 8, name: c % 2 ? `page ${++this.#names}` : "" }),
      );
      return;
    }
    const page = pages[a % pages.length], other = pages[b % pages.length];
    const options = { source: `feed-${c % 3}`, intent: c % 5 ? "" : "open" };
    if (what === "derive") {
      const output = bus.createPage({ size: 16 });
      // The newest page is often derived itself.
      this.#bind(c % 2 ? [pages.at(-1)!, page] : [page], output, c >> 1);
      pages.push(output);
    } else if (what === "write") page.write(b % 8, Uint8Array.of(a, c, b), options);
    else if (what === "add") page.combine("u32", "add", 4 * (b % 3), c, options);
    else if (what === "mask") {
      page.writeMasked(b % 6, 3, Uint8Array.of(0b101), Uint8Array.of(c, a), options);
    } else if (what === "resize") page.resize(12 + c % 30);
    else if (what === "delete") {
      if (c % 8 === 0) page.delete({ cascade: true });
    } else if (what === "unbind") this.#unbind(c);
    else if (what === "rebind") {
      const [name, old] = [...this.bound][c % Math.max(1, this.bound.size)] ?? [];
      if (old === undefined) return;
      this.#drop(name!);
      this.#bind(old.inputs, old.output, c);
    } else this.#bind([page, ...(c % 3 ? [pages[(a + b + 1) % pages.length]] : [])], other, c);
  }

  #bind(inputs: Page[], output: Page, c: number): void {
    const version = ++this.#version, name = `rule ${version}`;
    const rule = this.bus.rule(sum(version), {
      name,
      inputs,
      outputs: [output],
      params: { count: inputs.length, wide: c % 2 === 0 },
    });
    this.bound.set(name, { rule, inputs, output });
  }

  #unbind(c: number): void {
    const name = [...this.bound.keys()][c % Math.max(1, this.bound.size)];
    if (name !== undefined) this.#drop(name);
  }

  #drop(name: string): void {
    const { rule } = this.bound.get(name)!;
    this.bound.delete(name);
    rule.unbind();
  }
}

/** A refusal of what cannot be done; anything else is a finding. */
function ignore(error: unknown): void {
  if (!isMmsbError(error)) throw error;
  const { code } = error;
  assert(["usage", "cycle", "invalid-handle", "out-of-bounds"].includes(code), error.message);
}

async function live(
  steps: readonly (readonly Deed[])[],
  storage: MemoryStorage,
): Promise<StateBus> {
  const bus = await StateBus.open({ ...OPTIONS, storage }), life = new Life(bus);
  for (const step of steps) {
    for (const deed of step) {
      try {
        life.do(deed);
      } catch (error) {
        ignore(error);
      }
    }
    await bus.tick().catch(ignore);
  }
  return bus;
}

const SHOWN = 3;

/** Pages by "id at tick", in a form that can be compared. */
function plainOf(explanation: Explanation): Record<string, unknown> {
  const key = ({ id, tick }: ExplainedPage) => `${id} at ${tick}`;
  return Object.fromEntries([...explanation].map((page) => {
    const { name, epoch, depth, rule, graphVersion, deltas, more, parents } = page;
    return [key(page), {
      name,
      epoch,
      depth,
      rule: rule && [rule.number, rule.name, rule.version],
      graphVersion,
      more,
      deltas: deltas.map(({ tick, epoch, kind, source, intent, offset, length, before, after }) => [
        ...[tick, epoch, kind, source, intent, offset, length],
        ...[before?.join(), after?.join()],
      ]),
      parents: parents.map(key),
    }];
  }));
}

function scannedPlain(
  log: ScannedLog,
  page: number,
  tick: number,
  depth: number,
): Record<string, unknown> {
  const plain: Record<string, unknown> = {};
  for (const [key, node] of log.explain(page, tick, depth)) {
    const { name, epoch, depth, rule, graphVersion, deltas, parents } = node;
    plain[key] = {
      name,
      epoch,
      depth,
      rule: rule && [rule.number, rule.name, rule.version],
      graphVersion,
      more: deltas.length > SHOWN,
      deltas: deltas.slice(0, SHOWN).map((delta) => [
        ...[delta.tick, delta.epoch, delta.kind, delta.source, delta.intent],
        ...[delta.offset, delta.length, delta.before.join(), delta.after.join()],
      ]),
      parents,
    };
  }
  return plain;
}

Deno.test("StateBus.explain() finds what reading the whole log finds, now and as of any tick", async () => {
  let derived = 0, deep = 0, versions = 0, dead = 0;
  await fc.assert(
    fc.asyncProperty(deeds, fc.nat(1000), async (steps, seed) => {
      const storage = new MemoryStorage();
      await using bus = await live(steps, storage);
      const log = new ScannedLog(storage, readMeta(storage));
      const last = bus.tickNumber;
      for (const [id, { born, died }] of log.pages) {
        const to = Math.min(last, died - 1);
        if (to < born) continue;
        for (const tick of new Set([to, born + seed % (to - born + 1)])) {
          const depth = seed % 7 === 0 ? 1 + seed % 3 : 31;
          const explanation = await bus.explain(id, { tick, depth });
          assert.deepEqual(plainOf(explanation), scannedPlain(log, id, tick, depth));
          const cut = [...explanation].some(({ end }) => end === "depth");
          assert.equal(explanation.truncated, cut);
          if (died === Infinity && tick === last && depth === 31) {
            const now = await bus.explain(id);
            assert.deepEqual(plainOf(now), plainOf(explanation));
          }
          if (explanation.root.kind === "derived") derived++;
          if (explanation.depth > 2) deep++;
          for (const { id, rule, tick } of explanation) {
            if ((rule?.version ?? 0) > 3) versions++;
            if (log.pages.get(id)!.died <= last && tick! > 0) dead++;
          }
        }
      }
    }),
    { numRuns: 60 },
  );
  assert(
    derived > 50 && deep > 0 && versions > 10 && dead > 0,
    `${[derived, deep, versions, dead]}`,
  );
});

Deno.test("StateBus.explain() gives the same from what it has kept as a bus that has kept nothing", async () => {
  await fc.assert(
    fc.asyncProperty(deeds, async (steps) => {
      const storage = new MemoryStorage();
      await using bus = await StateBus.open({ ...OPTIONS, storage });
      const life = new Life(bus);
      for (const step of steps) {
        for (const deed of step) {
          try {
            life.do(deed);
          } catch (error) {
            ignore(error);
          }
        }
        await bus.tick().catch(ignore);
        await using fresh = await StateBus.open({ ...OPTIONS, storage, readOnly: true });
        for (const { id, state } of bus.pages()) {
          if (state !== "active") continue;
          const kept = await bus.explain(id), made = await fresh.explain(id);
          assert.equal(kept.tick, bus.tickNumber);
          assert.deepEqual(plainOf(kept), plainOf(made));
        }
      }
    }),
    { numRuns: 15 },
  );
});
