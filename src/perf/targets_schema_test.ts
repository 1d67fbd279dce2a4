/**
 * Holds the targets' JSON Schema and their loader together: a schema that lags behind tells an editor
 * lies. A public validator judges by the schema, on the built-in file with a field or two of it spoilt.
 */

import { Ajv2020 } from "ajv/dist/2020.js";
import assert from "node:assert/strict";
import fc from "fast-check";
import builtIn from "../../benchmarks_targets.json" with { type: "json" };
import schema from "../../benchmarks_targets.schema.json" with { type: "json" };
import { parseTargets } from "./targets.ts";

const isValid = new Ajv2020({ strict: true }).compile(schema);

/** What a schema cannot state, by the words of the refusal. */
const BEYOND_SCHEMA = /give each benchmark a higher id|give each metric another name|as strict as/;

/** Values that are right somewhere, and wrong in most places. */
const VALUES: readonly unknown[] = [
  ...[null, true, "", " ", "\uFEFF", "1", "x", "ms", "%", "<", "<=", "==", ">=", ">", "≥"],
  ...[0, -0, 1, -1, 1.5, 2, 1e-9, 1e300, 2 ** 53, 2 ** 53 - 1],
  ...[[], [1], {}, { value: 0 }, { comparison: "==", value: 0 }],
];

/** One change: which of all places, what to do there, and with what. */
const change = fc.record({
  place: fc.nat(),
  deed: fc.constantFrom("replace", "replace", "remove", "add", "repeat"),
  key: fc.constantFrom("$schema", "quickTarget", "taget", "id", "__proto__", "0"),
  value: fc.constantFrom(...VALUES),
});

type Change = typeof change extends fc.Arbitrary<infer T> ? T : never;

interface Place {
  readonly holder: Record<string, unknown> | unknown[];
  readonly key: string;
}

/** Every field and every entry, outermost first. */
function placesOf(value: unknown): Place[] {
  if (typeof value !== "object" || value === null) return [];
  return Object.keys(value).flatMap((key) => {
    const holder = value as Record<string, unknown>;
    return [{ holder, key }, ...placesOf(holder[key])];
  });
}

function spoil(value: unknown, changes: readonly Change[]): void {
  for (const { place, deed, key, value: given } of changes) {
    const places = placesOf(value);
    if (places.length === 0) return;
    const { holder, key: at } = places[place % places.length];
    if (Array.isArray(holder)) {
      if (deed === "remove") holder.splice(Number(at), 1);
      else if (deed === "repeat") holder.push(structuredClone(holder[Number(at)]));
      else holder[Number(at)] = structuredClone(given);
    } else if (deed === "remove") delete holder[at];
    else {
      Object.defineProperty(holder, deed === "add" ? key : at, {
        value: structuredClone(given),
        enumerable: true,
        configurable: true,
        writable: true,
      });
    }
  }
}

Deno.test("the schema takes the built-in targets", () => {
  assert(isValid(builtIn), JSON.stringify(isValid.errors));
});

Deno.test("the schema refuses what the loader refuses, but for three rules, and takes what it takes", () => {
  const seen = { taken: 0, refused: 0, beyond: 0 };
  const small = { ...builtIn, benchmarks: builtIn.benchmarks.slice(0, 2) };
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 2 }), (changes) => {
      const targets = structuredClone(small);
      spoil(targets, changes);
      const text = JSON.stringify(targets);
      const bySchema = isValid(JSON.parse(text));
      let refusal: string | undefined;
      try {
        parseTargets(text, "targets.json");
      } catch (error) {
        refusal = (error as Error).message;
      }
      if (refusal === undefined) seen.taken++;
      else if (bySchema) seen.beyond++;
      else seen.refused++;
      if (bySchema) assert(refusal === undefined || BEYOND_SCHEMA.test(refusal), refusal);
      else assert.notEqual(refusal, undefined, JSON.stringify(isValid.errors));
    }),
    { numRuns: 1000 },
  );
  assert(seen.taken > 20 && seen.refused > 250 && seen.beyond > 5, JSON.stringify(seen));
});
