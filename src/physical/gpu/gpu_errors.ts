/**
 * The errors of the device layer: what WebGPU says, in all the ways it says it, as an `MmsbError`.
 *
 * WebGPU has four ways to fail: it throws, it rejects, it gives an error to a scope, or it loses the device.
 * Each becomes one code that tells the caller what helps: `gpu` (the device failed or is gone: another try
 * gets a new one or the CPU), `limit` (larger than this device can), `allocation` (the device has no memory
 * left), `usage` (a shader that does not compile, an argument that is none).
 *
 * Cost: errors are made per refused call, never per row.
 */

import { isMmsbError, MmsbError, reasonOf } from "../../base/mod.ts";

/** Longest text of a driver that an error repeats, in characters. */
const TEXT_CHARACTERS_MAX = 500;

/** What a shader's compiler says about one place. */
export interface ShaderMessage {
  /** Whether it is an error, or only something to look at. */
  readonly type: "error" | "warning" | "info";
  /** Line of the shader's text, from 1; 0 where none is known. */
  readonly line: number;
  /** Column in the line, from 1; 0 where none is known. */
  readonly column: number;
  /** What is wrong. */
  readonly text: string;
}

/**
 * The error of a machine on which there is no device to be had.
 *
 * @param reason Why, in words.
 * @param cause The error underneath.
 * @returns An error with code `gpu`.
 */
export function noDevice(reason: string, cause?: unknown): MmsbError {
  return new MmsbError(
    "gpu",
    `Cannot open a GPU device: ${clip(reason)}; \`mmsb doctor\` says what to do`,
    { values: { reason: clip(reason) }, cause },
  );
}

/**
 * The error of a device that is gone.
 *
 * @param what What was to be done: `read 4096 bytes`.
 * @param reason Why it is gone, in words.
 * @returns An error with code `gpu`.
 */
export function deviceLost(what: string, reason: string): MmsbError {
  return new MmsbError(
    "gpu",
    `Cannot ${what} as the GPU device is gone: ${clip(reason)}; open another or use the CPU`,
    { values: { what, reason: clip(reason), isLost: true } },
  );
}

/**
 * The error of what WebGPU threw, rejected or gave to a scope.
 *
 * @param what What was to be done: `create a buffer of 4096 bytes`.
 * @param thrown What was caught. An `MmsbError` stays what it is.
 * @returns An error with code `allocation` where memory ran out, else `gpu`.
 */
export function gpuFailure(what: string, thrown: unknown): MmsbError {
  if (isMmsbError(thrown)) return thrown;
  const reason = clip(textOf(thrown));
  if (isOutOfMemory(thrown)) {
    return new MmsbError(
      "allocation",
      `Cannot ${what} as the GPU has no memory left: free some, or use the CPU`,
      { values: { what, reason }, cause: thrown },
    );
  }
  return new MmsbError("gpu", `Cannot ${what} on the GPU: ${reason}`, {
    values: { what, reason },
    cause: thrown,
  });
}

/**
 * The error of a shader that does not compile.
 *
 * @param label Name of the shader.
 * @param messages What the compiler says; the first error is named in the sentence.
 * @param lineOffset Lines that stand before the user's own text and are taken off the line numbers.
 * @returns An error with code `usage`, and `line`, `column`, `text` and `messages` as values.
 */
export function shaderRefused(
  label: string,
  messages: readonly ShaderMessage[],
  lineOffset = 0,
): MmsbError {
  const own = messages.map((message) => ({
    ...message,
    line: message.line > lineOffset ? message.line - lineOffset : 0,
  }));
  const first = own.find(({ type }) => type === "error") ?? own[0] ??
    { line: 0, column: 0, text: "the compiler does not say why" };
  const place = first.line > 0 ? ` at line ${first.line}, column ${first.column}` : "";
  return new MmsbError("usage", `Cannot compile shader "${clip(label)}"${place}: ${first.text}`, {
    values: {
      shader: clip(label),
      line: first.line,
      column: first.column,
      text: first.text,
      messages: own,
    },
  });
}

/**
 * What was thrown or reported, in words; the errors of WebGPU are no errors of the language.
 *
 * @param thrown What was caught, or what a scope gave.
 * @returns Its message.
 */
export function textOf(thrown: unknown): string {
  try {
    const { message } = thrown as { message?: unknown };
    if (typeof message === "string") return message;
  } catch { /* It has no properties, or throws where they are read. */ }
  return reasonOf(thrown);
}

/**
 * A driver's text, short and on one line.
 *
 * @param text What it says.
 * @returns The same with white space folded, cut where it is long.
 */
export function clip(text: string): string {
  const folded = text.replace(/\s+/g, " ").trim();
  return folded.length <= TEXT_CHARACTERS_MAX ? folded : `${folded.slice(0, TEXT_CHARACTERS_MAX)}…`;
}

function isOutOfMemory(thrown: unknown): boolean {
  return (typeof GPUOutOfMemoryError !== "undefined" && thrown instanceof GPUOutOfMemoryError) ||
    /out of memory/i.test(textOf(thrown));
}
