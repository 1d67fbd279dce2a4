/**
 * Parameters of a rule: checked to be what JSON can say.
 *
 * They are stored with the binding as JSON, and a rule is given what comes back from there. JSON leaves out
 * functions and members that are undefined, turns NaN into null and a Date into text, all without a word: the
 * rule would run with other parameters than its author wrote. So what would not come back is refused, by its
 * path.
 *
 * Cost: a visit for each value.
 */

import { BINDING_BYTES_MAX, MmsbError } from "../base/mod.ts";

/** Arrays and objects inside one another. */
const DEPTH_MAX = 64;
/** In JSON a value takes two bytes with what parts it from the next. */
const VALUES_MAX = BINDING_BYTES_MAX / 2;
/** Characters of a key that a message repeats. */
const KEY_CHARACTERS_MAX = 60;

interface Visit {
  readonly value: unknown;
  /** The array or object that it is in. */
  readonly parent: Visit | undefined;
  readonly key: string | number;
  readonly depth: number;
}

/**
 * Refuses parameters that would not come back from JSON as they are; −0 counts as 0.
 *
 * @throws {MmsbError} `usage` with the path of the first such value, `limit` for too many values.
 */
export function checkParams(rule: string, params: unknown): void {
  const waiting: Visit[] = [{ value: params, parent: undefined, key: "params", depth: 0 }];
  let visits = 0;
  for (let visit = waiting.pop(); visit !== undefined; visit = waiting.pop()) {
    if (++visits > VALUES_MAX) {
      throw new MmsbError(
        "limit",
        `Cannot bind rule "${rule}" with more than ${VALUES_MAX} values in its params: keep them in a page that it reads`,
        { values: { rule, valuesMax: VALUES_MAX } },
      );
    }
    const fault = faultOf(visit);
    if (fault !== undefined) refuse(rule, visit, fault);
    const { value } = visit;
    if (typeof value !== "object" || value === null) continue;
    const depth = visit.depth + 1,
      entries = Array.isArray(value) ? [...value.entries()] : Object.entries(value);
    // Backwards, as the last one is looked at first.
    for (let i = entries.length - 1; i >= 0; i--) {
      waiting.push({ key: entries[i][0], value: entries[i][1], parent: visit, depth });
    }
  }
}

/** What of a value JSON cannot say, leaving aside what is in it. */
function faultOf({ value, parent, depth }: Visit): string | undefined {
  switch (typeof value) {
    case "number":
      return Number.isFinite(value) ? undefined : String(value);
    case "undefined":
      return "undefined";
    case "function":
    case "symbol":
    case "bigint":
      return `a ${typeof value}`;
    case "object":
      break;
    default:
      return undefined;
  }
  if (value === null) return undefined;
  for (let above = parent; above !== undefined; above = above.parent) {
    if (above.value === value) return "an object that it is inside of";
  }
  if (depth > DEPTH_MAX) return `more than ${DEPTH_MAX} levels deep`;
  if (Object.getOwnPropertySymbols(value).length > 0) return "an object with symbols as keys";
  if (Array.isArray(value)) {
    const isWhole = Object.keys(value).length === value.length;
    return isWhole ? undefined : "an array with gaps, or with members that have names";
  }
  const prototype = Object.getPrototypeOf(value);
  if (prototype === null || Object.getPrototypeOf(prototype) === null) return undefined;
  const name = prototype.constructor?.name;
  return typeof name === "string" && name !== "" ? `an object of class ${name}` : "no plain object";
}

function refuse(rule: string, visit: Visit, fault: string): never {
  const path = pathOf(visit);
  throw new MmsbError(
    "usage",
    `Cannot bind rule "${rule}" as ${path} is ${fault}: give finite numbers, text, booleans, null, and arrays and plain objects of them`,
    { values: { rule, path } },
  );
}

/** Where a value stands: `params.bands[2].low`. */
function pathOf(visit: Visit): string {
  const parts: string[] = [];
  for (let at: Visit | undefined = visit; at !== undefined; at = at.parent) {
    const { key, parent } = at;
    if (parent === undefined) parts.push(String(key));
    else if (typeof key === "number") parts.push(`[${key}]`);
    else if (/^[\p{L}_$][\p{L}\p{N}_$]*$/u.test(key) && key.length <= KEY_CHARACTERS_MAX) {
      parts.push(`.${key}`);
    } else {
      parts.push(`[${JSON.stringify(key.slice(0, KEY_CHARACTERS_MAX))}]`);
    }
  }
  return parts.reverse().join("");
}
