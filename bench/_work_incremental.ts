/** Count and sum by key of the rows that pass a filter, of a table that changes: a rule that takes deltas, and db-ivm. */

import { D2, filter, groupBy, groupByOperators, MultiSet, output } from "@tanstack/db-ivm";
import { defineRule, type Page, type Rule, StateBus, type Table, table } from "../mod.ts";
import type { Comparison, Place, Side, Stopwatch } from "./_comparison.ts";
import { numbers } from "./_harness.ts";
import { SEED } from "./_work.ts";

/** Rows of the table. */
export const ROWS = 200_000;
/** Rows that a tick changes. */
export const CHANGES = 1000;
const KEYS = 1024;
const LEAST = 100;

interface Item {
  readonly id: number;
  readonly key: number;
  readonly value: number;
}

interface Changes {
  readonly rows: Uint32Array;
  readonly values: Int32Array;
}

/** Values that batches of changes give to the first rows. */
export function* changesOf(rows = ROWS): Generator<Changes, never> {
  const next = numbers(SEED);
  for (;;) {
    yield {
      rows: Uint32Array.from({ length: CHANGES }, () => next() % rows),
      values: Int32Array.from({ length: CHANGES }, () => next() % 1000),
    };
  }
}

function firstValues(rows: number): { key: Uint16Array; value: Int32Array } {
  const next = numbers(SEED + 1);
  return {
    key: Uint16Array.from({ length: rows }, () => next() % KEYS),
    value: Int32Array.from({ length: rows }, () => next() % 1000),
  };
}

/** Filter, count and sum by key, of rows that change: what `fromDeltas` is for. */
export const groupRule: Rule = defineRule({
  compute(ctx) {
    const { table } = ctx.input(0), out = ctx.output(0);
    const counts = new Float64Array(KEYS), sums = new Float64Array(KEYS);
    const keys = table.chunks("key") as Uint16Array[];
    const values = table.chunks("value") as Int32Array[];
    for (let c = 0; c < keys.length; c++) {
      for (let i = 0; i < keys[c].length; i++) {
        if (values[c][i] < LEAST) continue;
        counts[keys[c][i]]++;
        sums[keys[c][i]] += values[c][i];
      }
    }
    for (let key = 0; key < KEYS; key++) {
      out.setFloat64(16 * key, counts[key]);
      out.setFloat64(16 * key + 8, sums[key]);
    }
  },
  fromDeltas(ctx, changes) {
    const rows = changes.table(0), out = ctx.output(0);
    const keyBefore = rows.before("key") as Uint16Array, key = rows.after("key") as Uint16Array;
    const before = rows.before("value") as Int32Array, after = rows.after("value") as Int32Array;
    for (let i = 0; i < rows.count; i++) {
      if (rows.rows[i] < rows.lengthBefore && before[i] >= LEAST) {
        const at = 16 * keyBefore[i];
        out.setFloat64(at, out.getFloat64(at) - 1);
        out.setFloat64(at + 8, out.getFloat64(at + 8) - before[i]);
      }
      if (after[i] >= LEAST) {
        const at = 16 * key[i];
        out.setFloat64(at, out.getFloat64(at) + 1);
        out.setFloat64(at + 8, out.getFloat64(at + 8) + after[i]);
      }
    }
  },
});

const Items = table({ key: "u16", value: "i32" });

/** A bus with a group-by. */
export interface Groups {
  /** The bus. */
  readonly bus: StateBus;
  /** The rows. */
  readonly items: Table<typeof Items.definition>;
  /** Count and sum of each key. */
  readonly groups: Page;
}

/** The group-by over a table, on a bus in memory. */
export async function busGroups(rows = ROWS): Promise<Groups> {
  const bus = await StateBus.open({ memoryLimitBytes: 2 ** 30 });
  const items = bus.createTable(Items, { name: "items" });
  const groups = bus.createPage({ size: 16 * KEYS, name: "groups" });
  const piece = Math.min(rows, ROWS), { key, value } = firstValues(piece);
  for (let done = 0; done < rows; done += piece) {
    await bus.commit(() => items.append({ key, value }));
  }
  bus.rule(groupRule, { name: "groups", inputs: [items], outputs: [groups] });
  await bus.tick();
  return { bus, items, groups };
}

/** Name of our side. */
export const OURS = "rule with fromDeltas";
/** Name of the peer. */
export const PEER = "@tanstack/db-ivm";

async function onBus({ size }: Place): Promise<Side> {
  const { bus, items, groups } = await busGroups(size), changes = changesOf(size);
  return {
    async run(watch: Stopwatch) {
      const { rows, values } = changes.next().value;
      watch.start();
      for (let i = 0; i < CHANGES; i++) items.set(rows[i], { value: values[i] });
      await bus.tick();
      watch.end();
    },
    result: () => groups.read(),
    close: () => bus.close(),
  };
}

function onPeer({ size }: Place): Side {
  const { key, value } = firstValues(size), found = new Float64Array(2 * KEYS);
  const graph = new D2(), input = graph.newInput<Item>();
  input.pipe(
    filter((item: Item) => item.value >= LEAST),
    groupBy((item: Item) => ({ key: item.key }), {
      n: groupByOperators.count(),
      total: groupByOperators.sum((item: Item) => item.value),
    }),
    output((message) => {
      for (const [[, group], multiplicity] of message.getInner()) {
        const { key, n, total } = group as unknown as { key: number; n: number; total: number };
        if (multiplicity > 0) found.set([n, total], 2 * key);
        // A group that nobody is left in is only taken away; one that changed is given again behind it.
        else found.set([0, 0], 2 * key);
      }
    }),
  );
  graph.finalize();
  const state: Item[] = Array.from(
    { length: size },
    (_, id) => ({ id, key: key[id], value: value[id] }),
  );
  input.sendData(new MultiSet(state.map((item): [Item, number] => [item, 1])));
  graph.run();
  const changes = changesOf(size);
  return {
    run(watch: Stopwatch) {
      const { rows, values } = changes.next().value;
      watch.start();
      const pairs: [Item, number][] = [];
      for (let i = 0; i < CHANGES; i++) {
        const old = state[rows[i]], now = { ...old, value: values[i] };
        state[rows[i]] = now;
        pairs.push([old, -1], [now, 1]);
      }
      input.sendData(new MultiSet(pairs));
      graph.run();
      watch.end();
    },
    result: () => new Uint8Array(found.buffer),
  };
}

/** All groups computed anew from plain arrays, each time. */
function anew({ size }: Place): Side {
  const { key, value } = firstValues(size), found = new Float64Array(2 * KEYS);
  const changes = changesOf(size);
  return {
    run(watch: Stopwatch) {
      const { rows, values } = changes.next().value;
      watch.start();
      for (let i = 0; i < CHANGES; i++) value[rows[i]] = values[i];
      found.fill(0);
      for (let i = 0; i < size; i++) {
        if (value[i] < LEAST) continue;
        found[2 * key[i]]++;
        found[2 * key[i] + 1] += value[i];
      }
      watch.end();
    },
    result: () => new Uint8Array(found.buffer),
  };
}

/** 1,000 changed rows in 200,000. */
export const groupsBeside: Comparison = {
  unit: "one tick of 1,000 changed rows in 200,000: filter, count and sum by 1,024 keys",
  size: ROWS,
  smokeSize: 20_000,
  sides: { "all anew from plain arrays": anew, [PEER]: onPeer, [OURS]: onBus },
};
