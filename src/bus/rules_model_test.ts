/** Random programs of pages, rules, writes, failures and openings against recomputing everything. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { MemoryStorage } from "../log/mod.ts";
import { defineRule, mirror, type Rule } from "../propagation/mod.ts";
import { busAccess } from "./_inside.ts";
import { type Page, StateBus } from "./mod.ts";

const WORDS = 4;
const SOURCES = 4;

/** Rules under test, each with what it makes of its inputs in the model. */
interface Kind {
  readonly rule: Rule;
  readonly model: (inputs: readonly Int32Array[], before: Int32Array) => Int32Array;
}

let failing = false;

function sums(inputs: readonly Int32Array[]): Int32Array {
  return Int32Array.from(
    { length: WORDS },
    (_, i) => inputs.reduce((sum, words) => sum + words[i] | 0, 0),
  );
}

const KINDS: Readonly<Record<string, Kind>> = {
  sum: {
    rule: defineRule({
      compute(ctx) {
        const count = ctx.params as number;
        if (failing) {
          ctx.output(0).setInt32(0, 77);
          throw new Error("told to fail");
        }
        for (let i = 0; i < WORDS; i++) {
          let sum = 0;
          for (let k = 0; k < count; k++) sum = sum + ctx.input(k).getInt32(4 * i) | 0;
          ctx.output(0).setInt32(4 * i, sum);
        }
      },
    }),
    model: sums,
  },
  incremental: {
    rule: defineRule({
      compute(ctx) {
        const count = ctx.params as number;
        // Downwards, so that records are tidied.
        for (let i = WORDS - 1; i >= 0; i--) {
          let sum = 0;
          for (let k = 0; k < count; k++) sum = sum + ctx.input(k).getInt32(4 * i) | 0;
          ctx.output(0).setInt32(4 * i, sum ^ 1);
          ctx.output(0).setInt32(4 * i, sum);
        }
      },
      fromDeltas(ctx, changes) {
        if (failing) throw new Error("told to fail");
        const out = ctx.output(0);
        while (changes.next()) {
          const { input, offset, length } = changes;
          assert.ok(changes.has(input) && length > 0 && offset % 4 === 0);
          for (let at = offset; at < offset + length; at += 4) {
            const old = changes.before(input).getInt32(at), now = ctx.input(input).getInt32(at);
            assert.notEqual(old, now);
            out.setInt32(at, out.getInt32(at) + now - old | 0);
          }
        }
      },
    }),
    model: sums,
  },
  low: {
    rule: defineRule({
      compute: (ctx) => ctx.output(0).setInt32(4, ctx.input(0).getInt32(0) & 1),
    }),
    model: ([first]) => Int32Array.of(0, first[0] & 1, 0, 0),
  },
  mirror: {
    rule: mirror({ from: 4, to: 0, length: 8 }),
    model: ([first]) => Int32Array.of(first[1], first[2], 0, 0),
  },
};

interface Derived {
  readonly name: string;
  readonly kind: string;
  readonly inputs: readonly number[];
  readonly page: number;
}

type Step =
  | { readonly do: "write"; readonly source: number; readonly word: number; readonly value: number }
  | {
    readonly do: "bind";
    readonly kind: string;
    readonly inputs: readonly number[];
    readonly mode: string;
  }
  | { readonly do: "unbind" | "fresh"; readonly which: number }
  | { readonly do: "tick" | "fail" | "reopen" | "detach" };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant("write" as const),
      source: fc.nat(SOURCES - 1),
      word: fc.nat(WORDS - 1),
      value: fc.nat(3),
    }),
  },
  { weight: 4, arbitrary: fc.constant({ do: "tick" as const }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("bind" as const),
      kind: fc.constantFrom(...Object.keys(KINDS)),
      inputs: fc.array(fc.nat(20), { minLength: 1, maxLength: 3 }),
      mode: fc.constantFrom("immediate", "immediate", "deferred", "batch", "control"),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constantFrom("unbind" as const, "fresh" as const),
      which: fc.nat(20),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      { do: "fail" as const },
      { do: "reopen" as const },
      { do: "detach" as const },
    ),
  },
);

/** A bus, and what it must hold. */
class Twin {
  bus!: StateBus;
  readonly storage = new MemoryStorage();
  readonly sources: Page[] = [];
  readonly words: Int32Array[] = [];
  derived: Derived[] = [];
  modes = new Map<string, string>();
  handles = new Map<string, { unbind(): void }>();
  #names = 0;
  #isDetached = false;

  async open(): Promise<void> {
    this.bus = await StateBus.open({ storage: this.storage, durability: "buffered" });
    if (this.sources.length > 0) return;
    for (let i = 0; i < SOURCES; i++) {
      this.sources.push(this.bus.createPage({ size: 4 * WORDS }));
      this.words.push(new Int32Array(WORDS));
    }
    await this.bus.tick();
  }

  /** All pages that a rule can read, by number. */
  readable(): number[] {
    return [...this.sources.map(({ id }) => id), ...this.derived.map(({ page }) => page)];
  }

  rebind(): void {
    for (const one of this.derived) this.bind(one);
    this.#isDetached = false;
  }

  bind(one: Derived): void {
    const mode = this.modes.get(one.name)!;
    const handle = this.bus.rule(KINDS[one.kind].rule, {
      name: one.name,
      inputs: mode === "control"
        ? one.inputs.map((region) => ({ region, edge: "control" as const }))
        : one.inputs,
      outputs: [one.page],
      params: one.inputs.length,
      ...(mode === "control" ? {} : { mode: mode as "deferred" }),
      ...(mode === "batch" ? { every: 3 } : {}),
    });
    this.handles.set(one.name, handle);
  }

  async run(step: Step): Promise<void> {
    switch (step.do) {
      case "write":
        this.sources[step.source] = this.bus.page(this.sources[step.source].id);
        this.sources[step.source].write(4 * step.word, bytesOf(step.value + 5));
        this.sources[step.source].write(4 * step.word, bytesOf(step.value));
        this.words[step.source][step.word] = step.value;
        return;
      case "bind": {
        if (this.#isDetached || this.derived.length > 12) return;
        const readable = this.readable();
        const inputs = step.inputs.map((i) => readable[i % readable.length]);
        const page = this.bus.createPage({ size: 4 * WORDS }).id;
        const one = { name: `rule ${this.#names++}`, kind: step.kind, inputs, page };
        this.modes.set(one.name, step.mode);
        this.bind(one);
        this.derived.push(one);
        await this.tick();
        return;
      }
      case "unbind": {
        const one = this.derived[step.which % Math.max(1, this.derived.length)];
        if (one === undefined || this.#isDetached) return;
        if (this.derived.some(({ inputs }) => inputs.includes(one.page))) return;
        this.handles.get(one.name)!.unbind();
        this.derived = this.derived.filter((other) => other !== one);
        await this.tick();
        return;
      }
      case "fresh": {
        const one = this.derived[step.which % Math.max(1, this.derived.length)];
        if (one === undefined || this.#isDetached) return;
        await this.bus.page(one.page).fresh();
        assert.equal(this.bus.page(one.page).stale, false);
        return await this.tick();
      }
      case "tick":
        return await this.tick();
      case "fail":
        return await this.fail();
      default:
        await this.tick();
        await this.bus.close();
        await this.open();
        if (step.do === "detach") {
          this.#isDetached = this.derived.length > 0;
        } else {
          this.rebind();
          await this.tick();
        }
    }
  }

  async tick(): Promise<void> {
    await this.bus.tick();
    this.check();
  }

  /** A tick in which rules fail: either none ran, or everything is as before. */
  async fail(): Promise<void> {
    await this.tick();
    const before = await this.state(), fired = this.#fired();
    failing = true;
    // Twice, so that the older of two records must win.
    this.bus.page(this.sources[0].id).write(0, bytesOf(this.words[0][0] ^ 9));
    this.bus.page(this.sources[0].id).write(0, bytesOf(this.words[0][0] ^ 5));
    try {
      await this.bus.tick();
      this.words[0][0] ^= 5;
    } catch (error) {
      assert.equal((error as { code: string }).code, "rule");
      assert.deepEqual(await this.state(), before);
      assert.deepEqual(this.#fired(), fired);
    } finally {
      failing = false;
    }
    this.check();
    await this.tick();
  }

  #fired(): number[] {
    return [...this.handles.values()].map((handle) =>
      (handle as unknown as { fired: number }).fired
    );
  }

  async state(): Promise<unknown> {
    const pages = [...this.bus.pages()].sort((a, b) => a.id - b.id);
    return {
      tick: this.bus.tickNumber,
      pages: pages.map((page) => [page.id, page.epoch, page.stale, [...page.read()]]),
    };
  }

  /** Compares all pages: sources with what was written, derived ones that are fresh with their rule. */
  check(): void {
    const { store } = busAccess().inside(this.bus);
    store.checkInvariants();
    const read = (id: number) => new Int32Array(this.bus.page(id).read().buffer);
    this.sources.forEach(({ id }, i) => assert.deepEqual(read(id), this.words[i]));
    for (const { name, kind, inputs, page } of this.derived) {
      const mode = this.modes.get(name)!;
      if (mode === "immediate" && !this.#isDetached) {
        assert.equal(this.bus.page(page).stale, false, `${name} is fresh`);
      }
      if (this.bus.page(page).stale) continue;
      const before = new Int32Array(WORDS);
      assert.deepEqual(
        read(page),
        KINDS[kind].model(inputs.map(read), before),
        `${name}, ${kind}, ${mode}`,
      );
    }
  }
}

function bytesOf(value: number): Uint8Array {
  return new Uint8Array(Int32Array.of(value).buffer);
}

Deno.test("Rules keep every fresh page equal to what its rule makes of its inputs, whatever happens", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      const twin = new Twin();
      await twin.open();
      try {
        for (const one of steps) await twin.run(one);
        await twin.tick();
        const verified = await twin.bus.verify();
        assert.equal(verified.ok, true);
        const state = await twin.state();
        await twin.bus.close();
        await twin.open();
        // Opening runs no rule: what was logged is what stood there.
        assert.deepEqual(await twin.state(), state);
      } finally {
        await twin.bus.close();
      }
    }),
    { numRuns: 150 },
  );
});
