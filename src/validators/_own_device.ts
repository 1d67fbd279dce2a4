/**
 * A user's rules in WGSL on the device: each runs over pages with the bytes of the last state, once on a bus with the
 * device and once as its twin on the CPU, and both must write the same, but for what floats may differ by.
 *
 * Both buses are in memory and have nothing but the pages of one rule, so nothing of the user's data is touched.
 *
 * Cost: two small buses and a run of the rule and of its twin, a rule.
 */

import { isMmsbError } from "../base/mod.ts";
import { partsOf } from "../bus/mod.ts";
import type { PageStore } from "../physical/mod.ts";
import { twinsOf } from "../propagation/rule.ts";
import type { OwnRule } from "./_own_firing.ts";
import { isAsStored } from "./_own_shaders.ts";
import { openBus } from "./device_run.ts";
import type { MeasuredDevice } from "./validator.ts";

/** What came of it. */
export interface DeviceVerdict {
  /** Rules in WGSL that were compared. */
  compared: number;
  /** Those that agreed. */
  agreed: number;
  /** What did not, in words. */
  readonly found: string[];
}

/** Bytes beside those of the pages. */
const MEMORY_BYTES = 2 ** 22;

/** Compares the rules in WGSL among some. */
export async function compareOnDevice(
  store: PageStore,
  rules: readonly OwnRule[],
  tell: (text: string, rule?: string) => void,
): Promise<DeviceVerdict> {
  const verdict: DeviceVerdict = { compared: 0, agreed: 0, found: [] };
  for (const rule of rules) {
    const { name, page } = rule.binding;
    if (twinsOf(rule.code) === undefined || !rule.binding.inputs.every(isPage)) continue;
    tell("comparing with the device", name);
    verdict.compared++;
    try {
      const ours = await outputsOn("cpu", store, rule),
        theirs = await outputsOn("gpu", store, rule);
      const sizeOf = (id: number) => store.table.sizeOf(store.table.rowOf(id));
      if (isAsStored(rule, sizeOf, ours, theirs)) verdict.agreed++;
      else verdict.found.push(`rule "${name}" of page ${page}: on the GPU it computes other bytes`);
    } catch (error) {
      if (!isMmsbError(error)) throw error;
      verdict.found.push(`rule "${name}" of page ${page}: ${error.message}`);
    }
  }
  return verdict;

  function isPage(id: number): boolean {
    return store.table.rowOf(id) !== 0;
  }
}

/** The outputs that a rule writes over the pages of a state, on a bus of its own. */
async function outputsOn(
  device: MeasuredDevice,
  store: PageStore,
  { binding, code }: OwnRule,
): Promise<Uint8Array> {
  const ids = [...new Set([...binding.inputs, ...binding.outputs, ...binding.state])];
  const bytes = ids.map((id) => store.view(store.table.rowOf(id)));
  const sum = bytes.reduce((total, { length }) => total + length, 0);
  await using bus = await openBus({ device, memoryLimitBytes: 4 * sum + MEMORY_BYTES });
  const pages = new Map(ids.map((id, i) => [id, bus.createPage({ size: bytes[i].length })]));
  ids.forEach((id, i) => pages.get(id)!.write(0, bytes[i]));
  await bus.tick();
  const all = (list: readonly number[]) => list.map((id) => pages.get(id)!);
  await bus.rule(code, {
    name: binding.name,
    inputs: all(binding.inputs),
    outputs: all(binding.outputs),
    state: all(binding.state),
    params: partsOf(binding).params,
  }).ready;
  await bus.tick();
  const outputs = all(binding.outputs).map((page) => page.read());
  const joined = new Uint8Array(outputs.reduce((total, { length }) => total + length, 0));
  let at = 0;
  for (const output of outputs) {
    joined.set(output, at);
    at += output.length;
  }
  return joined;
}
