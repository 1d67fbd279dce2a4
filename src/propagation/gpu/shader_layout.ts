/**
 * Shader layout: what stands behind a user's code, and what is bound where.
 *
 * Only what the code names is declared, since a stage has few bindings (8 storage buffers are what every device has). It
 * stands behind the code and not in front of it: WGSL does not ask for an order, directives such as `enable` have to come
 * first, and the compiler's lines are then the user's.
 *
 * Two bindings of one rule with pages of other numbers have other layouts; two with the same share one pipeline.
 *
 * @module
 */

import { MmsbError } from "../../base/mod.ts";
import { type Rule, twinsOf } from "../rule.ts";
import type { CheckedShader, ShaderElement } from "./rule_shader.ts";

/** What a binding of a shader is: `previous` is a copy of the output that each step begins with. */
export type PlaceRole = "input" | "output" | "state" | "previous";

/** A page that a shader is given. */
export interface ShaderPlace {
  /** What it is. */
  readonly role: PlaceRole;
  /** Which input, output or page of state. */
  readonly index: number;
}

/** How many pages a rule has of each kind. */
export interface PageCounts {
  /** Inputs. */
  readonly inputs: number;
  /** Outputs. */
  readonly outputs: number;
  /** Pages of state. */
  readonly state: number;
}

/** A shader for a number of pages. */
export interface ShaderLayout {
  /** The code, and all that it names of ours. */
  readonly text: string;
  /** Lines of the code. */
  readonly lines: number;
  /** Pages, by number of their binding from 0 on. */
  readonly places: readonly ShaderPlace[];
  /** Number of the tick's binding, −1 where it is not named. */
  readonly tick: number;
  /** Number of the parameters' binding, −1 where they are not named. */
  readonly params: number;
}

/**
 * Lays a shader out for the pages of a binding.
 *
 * @param rule Name of the rule, for errors.
 * @throws {MmsbError} `usage` where the code names a page that the binding has not, or parameters without types.
 */
export function layShader(rule: string, shader: CheckedShader, counts: PageCounts): ShaderLayout {
  const { names, params, threads, code } = shader, places: ShaderPlace[] = [], ours: string[] = [];
  refuseUnknown(rule, names, counts);
  refuseUndeclared(rule, shader);
  let binding = 0;
  const bind = (what: string) => ours.push(`@group(0) @binding(${binding++}) var<${what};`) > 0;
  const bindPages = (role: PlaceRole, count: number, elements: readonly ShaderElement[]) => {
    const access = role === "output" || role === "state" ? "read_write" : "read";
    for (let index = 0; index < count; index++) {
      if (!names.has(`${role}${index}`)) continue;
      bind(`storage, ${access}> ${role}${index}: array<${elements[index] ?? "u32"}>`);
      places.push({ role, index });
    }
  };
  bindPages("input", counts.inputs, shader.inputs);
  bindPages("output", counts.outputs, shader.outputs);
  bindPages("previous", counts.outputs, shader.outputs);
  bindPages("state", counts.state, shader.state);
  const tick = names.has("tick") && bind("uniform> tick: u32") ? binding - 1 : -1;
  const hasParams = params.length > 0 && names.has("params");
  if (hasParams) {
    const members = params.map(([name, element]) => `${name}: ${element}`);
    ours.push(`struct RuleParams { ${members.join(", ")} }`);
    bind("uniform> params: RuleParams");
  }
  if (names.has("threads")) ours.push(`const threads = vec3u(${threads.join("u, ")}u);`);
  return {
    text: `${code}\n${ours.join("\n")}\n`,
    lines: code.split("\n").length,
    places,
    tick,
    params: hasParams ? binding - 1 : -1,
  };
}

/**
 * Checks what a rule's shader needs of a binding: pages for the names in it, and parameters of the right types.
 *
 * @throws {MmsbError} `usage` where something is missing.
 */
export function checkShaderBinding(
  name: string,
  rule: Rule,
  counts: PageCounts,
  params: unknown,
): void {
  const shader = twinsOf(rule)?.shader;
  if (shader === undefined) return;
  layShader(name, shader, counts);
  paramWords(name, shader, params);
}

/** A page that the code names and the binding has not is a slip that a compiler would tell in its own words. */
function refuseUnknown(rule: string, names: ReadonlySet<string>, counts: PageCounts): void {
  const { inputs, outputs, state } = counts;
  const has: Readonly<Record<string, number>> = { inputs, outputs, state, previous: outputs };
  for (const name of names) {
    const [, role, index] = /^([a-z]+)([0-9]*)$/.exec(name)!;
    if (index === "") continue;
    const what = role === "state" || role === "previous" ? role : `${role}s`;
    if (Number(index) < has[what]) continue;
    const one = role === "state" ? "page of state" : role === "input" ? "input" : "output";
    const kind = has[what] === 1 ? one : one.replace(/^page|put$/, "$&s");
    throw new MmsbError(
      "usage",
      `Cannot bind rule "${rule}" as its shader names ${name}: the binding has ${
        has[what]
      } ${kind}`,
      { values: { rule, name, count: has[what] } },
    );
  }
}

/** What the code itself may call `params`. */
const OWN_PARAMS = /\b(?:let|var|const|fn)\b[^;=(]*\bparams\b|\bparams\s*:/;

/** Parameters without types are a slip, too: the compiler would say that it does not know the name. */
function refuseUndeclared(rule: string, { names, params, code }: CheckedShader): void {
  if (params.length > 0 || !names.has("params") || OWN_PARAMS.test(code)) return;
  throw new MmsbError(
    "usage",
    `Cannot bind rule "${rule}" as its shader names params: give their types in wgsl, as in params: { rate: "f32" }`,
    { values: { rule } },
  );
}

/**
 * The parameters of a binding as words for a shader.
 *
 * @throws {MmsbError} `usage` where one is missing, or is no number of its type.
 */
export function paramWords(rule: string, shader: CheckedShader, values: unknown): Int32Array {
  const words = new Int32Array(shader.params.length), floats = new Float32Array(words.buffer);
  shader.params.forEach(([name, element], i) => {
    const isPlain = typeof values === "object" && values !== null && Object.hasOwn(values, name);
    const value: unknown = isPlain ? (values as Record<string, unknown>)[name] : undefined;
    const isOf = element === "f32"
      ? typeof value === "number" && Number.isFinite(Math.fround(value))
      : typeof value === "number" && (element === "i32" ? value | 0 : value >>> 0) === value;
    if (!isOf) {
      throw new MmsbError(
        "usage",
        `Cannot bind rule "${rule}" as params.${name} is ${
          value === undefined ? "missing" : `no ${element}`
        }: its shader reads it`,
        { values: { rule, name, element, value } },
      );
    }
    if (element === "f32") floats[i] = value as number;
    else words[i] = value as number;
  });
  return words;
}
