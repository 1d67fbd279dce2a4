/**
 * What validator 4 puts to the test: rules and semirings that are pure, and as many faulty ones, each of which must be
 * found.
 *
 * Whatever a faulty rule remembers stands outside of it and lives as long as the list, as in a module.
 */

import { boolean, type Semiring, tropical } from "../physical/mod.ts";
import { defineRule, type Rule, type RuleContext } from "../propagation/mod.ts";
import * as rules from "./_purity_rules.ts";
import type { Held, PuritySubject } from "./_purity_work.ts";

/** Rules that are pure. */
export const PURE: readonly PuritySubject[] = [
  ofModule("hashOfPages", "pages"),
  ofModule("sumOfPages", "pages"),
  ofModule("maximumOfPages", "pages"),
  ofModule("bitsOfPages", "pages", true),
  ofModule("partOfPage", "pages"),
  ofModule("sumByKey", "table"),
  ofModule("countEven", "table"),
];

function ofModule(
  name: keyof typeof rules,
  reads: "pages" | "table",
  hasState = false,
): PuritySubject {
  const rule = rules[name] as Rule;
  return { name, export: name, reads, hasState, rule: () => rule };
}

function planted(
  name: string,
  compute: (ctx: RuleContext, held: Held) => void,
  more: Partial<PuritySubject> & Partial<Rule> = {},
): PuritySubject {
  const { reads = "pages", fromDeltas } = more;
  const rule = (held: Held) =>
    defineRule({
      compute: (ctx) => compute(ctx, held),
      ...(fromDeltas === undefined ? {} : { fromDeltas }),
    });
  return { name, reads, rule };
}

/** First integer of the first input. */
function first(ctx: RuleContext): number {
  return ctx.input(0).getInt32(0);
}

/** Rules with a fault. */
export function plantedRules(): PuritySubject[] {
  let runs = 0, last = 0, globals = 0;
  return [
    planted("counts its runs", (ctx) => ctx.output(0).setInt32(0, first(ctx) + runs++)),
    planted("remembers the last input outside of its state", (ctx) => {
      ctx.output(0).setInt32(0, first(ctx) - last);
      last = first(ctx);
    }),
    planted("draws a number", (ctx) => ctx.output(0).setFloat64(0, Math.random())),
    planted("draws a number and does not use it", (ctx) => {
      crypto.getRandomValues(new Uint8Array(1));
      ctx.output(0).setInt32(0, first(ctx));
    }),
    planted("asks for the time", (ctx) => ctx.output(0).setFloat64(0, Date.now())),
    planted("makes a date", (ctx) => ctx.output(0).setFloat64(0, new Date().getTime())),
    planted("times itself", (ctx) => ctx.output(0).setFloat64(0, performance.now())),
    planted("writes its table", (ctx) => {
      const [values] = ctx.input(0).table.chunks("value");
      (values as Int32Array)[0]++;
      ctx.output(0).setUint32(0, ctx.input(0).table.length);
    }, { reads: "table" }),
    planted("writes its input through a view", (ctx, { input }) => {
      input[1] ^= 1;
      ctx.output(0).setInt32(0, first(ctx));
    }),
    planted("writes another page", (ctx, { stranger }) => {
      stranger[3]++;
      ctx.output(0).setInt32(0, first(ctx));
    }),
    planted("reads another page", (ctx, { stranger }) => {
      ctx.output(0).setInt32(0, first(ctx) ^ stranger[0]);
    }),
    planted("sets a global", (ctx) => {
      Reflect.set(globalThis, `planted ${globals++}`, 1);
      ctx.output(0).setInt32(0, first(ctx));
    }),
    planted("forgets the old value", (ctx) => {
      ctx.output(0).setInt32(0, first(ctx));
    }, {
      fromDeltas: (ctx) => ctx.output(0).setInt32(0, ctx.output(0).getInt32(0) + first(ctx)),
    }),
    planted("does nothing with changes", (ctx) => ctx.output(0).setInt32(0, first(ctx)), {
      fromDeltas: () => {},
    }),
    planted("never does with changes", (ctx) => ctx.output(0).setInt32(0, first(ctx)), {
      fromDeltas: () => "full",
    }),
    planted("writes past its output", (ctx) => ctx.output(0).setInt32(64, first(ctx))),
    ofModule("threadDependent", "pages"),
  ];
}

/** Takes planted globals away. */
export function cleanGlobals(): void {
  for (const name of Object.keys(globalThis)) {
    if (name.startsWith("planted ")) Reflect.deleteProperty(globalThis, name);
  }
}

const maxPlus: Semiring = {
  name: "max-plus",
  zero: -Infinity,
  one: 0,
  plus: (a, b) => Math.max(a, b),
  times: (a, b) => a + b,
};

/** Semirings that are pure; all of them are known in other threads too. */
export const SEMIRINGS: readonly Semiring[] = [tropical, boolean, maxPlus];

/** Semirings with a fault, over a column that one of them writes. */
export function plantedSemirings(column: Float64Array): Semiring[] {
  let calls = 0;
  return [
    { ...maxPlus, name: "counts its calls", plus: (a, b) => Math.max(a, b) + calls++ },
    { ...tropical, name: "draws a number", plus: (a, b) => Math.min(a, b) + Math.random() },
    { ...maxPlus, name: "depends on the order", plus: (a, b) => a === -Infinity ? b : a - b },
    {
      ...tropical,
      name: "writes its column",
      plus: (a, b) => {
        column[0] = column[0] === 1 ? 2 : 1;
        return Math.min(a, b);
      },
    },
    { ...tropical, name: "has no neutral element", zero: 5 },
  ];
}
