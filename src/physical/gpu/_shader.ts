/**
 * From WGSL text to a pipeline: what the compiler says becomes an error with line, column and text.
 *
 * Cost: a pass over the text, then the driver's compiler: 1 to 100 ms for what people write. A compiler cannot be
 * interrupted.
 */

import { checkInteger, checkKeys, checkNumber, checkType, isMmsbError } from "../../base/mod.ts";
import { monotonicNowMs } from "../../temporal/mod.ts";
import type { DeviceWatch } from "./_device_watch.ts";
import { checkShaderText, SHADER_CHARACTERS_MAX } from "./_shader_limits.ts";
import { nextTurn } from "./_thread_turns.ts";
import { clip, deviceLost, type ShaderMessage, shaderRefused, textOf } from "./gpu_errors.ts";

/** Milliseconds of a compilation from which on the word of a loss is waited for, and how long. */
const SLOW_MS = 500;

/** Options of a pipeline. */
export interface PipelineOptions {
  /** Name of the shader, for messages. */
  readonly label: string;
  /** Name of the function that is called; the only one with `@compute` if left out. */
  readonly entry?: string | undefined;
  /** Layout of its bindings; read off the text if left out. */
  readonly layout?: GPUPipelineLayout | undefined;
  /** Values of its `override` declarations, by name. */
  readonly constants?: Readonly<Record<string, number>> | undefined;
  /** Lines in front of the user's own text, taken off the line numbers of messages; 0 if left out. */
  readonly lineOffset?: number | undefined;
}

/** Compiles a shader. */
export async function compileShader(
  watch: DeviceWatch,
  code: string,
  options: PipelineOptions,
): Promise<GPUComputePipeline> {
  checkType("code", code, "string");
  checkOptions(options);
  const { entry, layout = "auto", constants, lineOffset = 0 } = options;
  const label = clip(options.label);
  const { limits } = watch.device;
  checkShaderText(label, code, lineOffset, limits?.maxComputeWorkgroupStorageSize ?? Infinity);
  const what = `compile shader "${label}"`;
  const beganMs = monotonicNowMs();
  const module = await compileModule(watch, what, code, { label, lineOffset });
  try {
    const pipeline = await watch.checked(what, () =>
      watch.device.createComputePipeline({
        label,
        layout,
        compute: { module, entryPoint: entry, constants },
      }));
    // A driver may lose the device by what it cannot compile, after some time, and the word of it comes later.
    await nextTurn();
    if (monotonicNowMs() - beganMs > SLOW_MS) await watch.lostSoon(SLOW_MS);
    watch.checkAlive(what);
    return pipeline;
  } catch (error) {
    // A pipeline is refused for what its text says: no such entry point, too many invocations or bindings.
    if (watch.isLost || !isMmsbError(error, "gpu") || !isOfText(error.cause)) throw error;
    throw shaderRefused(label, [bare(textOf(error.cause))]);
  }
}

async function compileModule(
  watch: DeviceWatch,
  what: string,
  code: string,
  { label, lineOffset }: { label: string; lineOffset: number },
): Promise<GPUShaderModule> {
  const { device } = watch;
  watch.checkAlive(what);
  device.pushErrorScope("validation");
  const module = device.createShaderModule({ code, label });
  const [refusal, info] = await Promise.all([device.popErrorScope(), module.getCompilationInfo()]);
  const messages = info.messages.map((message) => messageOf(message, label));
  if (refusal === null && !messages.some(({ type }) => type === "error")) return module;
  // A lost device compiles nothing either, and its text is not to blame.
  if (await watch.lostSoon()) throw deviceLost(what, watch.lossReason);
  throw shaderRefused(
    label,
    messages.length > 0 ? messages : [bare(textOf(refusal))],
    lineOffset,
  );
}

function checkOptions(options: PipelineOptions): void {
  checkType("options of pipeline", options, "object");
  checkKeys("pipeline", options, ["label", "entry", "layout", "constants", "lineOffset"]);
  const { label, entry, layout, constants = {}, lineOffset = 0 } = options;
  checkType("label", label, "string");
  if (entry !== undefined) checkType("entry", entry, "string");
  if (layout !== undefined) checkType("layout", layout, "object");
  for (const [name, value] of Object.entries(checkType("constants", constants, "object"))) {
    checkNumber(`constant ${clip(name)}`, value, -Number.MAX_VALUE, Number.MAX_VALUE);
  }
  checkInteger("lineOffset", lineOffset, 0, SHADER_CHARACTERS_MAX);
}

/** Whether an error is the user's: the driver's validation, or an argument that is none. */
function isOfText(cause: unknown): boolean {
  return cause instanceof TypeError ||
    (typeof GPUValidationError !== "undefined" && cause instanceof GPUValidationError);
}

function bare(text: string): ShaderMessage {
  return { type: "error", line: 0, column: 0, text: clip(text) };
}

function messageOf(message: GPUCompilationMessage, label: string): ShaderMessage {
  return {
    type: message.type,
    line: message.lineNum,
    column: message.linePos,
    text: sentenceOf(message.message, label),
  };
}

/** What a message says, without the name of the shader before it and the drawing under it. */
function sentenceOf(text: string, label: string): string {
  const [first, ...others] = text.trim().split("\n");
  const notes = others.flatMap((line) => /^\s*= (?!note: See )(.+)$/.exec(line)?.[1] ?? []);
  return clip([first.replace(`Shader '${label}' parsing error: `, ""), ...notes].join(": "));
}
