/**
 * `mmsb clock setup`: what to do on this machine so that its time is exact and its clocks can be read.
 *
 * It looks and advises. With `--apply` it writes one file, the rule that lets a group read the hardware clocks; everything
 * else is the administrator's and shown as commands and lines.
 */
import { EXIT, type ExitCode } from "../perf/mod.ts";
import type {
  TimeFacts,
  TimeSetup,
  TimeSetupApplied,
  TimeSetupOptions,
  TimeSetupStep,
} from "../temporal/sources/mod.ts";
import type { Call, Command } from "./_command.ts";
import { field, wrapped } from "./_columns.ts";
import { escaped, json, shown } from "./_log_text.ts";
import { writeStdout } from "./_platform.ts";

const HOSTS: Readonly<Record<TimeFacts["host"], string>> = {
  azure: "a virtual machine in Azure",
  hyperv: "a virtual machine on Hyper-V",
  ec2: "a machine in Amazon EC2",
  google: "a machine in Google Cloud",
  kvm: "a virtual machine on KVM",
  vmware: "a virtual machine on VMware",
  none: "no virtual machine that is known",
};

const KERNEL_TEXTS: Readonly<Record<TimeFacts["kernelClock"], string>> = {
  kept: "says that a time service keeps its clock",
  unkept: "says that nobody keeps its clock",
  unknown: "not asked how wrong its clock is",
};

const NAME_COLUMNS = 18, STEP_COLUMNS = 11;

/**
 * The command `clock setup`.
 *
 * @param options Where to look, for tests.
 * @returns The command.
 */
export function clockSetupCommand(options: TimeSetupOptions = {}): Command {
  return {
    name: "clock setup",
    summary: "what to do on this machine so that its time is exact",
    operands: [],
    flags: {
      apply: { help: "write the rule that lets the group clock read /dev/ptp* (needs root)" },
      json: { help: "write JSON in place of text" },
    },
    details: [
      "Looks for hardware clocks, the host of a virtual machine, time services and permissions, and says\n" +
      "what to do about each. Nothing is changed.",
      "With --apply it writes one file, /etc/udev/rules.d/60-mmsb-ptp.rules, and asks nothing. Doing it\n" +
      "again changes nothing, and a different file in that place is left as it is.",
    ],
    examples: ["mmsb clock setup", "sudo mmsb clock setup --apply", "mmsb clock setup --json"],
    run: (call) => setup(call, options),
  };
}

async function setup(call: Call, options: TimeSetupOptions): Promise<ExitCode> {
  const { applyTimeSetup, inspectTimeSetup } = await import("../temporal/sources/mod.ts");
  const applied = call.has("apply") ? applyTimeSetup(options) : undefined;
  const found = inspectTimeSetup(options);
  if (call.has("json")) {
    const { chronySettings: _, ...facts } = found.facts;
    writeStdout(json({ ...(applied === undefined ? {} : { applied }), ...found, facts }, 2));
    return EXIT.done;
  }
  for (const line of linesOf(found, applied)) {
    if (!writeStdout(`${line}\n`)) break;
  }
  return EXIT.done;
}

function* linesOf(setup: TimeSetup, applied: TimeSetupApplied | undefined): Generator<string> {
  const { facts, ptp, steps } = setup;
  if (applied !== undefined) {
    yield* named(applied.written ? "written" : "unchanged", shown(applied.path));
    yield "";
  }
  const open = steps.filter(({ done }) => !done), done = steps.filter(({ done }) => done);
  yield open.length === 0
    ? "Nothing is to be done"
    : `${open.length === 1 ? "One thing" : `${open.length} things`} can be done for better time`;
  yield "";
  yield* named(
    "machine",
    `${facts.seesSystem ? HOSTS[facts.host] : "not seen: Deno shows it only with --allow-all"}${
      facts.isContainer ? ", in a container" : ""
    }`,
  );
  yield* named("kernel", KERNEL_TEXTS[facts.kernelClock]);
  for (const { name, state } of facts.services) {
    yield* named(name, state === "unseen" ? "not seen: it may not be looked for" : state);
  }
  const count = ptp.devices.length;
  yield* named("hardware clocks", count === 0 ? `none, as ${escaped(ptp.reason)}` : `${count}`);
  for (const { path, clockName, kind, unreadable } of ptp.devices) {
    yield* named(
      `  ${shown(path)}`,
      `${kind.title}${clockName === "" ? "" : ` (${shown(clockName)})`}${
        unreadable === undefined ? "" : `: ${escaped(unreadable)}`
      }`,
    );
  }
  yield* named("calls by FFI", facts.mayCall ? "permitted" : "not permitted");
  yield* named("network", facts.mayAsk ? "permitted" : "not permitted");
  yield "";
  for (const { title } of done) yield* wrapped("  right    ", title, STEP_COLUMNS);
  for (const step of open) yield* linesOfStep(step);
}

function named(name: string, text: string): string[] {
  return field(name, text, NAME_COLUMNS);
}

function* linesOfStep({ title, why, commands, file }: TimeSetupStep): Generator<string> {
  yield* wrapped("  to do    ", title, STEP_COLUMNS);
  yield* wrapped(" ".repeat(STEP_COLUMNS), why, STEP_COLUMNS);
  for (const command of commands) yield `             $ ${command}`;
  if (file === undefined) return;
  yield `           in ${shown(file.path)}:`;
  for (const line of file.lines) yield `             ${line}`;
}
