/**
 * What to do on a machine so that its time is exact and its clocks can be read: seen, said, and, of the one file that MMSB
 * needs itself, done.
 *
 * The advice is a function of the facts. Settings of chrony, modules of the kernel and groups are the administrator's: they are shown as
 * lines and commands and never made.
 *
 * Cost: some milliseconds.
 */
import { checkKeys, checkType } from "../../base/assert.ts";
import { RULE_GROUP, RULE_PATH, RULE_TEXT, ruleState, writeRule } from "./_setup_apply.ts";
import { detectFacts, type TimeFacts } from "./_setup_detect.ts";
import { findPtpDevices, type PtpDevices } from "./ptp_devices.ts";
import { type SystemCalls, systemCalls } from "./system_calls.ts";

export type { TimeFacts, TimeHost, TimeService } from "./_setup_detect.ts";

/** One thing to do, or done. */
export interface TimeSetupStep {
  /** What it is, for programs: `chrony`, `ptp-rights`. */
  readonly id: string;
  /** Whether there is nothing to do. */
  readonly done: boolean;
  /** What to do, or what is right already, in one sentence. */
  readonly title: string;
  /** What it is good for, in one sentence. */
  readonly why: string;
  /** Commands for a shell, in order. */
  readonly commands: readonly string[];
  /** A file, and lines that belong into it. */
  readonly file?: { readonly path: string; readonly lines: readonly string[] };
}

/** A machine's state and what to do. */
export interface TimeSetup {
  /** What was seen. */
  readonly facts: TimeFacts;
  /** Its hardware clocks. */
  readonly ptp: PtpDevices;
  /** What to do, the most useful first. */
  readonly steps: readonly TimeSetupStep[];
}

/** Options of {@linkcode inspectTimeSetup} and {@linkcode applyTimeSetup}. */
export interface TimeSetupOptions {
  /** Folder that stands for `/`, for tests. Default `/`. */
  readonly root?: string;
  /** The C library; `null` for none. Default: this machine's, where FFI is granted. */
  readonly calls?: SystemCalls | null;
}

/** What was written. */
export interface TimeSetupApplied {
  /** The rule's file. */
  readonly path: string;
  /** Whether it was written now; else it stood there already. */
  readonly written: boolean;
}

/**
 * Looks at the machine's clocks and time services; changes nothing and asks for no permission.
 *
 * @param options Where to look, for tests.
 * @returns What was seen, and what to do.
 * @throws {MmsbError} `usage` if an option is none.
 *
 * @example On any machine
 * ```ts
 * import { ok } from "node:assert/strict";
 *
 * const { steps } = inspectTimeSetup();
 *
 * ok(steps.some(({ id }) => id === "chrony"));
 * ok(steps.every(({ done, commands }) => !done || commands.length === 0));
 * ```
 */
export function inspectTimeSetup(options: TimeSetupOptions = {}): TimeSetup {
  const root = rootOf("inspectTimeSetup", options);
  const { calls = systemCalls() ?? null } = options;
  const facts = detectFacts(root, calls);
  const ptp = findPtpDevices({ root: root === "" ? "/" : root, calls });
  const steps = [
    serviceStep(facts, ptp),
    // A container cannot change the machine below.
    ...(facts.isContainer ? [] : hostSteps(facts, ptp)),
    ...rightsSteps(ptp, root),
    ...cardSteps(facts, ptp),
    ...permissionSteps(facts),
  ];
  return { facts, ptp, steps: steps.sort((a, b) => Number(a.done) - Number(b.done)) };
}

/**
 * Writes the rule that lets the group `clock` read the hardware clocks, and nothing else. Doing it again changes nothing.
 *
 * @param options Where, for tests.
 * @returns The file, and whether it is new.
 * @throws {MmsbError} `io` if it cannot be written: only root may; `usage` if another file stands in its place, which is left as it is.
 */
export function applyTimeSetup(options: TimeSetupOptions = {}): TimeSetupApplied {
  const path = `${rootOf("applyTimeSetup", options)}${RULE_PATH}`;
  return { path, written: writeRule(path) };
}

function rootOf(name: string, options: TimeSetupOptions): string {
  checkKeys(name, options, ["root", "calls"]);
  return checkType("root", options.root ?? "/", "string").replace(/\/+$/, "");
}

/** Who keeps the system's clock, or is to. */
function serviceStep(facts: TimeFacts, ptp: PtpDevices): TimeSetupStep {
  const step = { id: "chrony", done: true, commands: [] };
  const running = facts.services.filter(({ state, name }) =>
    state === "running" && name !== "ptp4l"
  );
  if (running.some(({ name }) => name === "chronyd")) {
    return {
      ...step,
      title: "chronyd keeps the system's clock",
      why: "MMSB asks it how wrong the clock may be",
    };
  }
  if (facts.isContainer) return containerStep(facts);
  if (running.length > 0) {
    return {
      ...step,
      title: `${running[0].name} keeps the system's clock`,
      why: "It tells the kernel how wrong the clock may be, with a wider bound than chronyd's",
    };
  }
  if (facts.kernelClock === "kept") {
    return {
      ...step,
      title: "A time service keeps the system's clock: the kernel says so",
      why: "Which one cannot be seen from here",
    };
  }
  return chronyStep(facts, ptp);
}

/** A container cannot set the clock that it shares, so what is to be done is to be done below it. */
function containerStep({ kernelClock }: TimeFacts): TimeSetupStep {
  const step = { id: "chrony", done: kernelClock === "kept", commands: [] };
  const why =
    "A container shares the clock of the machine below and cannot set it; one time service there serves all";
  switch (kernelClock) {
    case "kept":
      return { ...step, title: "This is a container, and the machine below keeps its clock", why };
    case "unkept":
      return {
        ...step,
        title:
          "This is a container: run a time service (chrony) on the machine below, as none keeps its clock",
        why: `${why}. If you cannot, name NTP servers: they need nothing but the network`,
      };
    case "unknown":
      return {
        ...step,
        title: "This is a container: see to it that the machine below runs a time service (chrony)",
        why: `${why}. Whether it does cannot be seen from here`,
      };
  }
}

function chronyStep(
  { services, kernelClock, chronyPath }: TimeFacts,
  ptp: PtpDevices,
): TimeSetupStep {
  const state = services.find(({ name }) => name === "chronyd")?.state;
  const isInstalled = state === "installed";
  const isSure = kernelClock === "unkept" || services.every(({ state }) => state !== "unseen");
  const nobody = isSure ? ", as nobody keeps the system's clock" : ", if it does not run yet";
  return {
    id: "chrony",
    done: false,
    title: isInstalled
      ? `Start chronyd${nobody}: it is installed`
      : `Install ${state === "unseen" ? "or start " : ""}chrony${nobody}`,
    why:
      "Without a time service a clock drifts by seconds a day, and its bound is a guess of 100 ms",
    commands: [
      ...(isInstalled ? [] : ["apt-get install chrony   # or: dnf install chrony"]),
      "systemctl enable --now chrony   # on some systems it is called chronyd",
    ],
    ...(ptp.devices.length > 0 || isInstalled
      ? {}
      : { file: { path: chronyPath, lines: ["pool pool.ntp.org iburst"] } }),
  };
}

/** Clocks and servers that a host offers. */
function hostSteps(facts: TimeFacts, ptp: PtpDevices): TimeSetupStep[] {
  const has = (name: RegExp) => ptp.devices.some((device) => name.test(device.clockName));
  switch (facts.host) {
    case "azure":
    case "hyperv":
      return [refclockStep(facts, {
        title: "the clock of the Hyper-V host",
        line: "refclock PHC /dev/ptp_hyperv poll 3 dpoll -2 offset 0",
        commands: has(/hyperv/) ? [] : ["modprobe hv_utils   # brings /dev/ptp_hyperv"],
      })];
    case "ec2":
      return [
        refclockStep(facts, {
          title: "Amazon's time server, which every machine there can reach",
          line: "server 169.254.169.123 prefer iburst minpoll 4 maxpoll 4",
          commands: [],
        }),
        ...(ptp.devices.some(({ clockName, driver }) => /^ena/.test(clockName) || driver === "ena")
          ? [refclockStep(facts, {
            title: "the hardware clock of Amazon Nitro",
            line: `refclock PHC ${pathOf(ptp, /^ena/)} poll 0 delay 0.000010 prefer`,
            commands: [],
          })]
          : []),
      ];
    case "google":
      return [
        refclockStep(facts, {
          title: "Google's time server, which smears leap seconds: use no other beside it",
          line: "server metadata.google.internal iburst",
          commands: [],
        }),
        ...(has(/KVM/) ? [kvmStep(facts, true)] : []),
      ];
    case "kvm":
      return [kvmStep(facts, has(/KVM/))];
    case "vmware":
    case "none":
      return [];
  }
}

function kvmStep(facts: TimeFacts, isLoaded: boolean): TimeSetupStep {
  return refclockStep(facts, {
    title: "the clock of the KVM host",
    line: "refclock PHC /dev/ptp_kvm poll 2 dpoll -2 offset 0",
    commands: isLoaded ? [] : [
      "modprobe ptp_kvm",
      "echo ptp_kvm > /etc/modules-load.d/ptp_kvm.conf   # again after each start",
    ],
  });
}

function refclockStep(
  facts: TimeFacts,
  clock: { title: string; line: string; commands: readonly string[] },
): TimeSetupStep {
  const word = clock.line.split(" ").slice(0, clock.line.startsWith("refclock") ? 3 : 2).join(" ");
  const isThere = facts.chronySettings.split("\n").some((line) => line.trim().startsWith(word));
  const done = isThere && clock.commands.length === 0;
  const { chronyPath } = facts;
  return {
    id: `chrony-source ${word}`,
    done,
    title: done ? `chrony follows ${clock.title}` : `Let chrony follow ${clock.title}`,
    why:
      "A clock so near has a bound of microseconds, where servers of the internet have milliseconds",
    commands: done ? [] : [...clock.commands, "systemctl restart chrony"],
    ...(isThere ? {} : { file: { path: chronyPath, lines: [clock.line] } }),
  };
}

function pathOf(ptp: PtpDevices, name: RegExp): string {
  return ptp.devices.find(({ clockName, driver }) => name.test(clockName) || name.test(driver))
    ?.path ?? "/dev/ptp0";
}

/** The rule for udev and its group. */
function rightsSteps(ptp: PtpDevices, root: string): TimeSetupStep[] {
  if (ptp.devices.length === 0) return [];
  const denied = ptp.devices.filter(({ unreadable }) => /may not/.test(unreadable ?? ""));
  const state = ruleState(`${root}${RULE_PATH}`);
  const why = "A program that is not root cannot read a hardware clock otherwise";
  if (denied.length === 0 && state !== "absent") {
    return [{
      id: "ptp-rights",
      done: true,
      title: "The hardware clocks can be read",
      why,
      commands: [],
    }];
  }
  const where = { path: RULE_PATH, lines: RULE_TEXT.trimEnd().split("\n") };
  return [{
    id: "ptp-rights",
    done: false,
    title: denied.length === 0
      ? "Let others than this user read the hardware clocks, if they are to"
      : `Let this user read ${denied.map(({ path }) => path).join(", ")}`,
    why,
    commands: [
      `groupadd --system --force ${RULE_GROUP}`,
      ...(state === "ours" ? [] : ["mmsb clock setup --apply   # writes the rule below"]),
      "udevadm control --reload && udevadm trigger --subsystem-match=ptp",
      `usermod --append --groups ${RULE_GROUP} USER   # the user of the program; log in again`,
    ],
    ...(state === "ours" ? {} : { file: where }),
  }];
}

/** Clocks of network cards show the time only if a daemon keeps them. */
function cardSteps({ services }: TimeFacts, ptp: PtpDevices): TimeSetupStep[] {
  const cards = ptp.devices.filter(({ kind }) => !kind.isHostKept);
  if (cards.length === 0) return [];
  const isRunning = services.some(({ name, state }) => name === "ptp4l" && state === "running");
  return [{
    id: "ptp4l",
    done: isRunning,
    title: isRunning
      ? "ptp4l runs: open the card's clock with `disciplined: true`"
      : `If your network has PTP, let ptp4l keep ${cards.map(({ path }) => path).join(", ")}`,
    why:
      "A network card's clock shows whatever was written into it: it is the time only while a PTP daemon keeps it",
    commands: isRunning ? [] : [
      "apt-get install linuxptp",
      "ptp4l -i INTERFACE -s -m   # the card follows the network's clock",
      "phc2sys -s INTERFACE -w -m   # the system's clock follows the card",
    ],
  }];
}

function permissionSteps({ mayCall, mayAsk, seesSystem }: TimeFacts): TimeSetupStep[] {
  const missing = [
    ...(mayCall
      ? []
      : [["permission-ffi", "--allow-ffi", "the kernel's bound and hardware clocks"]]),
    ...(mayAsk ? [] : [["permission-net", "--allow-net", "chronyd and time servers"]]),
    ...(seesSystem
      ? []
      : [["permission-all", "--allow-all", "the files that tell host, services and clocks"]]),
  ];
  return missing.map(([id, flag, what]) => ({
    id,
    done: false,
    title: `Run Deno with ${flag} to use ${what}`,
    why: "Deno keeps a program from the system unless it is told otherwise",
    commands: [],
  }));
}
