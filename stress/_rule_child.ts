/**
 * The process that is killed: goes on with a random program of rules from where a directory is, and prints the number of
 * each tick that is on the disk, and "end" at the end.
 *
 * `deno run -A stress/_rule_child.ts DIRECTORY WORKERS SEED TICKS`
 */

import { StateBus } from "../src/bus/mod.ts";
import { RuleTicks } from "../src/bus/testdata/random_rule_ticks.ts";
import { ruleTicksOptions } from "./rule_workers.ts";

const [dir, workers, seed, ticks] = Deno.args;
const encoder = new TextEncoder();

function say(word: string | number): void {
  const line = encoder.encode(`${word}\n`);
  if (Deno.stdout.writeSync(line) !== line.length) Deno.exit(3);
}

const bus = await StateBus.open({ dir, ...ruleTicksOptions(Number(workers)) });
say("open");
await new RuleTicks(Number(seed)).run(bus, Number(ticks), (tick) => Promise.resolve(say(tick)));
await bus.close();
say("end");
