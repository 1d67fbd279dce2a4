/**
 * Checked reading of JSON that people or other programs wrote: each value is looked at by hand, and
 * what is wrong is refused with the file, the line, the JSON path and what to write. Targets, results
 * and baselines are read with it.
 *
 * Cost: the lines are found only when something is wrong.
 */

import { MmsbError, type MmsbErrorCode } from "../base/errors.ts";
import { findRepeatedField, lineOfSyntaxFault, linesOfPaths } from "./_json_lines.ts";
import { suggest } from "./suggest.ts";

/** Where a value came from, and how to speak of it. */
export interface Origin {
  /** The file's name. */
  readonly file: string;
  /** What cannot be done: `use targets of`. */
  readonly deed: string;
  /** Code of the error where a field is wrong. */
  readonly code: MmsbErrorCode;
  /** The file's text, for line numbers; none where it was never a text. */
  readonly text?: string;
}

/**
 * Parses JSON.
 *
 * @param origin Where it came from; its text is parsed.
 * @returns What it says.
 * @throws {MmsbError} The origin's code where it is no JSON; names the line.
 */
export function parseJson(origin: Origin & { readonly text: string }): unknown {
  // A byte order mark is what some editors leave before the first bracket.
  const text = origin.text.replace(/^\uFEFF/, "");
  try {
    return JSON.parse(text);
  } catch (cause) {
    const line = lineOfSyntaxFault(text);
    throw new MmsbError(
      origin.code,
      `Cannot ${origin.deed} ${
        JSON.stringify(origin.file)
      } as it is no JSON from line ${line} on: ${messageOf(cause)}`,
      { values: { file: origin.file, line }, cause },
    );
  }
}

/** Refuses a text in which a field is given twice. */
export function refuseRepeatedFields(origin: Origin & { readonly text: string }): void {
  const repeated = findRepeatedField(origin.text);
  if (repeated === undefined) return;
  throw fault(origin, repeated.path, "is given twice: leave one out");
}

/** An object with all required fields, and none but known ones unless others are left to be. */
export function fields(
  value: unknown,
  path: string,
  required: readonly string[],
  optional: readonly string[] | "any",
  origin: Origin,
): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw wrong(origin, path, value, `give an object with ${required.join(", ")}`);
  }
  const known = [...required, ...(optional === "any" ? [] : optional)];
  for (const key of Object.keys(value)) {
    if (optional === "any" || known.includes(key)) continue;
    const meant = suggest(key, known);
    const advice = meant === undefined
      ? `leave it out, the fields here are ${known.join(", ")}`
      : `write ${JSON.stringify(meant)}`;
    throw fault(origin, join(path, key), `is a field that nobody reads: ${advice}`);
  }
  for (const key of required) {
    if (!Object.hasOwn(value, key)) {
      throw fault(origin, join(path, key), "is missing: add it", path);
    }
  }
  return value as Record<string, unknown>;
}

/** A list with at least so many entries. */
export function list(
  value: unknown,
  path: string,
  origin: Origin,
  entriesMin = 1,
): readonly unknown[] {
  if (!Array.isArray(value) || value.length < entriesMin) {
    const least = entriesMin === 0 ? "" : " with at least one entry";
    throw wrong(origin, path, value, `give a list${least}`);
  }
  return value;
}

/** A text that is not empty. */
export function text(value: unknown, path: string, origin: Origin): string {
  if (typeof value !== "string" || value.trim() === "") {
    throw wrong(origin, path, value, "give a text that is not empty");
  }
  return value;
}

/** A finite number. */
export function number(value: unknown, path: string, origin: Origin): number {
  if (typeof value !== "number" || !Number.isFinite(value)) {
    throw wrong(origin, path, value, "give a number, without quotes");
  }
  return value;
}

/** An integer of at least `min`. */
export function integer(value: unknown, path: string, origin: Origin, min: number): number {
  if (!Number.isSafeInteger(value) || (value as number) < min) {
    throw wrong(origin, path, value, `give an integer from ${min}`);
  }
  return value as number;
}

/** True or false. */
export function truth(value: unknown, path: string, origin: Origin): boolean {
  if (typeof value !== "boolean") throw wrong(origin, path, value, "give true or false");
  return value;
}

/** One of a few texts. */
export function oneOf<T extends string>(
  value: unknown,
  path: string,
  origin: Origin,
  choices: readonly T[],
): T {
  if (!choices.includes(value as T)) {
    const quoted = choices.map((choice) => JSON.stringify(choice)).join(", ");
    throw wrong(origin, path, value, `give one of ${quoted}`);
  }
  return value as T;
}

/** The error of a value that is not as it must be. */
export function wrong(
  origin: Origin,
  path: string,
  value: unknown,
  advice: string,
  code: MmsbErrorCode = origin.code,
): MmsbError {
  const shown = JSON.stringify(value) ?? String(value);
  const short = shown.length > 40 ? `${shown.slice(0, 40)}…` : shown;
  return fault({ ...origin, code }, path, `is ${short}: ${advice}`);
}

/** `linePath` is the path whose line to name, where the field itself stands on none. */
export function fault(
  origin: Origin,
  path: string,
  what: string,
  linePath: string = path,
): MmsbError {
  const line = origin.text === undefined ? undefined : linesOfPaths(origin.text).get(linePath);
  const place = line === undefined ? "" : `line ${line}, `;
  return new MmsbError(
    origin.code,
    `Cannot ${origin.deed} ${JSON.stringify(origin.file)} as ${place}${
      path === "" ? "the whole" : path
    } ${what}`,
    { values: { file: origin.file, path, line } },
  );
}

function join(path: string, key: string): string {
  return path === "" ? key : `${path}.${key}`;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
