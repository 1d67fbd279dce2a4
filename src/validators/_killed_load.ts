/**
 * Real data through a kill: one process loads the flights, makes a checkpoint meanwhile, and is killed
 * with SIGKILL when about half of them are acknowledged; another one goes on to the end. What was
 * acknowledged must be there.
 */

import { replay, type Replayed } from "./_forms.ts";
import { type BusState, decodeState } from "./_state.ts";
import { addToRun, deviceOfRun } from "./device_run.ts";
import type { Flights } from "./flights.ts";
import type { DeviceCounts } from "./validator.ts";

/** An acknowledgement: a tick, and the flights after it. */
export interface Acknowledged {
  /** The tick. */
  readonly tick: number;
  /** Flights in the bus. */
  readonly flights: number;
}

/** What became of the load. */
export interface KilledLoad {
  /** Tick and flights that were last acknowledged before the kill. */
  readonly acknowledged: Acknowledged;
  /** Tick and flights of an earlier acknowledgement, before the checkpoint. */
  readonly earlier: Acknowledged;
  /** Last ticks before and after the checkpoint was made. */
  readonly checkpoint: readonly [first: number, last: number];
  /** Tick that the second process found, and the deltas that it replayed to get there. */
  readonly opened: { readonly tick: number; readonly rows: number };
  /** What a replay from the start found after the kill. */
  readonly found: Replayed;
  /** What a replay from the checkpoint found then. */
  readonly foundOverCheckpoint: Replayed;
  /** Ticks that were acknowledged and not found. */
  readonly lostTicks: number;
  /** The live state of the process that loaded to the end. */
  readonly live: BusState;
}

/** Small ticks, so that there are hundreds of them to be killed between. */
const FLIGHTS_PER_TICK = 500;
const PROCESS = new URL("./_flights_process.ts", import.meta.url).href;
const ATTEMPTS_MAX = 3;

/**
 * Loads the flights into a directory of a folder, with a kill halfway.
 *
 * @param folder A folder to work in.
 * @param flights The flights, to know how many there are.
 * @param progress Told how far it is.
 * @returns What became of it; the directory is `directory`.
 */
export async function loadWithKill(
  folder: string,
  flights: Flights,
  progress: (text: string) => void,
): Promise<KilledLoad & { readonly directory: string }> {
  for (let attempt = 1;; attempt++) {
    const directory = `${folder}/flights-${attempt}`, stateFile = `${folder}/live-${attempt}`;
    // A machine that stalls may see the process end before the kill: then an earlier one is tried.
    const enough = flights.count / 2 ** attempt;
    const killed = await load(directory, stateFile, (count, { checkpoint }) => {
      progress(`${text(count)} of ${text(flights.count)} flights durable, to be killed halfway`);
      return count >= enough && checkpoint !== undefined;
    });
    if (!killed.wasKilled && attempt < ATTEMPTS_MAX) continue;
    if (!killed.wasKilled) {
      throw new Error("the loading process could not be killed before its end");
    }
    const found = replay({ directory, tick: Infinity });
    const foundOverCheckpoint = replay({ directory, tick: Infinity }, "newest");
    const { acknowledged, checkpoint } = killed;
    const rest = await load(directory, stateFile, (count) => {
      progress(`after the kill: ${text(count)} of ${text(flights.count)} flights durable`);
      return false;
    });
    if (rest.code !== 0) {
      throw new Error(`the second process ended with ${rest.code}: ${rest.said}`);
    }
    return {
      directory,
      acknowledged: acknowledged.at(-1)!,
      earlier: acknowledged[acknowledged.length >> 2],
      checkpoint: checkpoint!,
      opened: rest.opened!,
      found,
      foundOverCheckpoint,
      lostTicks: Math.max(0, acknowledged.at(-1)!.tick - found.tick),
      live: decodeState(await Deno.readFile(stateFile)),
    };
  }
}

/** Runs a loading process until it ends, or until it is to be killed. */
async function load(
  directory: string,
  stateFile: string,
  isEnough: (flights: number, told: Told) => boolean,
) {
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "-A", "--no-prompt", PROCESS],
      ...[directory, String(FLIGHTS_PER_TICK), stateFile, deviceOfRun()],
    ],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const said = new Response(child.stderr).text();
  const told: Told = { acknowledged: [] };
  let rest = "", isKilled = false;
  for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      hear(told, line);
      const flights = told.acknowledged.at(-1)?.flights ?? 0;
      if (isKilled || !isEnough(flights, told)) continue;
      isKilled = true;
      child.kill("SIGKILL");
    }
  }
  const { code, signal } = await child.status;
  addToRun(told.counts);
  return { ...told, code, wasKilled: signal === "SIGKILL", said: (await said).trim() };
}

/** What a loading process has told so far. */
interface Told {
  readonly acknowledged: Acknowledged[];
  checkpoint?: readonly [first: number, last: number];
  opened?: { readonly tick: number; readonly rows: number };
  /** What ran on the GPU so far. */
  counts?: DeviceCounts;
}

/** Takes one line of a loading process; others than its own words mean nothing. */
function hear(told: Told, line: string): void {
  const [, word, ...numbers] = /^(opened|durable|checkpoint|gpu) (\d+) (\d+)(?: (\d+))?$/
    .exec(line) ?? [];
  const [tick, second, third] = numbers.map(Number);
  if (word === "gpu") told.counts = { batches: tick, rows: second, rules: third };
  if (word === "durable") told.acknowledged.push({ tick, flights: second });
  if (word === "checkpoint") told.checkpoint = [tick, second];
  if (word === "opened") told.opened = { tick, rows: second };
}

/** A number as people read it. */
function text(value: number): string {
  return value.toLocaleString("en");
}
