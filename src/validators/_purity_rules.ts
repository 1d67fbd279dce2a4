/**
 * The rules that validator 4 puts to the test, in a module of their own so that another thread can load them: over pages and over a
 * table, in full and from changes, with and without state.
 *
 * All sums are of integers, which are exact in any order: what comes from changes must be the very bytes of
 * what is computed in full.
 */

import { defineRule, mirror, type Rule, type RuleContext } from "../propagation/mod.ts";

/** Inputs of the rules over pages. */
export const INPUTS = 3;
/** Bytes of each. */
export const INPUT_BYTES = 64;
/** Groups of the rules over the table. */
export const GROUPS = 8;

function scramble(ctx: RuleContext): void {
  let hash = ctx.params as number;
  for (let input = 0; input < INPUTS; input++) {
    for (let at = 0; at < INPUT_BYTES; at += 4) {
      hash = Math.imul(hash ^ ctx.input(input).getInt32(at), 0x9e37_79b1);
    }
  }
  ctx.output(0).setInt32(0, hash);
}

/** A number that each bit of the inputs counts in; in full only. */
export const hashOfPages: Rule = defineRule({ compute: scramble });

/** Sums of the inputs, integer by integer; from changes. */
export const sumOfPages: Rule = defineRule({
  compute(ctx) {
    for (let at = 0; at < INPUT_BYTES; at += 4) {
      let sum = 0;
      for (let input = 0; input < INPUTS; input++) sum = sum + ctx.input(input).getInt32(at) | 0;
      ctx.output(0).setInt32(at, sum);
    }
  },
  fromDeltas(ctx, changes) {
    const output = ctx.output(0);
    while (changes.next()) {
      const { input, offset, length } = changes;
      const now = ctx.input(input), before = changes.before(input);
      for (let at = offset; at < offset + length; at += 4) {
        output.setInt32(at, output.getInt32(at) - before.getInt32(at) + now.getInt32(at) | 0);
      }
    }
  },
});

/** The largest integer of the inputs; in full where the old one went. */
export const maximumOfPages: Rule = defineRule({
  compute(ctx) {
    let maximum = -(2 ** 31);
    for (let input = 0; input < INPUTS; input++) {
      for (let at = 0; at < INPUT_BYTES; at += 4) {
        maximum = Math.max(maximum, ctx.input(input).getInt32(at));
      }
    }
    ctx.output(0).setInt32(0, maximum);
  },
  fromDeltas(ctx, changes) {
    let maximum = ctx.output(0).getInt32(0);
    while (changes.next()) {
      const { input, offset, length } = changes;
      for (let at = offset; at < offset + length; at += 4) {
        if (changes.before(input).getInt32(at) === ctx.output(0).getInt32(0)) return "full";
        maximum = Math.max(maximum, ctx.input(input).getInt32(at));
      }
    }
    ctx.output(0).setInt32(0, maximum);
    return undefined;
  },
});

/** Counts the bits that are set in each input, which it keeps in its state; from changes. */
export const bitsOfPages: Rule = defineRule({
  compute(ctx) {
    for (let input = 0; input < INPUTS; input++) countBits(ctx, input);
    sumBits(ctx);
  },
  fromDeltas(ctx, changes) {
    for (let input = 0; input < INPUTS; input++) if (changes.has(input)) countBits(ctx, input);
    sumBits(ctx);
  },
});

function countBits(ctx: RuleContext, input: number): void {
  let count = 0;
  for (let at = 0; at < INPUT_BYTES; at++) {
    for (let rest = ctx.input(input).getUint8(at); rest !== 0; rest &= rest - 1) count++;
  }
  ctx.state(0).setUint16(2 * input, count);
}

function sumBits(ctx: RuleContext): void {
  let sum = 0;
  for (let input = 0; input < INPUTS; input++) sum += ctx.state(0).getUint16(2 * input);
  ctx.output(0).setUint32(0, sum);
}

/** A part of an input; passed through. */
export const partOfPage: Rule = mirror({ from: 8, to: 16, length: 40 });

/** Sums of the table's values by key; from changed rows. */
export const sumByKey: Rule = defineRule({
  compute(ctx) {
    const { table } = ctx.input(0), sums = new Int32Array(GROUPS);
    const keys = table.chunks("key"), values = table.chunks("value");
    // Columns of other widths are cut in other places.
    const flat = values.flatMap((chunk) => Array.from(chunk as Int32Array));
    let row = 0;
    for (const chunk of keys) {
      for (const key of chunk as Uint8Array) sums[key % GROUPS] += flat[row++];
    }
    sums.forEach((sum, group) => ctx.output(0).setInt32(4 * group, sum));
  },
  fromDeltas(ctx, changes) {
    const rows = changes.table(0), output = ctx.output(0);
    const oldKeys = rows.before("key"), oldValues = rows.before("value");
    const keys = rows.after("key"), values = rows.after("value");
    for (let i = 0; i < rows.count; i++) {
      const old = 4 * (Number(oldKeys[i]) % GROUPS), now = 4 * (Number(keys[i]) % GROUPS);
      if (rows.rows[i] < rows.lengthBefore) {
        output.setInt32(old, output.getInt32(old) - Number(oldValues[i]) | 0);
      }
      output.setInt32(now, output.getInt32(now) + Number(values[i]) | 0);
    }
  },
});

/** How many rows have an even value; from changed rows. */
export const countEven: Rule = defineRule({
  compute(ctx) {
    let count = 0;
    for (const chunk of ctx.input(0).table.chunks("value")) {
      for (const value of chunk as Int32Array) count += 1 - (value & 1);
    }
    ctx.output(0).setUint32(0, count);
  },
  fromDeltas(ctx, changes) {
    const rows = changes.table(0), before = rows.before("value"), after = rows.after("value");
    let count = ctx.output(0).getUint32(0);
    for (let i = 0; i < rows.count; i++) {
      if (rows.rows[i] < rows.lengthBefore) count -= 1 - (Number(before[i]) & 1);
      count += 1 - (Number(after[i]) & 1);
    }
    ctx.output(0).setUint32(0, count);
  },
});

/** Planted: what it gives depends on the thread. */
export const threadDependent: Rule = defineRule({
  compute(ctx) {
    const isWorker = "WorkerGlobalScope" in globalThis;
    ctx.output(0).setInt32(0, ctx.input(0).getInt32(0) ^ (isWorker ? 1 : 0));
  },
});
