/**
 * `mmsb profile`: runs a program under the engine's samplers and says what took the time, what allocated, and how
 * much of both a delta took.
 *
 * The program runs in a process of its own, as `deno run` would start it. Deno brings a module's source map along
 * only where an inspector may attach, so one is offered, on a free port of this machine alone.
 */

import { MmsbError } from "../base/errors.ts";
import { EXIT, type ExitCode } from "../perf/mod.ts";
import type { ProfileTask, RawProfile } from "../perf/profile.ts";
import { type Call, type Command, usage } from "./_command.ts";
import {
  requireFolderOf,
  runProgram,
  shortPlace,
  temporaryFile,
  writeFile,
  writeStdout,
} from "./_platform.ts";
import { integerOf } from "./_values.ts";

const TOP = 12;
const INTERVAL_US = 200;
const ALLOCATION_BYTES = 8192;
const SECONDS_MAX = 1_000_000;

const HOOK = new URL("../perf/profile_hook.ts", import.meta.url).href;

/** Makes the command. */
export function profileCommand(): Command {
  const command: Command = {
    name: "profile",
    summary: "run a program and say what took its time and what it allocated",
    operands: [],
    rest: "-- PROGRAM [ARGS…]",
    flags: {
      seconds: { value: "N", help: "end the program after N seconds; Ctrl-C ends it, too" },
      top: { value: "N", help: `functions in each table, ${TOP} if left out` },
      interval: {
        value: "US",
        help: `microseconds between two samples, ${INTERVAL_US} if left out`,
      },
      cpuprofile: { value: "FILE", help: "write the samples for the browser's developer tools" },
      json: { help: "write JSON in place of text" },
    },
    details: [
      "Behind -- stands what deno run would be given: flags, the program, its arguments. Without a flag the\n" +
      "program gets all permissions. Only its main thread is watched.",
      "The samplers need the permissions to run, to read and write the temporary folder, and --allow-env for\n" +
      "the program. What calls Deno.exit is left by an exception, so that the profile can be written.",
    ],
    examples: [
      "mmsb profile -- examples/game_world.ts --ticks 300",
      "mmsb profile --seconds 10 --cpuprofile out.cpuprofile -- --allow-all server.ts",
    ],
    run: (call) => profile(command, call),
  };
  return command;
}

async function profile(command: Command, call: Call): Promise<ExitCode> {
  const top = integerOf("top", call.text("top"), 1, 1000) ?? TOP;
  const seconds = integerOf("seconds", call.text("seconds"), 1, SECONDS_MAX);
  const intervalUs = integerOf("interval", call.text("interval"), 50, 1_000_000) ?? INTERVAL_US;
  const cpuprofile = call.text("cpuprofile");
  if (cpuprofile !== undefined) await requireFolderOf("--cpuprofile", cpuprofile);
  const program = call.rest.find((arg) => !arg.startsWith("-"));
  if (program === undefined) throw usage(command, "Missing PROGRAM behind --");

  using file = temporaryFile("mmsb-profile-");
  const task: ProfileTask = {
    file: file.path,
    intervalUs,
    allocationBytes: ALLOCATION_BYTES,
    seconds,
  };
  const flags = call.rest[0].startsWith("-") ? [] : ["--allow-all"];
  const code = await runProgram(
    ["run", "--quiet", "--inspect=127.0.0.1:0", "--preload", HOOK, ...flags, ...call.rest],
    { MMSB_PROFILE: JSON.stringify(task) },
  );
  const text = file.read();
  if (text === "") throw unwritten(program, code);
  const raw = JSON.parse(text) as RawProfile;
  if (cpuprofile !== undefined) await writeFile(cpuprofile, JSON.stringify(raw.cpu));
  await report(call, raw, program, top);
  if (code !== 0) throw failed(program, code);
  return EXIT.done;
}

async function report(call: Call, raw: RawProfile, program: string, top: number): Promise<void> {
  const [{ profileOf }, { profileText }] = await Promise.all([
    import("../perf/profile.ts"),
    import("../perf/profile_report.ts"),
  ]);
  const found = profileOf(raw);
  if (!call.has("json")) {
    writeStdout(profileText(found, { program, top, shorten: shortPlace }));
    return;
  }
  const functions = found.functions.slice(0, top), allocators = found.allocators.slice(0, top);
  writeStdout(`${JSON.stringify({ program, ...found, functions, allocators }, null, 2)}\n`);
}

function unwritten(program: string, code: number): MmsbError {
  return new MmsbError(
    "io",
    `Cannot profile ${
      JSON.stringify(program)
    } as it ended with ${code} before its profile was written: mend what it says above first`,
    { values: { program, code } },
  );
}

function failed(program: string, code: number): MmsbError {
  return new MmsbError("io", `The program ${JSON.stringify(program)} ended with ${code}`, {
    values: { program, code },
  });
}
