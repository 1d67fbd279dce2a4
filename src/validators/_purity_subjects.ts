/**
 * What validator 4 puts to the test: rules and semirings that are pure, and as many faulty ones, each of which must be
 * found.
 *
 * Whatever a faulty rule remembers stands outside of it and lives as long as the list, as in a module.
 */

import process from "node:process";
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

/** A rule with a fault. */
export interface PlantedRule extends PuritySubject {
  /** The fault, by its id in the catalogue. */
  readonly id: string;
  /** What must be said of it. */
  readonly finds: RegExp;
}

/** A semiring with a fault. */
export interface PlantedRing {
  /** The fault, by its id in the catalogue. */
  readonly id: string;
  /** The semiring. */
  readonly ring: Semiring;
  /** What must be said of it. */
  readonly finds: RegExp;
}

function planted(
  id: string,
  name: string,
  finds: RegExp,
  compute: (ctx: RuleContext, held: Held) => void,
  more: Partial<PuritySubject> & Partial<Rule> = {},
): PlantedRule {
  const { reads = "pages", params, fromDeltas } = more;
  const rule = (held: Held) =>
    defineRule({
      compute: (ctx) => compute(ctx, held),
      ...(fromDeltas === undefined ? {} : { fromDeltas }),
    });
  return { id, finds, name, reads, params, rule };
}

/** First integer of the first input. */
function first(ctx: RuleContext): number {
  return ctx.input(0).getInt32(0);
}

/** Rules with a fault. */
export function plantedRules(): PlantedRule[] {
  let runs = 0, last = 0, globals = 0;
  return [
    planted(
      "rule-counts",
      "counts its runs",
      /again: \d+ of \d+ results differ/,
      (ctx) => ctx.output(0).setInt32(0, first(ctx) + runs++),
    ),
    planted(
      "rule-remembers",
      "remembers the last input outside of its state",
      /again: \d+ of \d+ results differ/,
      (ctx) => {
        ctx.output(0).setInt32(0, first(ctx) - last);
        last = first(ctx);
      },
    ),
    planted(
      "rule-draws",
      "draws a number",
      /Math\.random was asked/,
      (ctx) => ctx.output(0).setFloat64(0, Math.random()),
    ),
    planted(
      "rule-draws-unused",
      "draws a number and does not use it",
      /crypto\.getRandomValues was asked/,
      (ctx) => {
        crypto.getRandomValues(new Uint8Array(1));
        ctx.output(0).setInt32(0, first(ctx));
      },
    ),
    planted(
      "rule-clock",
      "asks for the time",
      /Date\.now was asked/,
      (ctx) => ctx.output(0).setFloat64(0, Date.now()),
    ),
    planted(
      "rule-date",
      "makes a date",
      /Date was asked/,
      (ctx) => ctx.output(0).setFloat64(0, new Date().getTime()),
    ),
    planted(
      "rule-timer",
      "times itself",
      /performance\.now was asked/,
      (ctx) => ctx.output(0).setFloat64(0, performance.now()),
    ),
    planted(
      "rule-writes-table",
      "writes its table",
      /page \d+ was written, which is no output/,
      (ctx) => {
        const [values] = ctx.input(0).table.chunks("value");
        (values as Int32Array)[0]++;
        ctx.output(0).setUint32(0, ctx.input(0).table.length);
      },
      { reads: "table" },
    ),
    planted(
      "rule-writes-input",
      "writes its input through a view",
      /page \d+ was written, which is no output/,
      (ctx, { input }) => {
        input[1] ^= 1;
        ctx.output(0).setInt32(0, first(ctx));
      },
    ),
    planted(
      "rule-writes-stranger",
      "writes another page",
      /page \d+ was written, which is no output/,
      (ctx, { stranger }) => {
        stranger[3]++;
        ctx.output(0).setInt32(0, first(ctx));
      },
    ),
    planted(
      "rule-reads-stranger",
      "reads another page",
      /after unrelated work: \d+ of \d+ results differ/,
      (ctx, { stranger }) => {
        ctx.output(0).setInt32(0, first(ctx) ^ stranger[0]);
      },
    ),
    planted("rule-global", "sets a global", /a global was set/, (ctx) => {
      Reflect.set(globalThis, `planted ${globals++}`, 1);
      ctx.output(0).setInt32(0, first(ctx));
    }),
    planted(
      "rule-forgets",
      "forgets the old value",
      /in full: \d+ of \d+ results differ/,
      (ctx) => {
        ctx.output(0).setInt32(0, first(ctx));
      },
      {
        fromDeltas: (ctx) => ctx.output(0).setInt32(0, ctx.output(0).getInt32(0) + first(ctx)),
      },
    ),
    planted(
      "rule-idle",
      "does nothing with changes",
      /in full: \d+ of \d+ results differ/,
      (ctx) => ctx.output(0).setInt32(0, first(ctx)),
      {
        fromDeltas: () => {},
      },
    ),
    planted(
      "rule-never",
      "never does with changes",
      /never did with changes/,
      (ctx) => ctx.output(0).setInt32(0, first(ctx)),
      {
        fromDeltas: () => "full",
      },
    ),
    planted(
      "rule-past-output",
      "writes past its output",
      /\b64\b/,
      (ctx) => ctx.output(0).setInt32(64, first(ctx)),
    ),
    {
      ...ofModule("threadDependent", "pages"),
      id: "rule-thread",
      finds: /in another thread: \d+ of \d+ results differ/,
    },
    planted("rule-draws-uuid", "draws an identifier", /crypto\.randomUUID was asked/, (ctx) => {
      crypto.randomUUID();
      ctx.output(0).setInt32(0, first(ctx));
    }),
    planted(
      "rule-process-time",
      "asks the process for its time",
      /process\.hrtime was asked/,
      (ctx) => {
        process.hrtime.bigint();
        ctx.output(0).setInt32(0, first(ctx));
      },
    ),
    planted("rule-global-changed", "changes a global", /the global planted was changed/, (ctx) => {
      Reflect.set(globalThis, PLANTED_GLOBAL, globals++);
      ctx.output(0).setInt32(0, first(ctx));
    }),
    planted(
      "rule-params",
      "changes its parameters",
      /read only|its parameters were changed/,
      (ctx) => {
        (ctx.params as { factor: number }).factor++;
        ctx.output(0).setInt32(0, first(ctx));
      },
      { params: { factor: 2 } },
    ),
  ];
}

/** A global that is there before a rule changes it. */
const PLANTED_GLOBAL = "planted";

/** Sets the global that one of the rules changes. */
export function plantGlobal(): void {
  Reflect.set(globalThis, PLANTED_GLOBAL, -1);
}

/** Takes planted globals away. */
export function cleanGlobals(): void {
  for (const name of Object.keys(globalThis)) {
    if (name.startsWith(PLANTED_GLOBAL)) Reflect.deleteProperty(globalThis, name);
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
export function plantedSemirings(column: Float64Array): PlantedRing[] {
  let calls = 0;
  const counting = (a: number, b: number) => Math.max(a, b) + calls++;
  const drawing = (a: number, b: number) => Math.min(a, b) + Math.random();
  const writing = (a: number, b: number) => {
    column[0] = column[0] === 1 ? 2 : 1;
    return Math.min(a, b);
  };
  const ordered = (a: number, b: number) => a === -Infinity ? b : a - b;
  return [
    {
      id: "ring-counts",
      ring: { ...maxPlus, name: "counts its calls", plus: counting },
      finds: /folded again it differs/,
    },
    {
      id: "ring-draws",
      ring: { ...tropical, name: "draws a number", plus: drawing },
      finds: /folded again it differs/,
    },
    {
      id: "ring-order",
      ring: { ...maxPlus, name: "depends on the order", plus: ordered },
      finds: /folded in parts it differs/,
    },
    {
      id: "ring-writes",
      ring: { ...tropical, name: "writes its column", plus: writing },
      finds: /its column was written/,
    },
    {
      id: "ring-neutral",
      ring: { ...tropical, name: "has no neutral element", zero: 5 },
      finds: /has no neutral element: .+/,
    },
  ];
}
