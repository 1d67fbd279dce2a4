/**
 * Bindings as bytes: the payload of the row that binds a rule to its pages.
 *
 * One line of JSON with its keys in a fixed order, so that the same binding is the same bytes wherever it is
 * written. It names the rule's code (a module and what it exports, or nothing where the code is a
 * closure that somebody binds again by name), the pages that it reads, writes and keeps its state in,
 * and its parameters.
 *
 * @module
 */

import {
  BINDING_BYTES_MAX,
  decodeUtf8,
  encodeUtf8,
  MmsbError,
  NAME_BYTES_MAX,
  PAGE_ID_MAX,
} from "../base/mod.ts";
import type { RuleBinding } from "../physical/mod.ts";

/** What a binding says. */
export interface BindingText {
  /** Name of the rule; no other rule that is bound has it. */
  readonly name: string;
  /** URL of the module that its code is in, `null` for a closure. */
  readonly module: string | null;
  /** Name under which the module exports it. */
  readonly export: string;
  /** Version of its code. */
  readonly version: number;
  /** Ids of the pages that it reads. */
  readonly inputs: readonly number[];
  /** Ids of the pages that it writes, at least one. */
  readonly outputs: readonly number[];
  /** Ids of the pages that it keeps its state in. */
  readonly state: readonly number[];
  /** Its parameters, as JSON has them. */
  readonly params: unknown;
  /** When it runs. */
  readonly mode: string;
}

const ENCODER = new TextEncoder();

/**
 * The payload.
 *
 * @throws {MmsbError} `usage` where it is no binding or its parameters are no JSON, `limit` where it is
 * too large.
 */
export function encodeBinding(binding: BindingText): Uint8Array {
  const { name, module, export: exported, version, inputs, outputs, state, mode } = binding;
  const params = binding.params ?? null;
  let text: string;
  try {
    text = JSON.stringify({
      name,
      module,
      export: exported,
      version,
      inputs: [...inputs],
      outputs: [...outputs],
      state: [...state],
      params,
      mode,
    });
  } catch (cause) {
    throw new MmsbError("usage", `Cannot bind rule "${name}": its parameters are no JSON`, {
      values: { rule: name },
      cause,
    });
  }
  const fault = bindingFault(JSON.parse(text));
  if (fault !== undefined) {
    throw new MmsbError("usage", `Cannot bind rule "${name}": ${fault}`, {
      values: { rule: name },
    });
  }
  return encodeUtf8("binding of a rule", text, BINDING_BYTES_MAX);
}

/**
 * Reads the payload.
 *
 * @throws {MmsbError} `corrupt-log` where it is none.
 */
export function decodeBinding(bytes: Uint8Array): BindingText {
  const text = decodeUtf8("binding of a rule", bytes, "corrupt-log");
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new MmsbError("corrupt-log", "Cannot read the binding of a rule: it is no JSON", {
      values: { length: bytes.length },
      cause,
    });
  }
  const fault = bindingFault(value);
  if (fault !== undefined) {
    throw new MmsbError("corrupt-log", `Cannot read the binding of a rule: ${fault}`, {
      values: { length: bytes.length },
    });
  }
  return value as BindingText;
}

/**
 * The binding as a store keeps it.
 *
 * @param number Number of the rule.
 * @param payload The payload; not copied.
 * @throws {MmsbError} `corrupt-log` where it is none.
 */
export function bindingOf(number: number, payload: Uint8Array): RuleBinding {
  const { name, inputs, outputs, state, version, module } = decodeBinding(payload);
  return { number, name, page: outputs[0], inputs, outputs, state, version, module, payload };
}

/** What is wrong with a binding, in words. */
export function bindingFault(value: unknown): string | undefined {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return "it is no object";
  }
  const binding = value as Partial<Record<keyof BindingText, unknown>>;
  const { name, module, export: exported, version, inputs, outputs, state, mode } = binding;
  if (typeof name !== "string" || name === "") return "its name is no text";
  if (ENCODER.encode(name).length > NAME_BYTES_MAX) {
    return `its name has more than ${NAME_BYTES_MAX} bytes`;
  }
  if (module !== null && typeof module !== "string") return "its module is neither text nor null";
  if (typeof exported !== "string") return "its export is no text";
  if (typeof mode !== "string") return "its mode is no text";
  if (typeof version !== "number" || !Number.isSafeInteger(version) || version < 0) {
    return "its version is no whole number";
  }
  for (const [what, pages] of Object.entries({ inputs, outputs, state })) {
    if (!Array.isArray(pages) || !pages.every(isPageId)) return `its ${what} are no ids of pages`;
  }
  const written = [...outputs as number[], ...state as number[]];
  if ((outputs as number[]).length === 0) return "it has no outputs";
  if (new Set(written).size !== written.length) return "it names an output or state page twice";
  if (!Object.hasOwn(binding, "params")) return "it has no params";
  return undefined;
}

function isPageId(value: unknown): boolean {
  return typeof value === "number" && Number.isInteger(value) && value > 0 && value <= PAGE_ID_MAX;
}
