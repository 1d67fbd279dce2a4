/**
 * The one file that a setup writes: a rule for udev that lets a group read the hardware clocks.
 *
 * It is written under another name, synced, and linked to its place, which fails where something stands already: a file is there
 * whole or not at all, and nobody's file is overwritten.
 */
import { closeSync, fsyncSync, linkSync, openSync, readFileSync, rmSync, writeSync } from "node:fs";
import { MmsbError } from "../../base/errors.ts";

/** Where the rule belongs. */
export const RULE_PATH = "/etc/udev/rules.d/60-mmsb-ptp.rules";
/** The group that it lets read. */
export const RULE_GROUP = "clock";
/** The rule. */
export const RULE_TEXT =
  `# Lets the group "${RULE_GROUP}" read hardware clocks, and names those of a host. Written by \`mmsb clock setup\`.
SUBSYSTEM=="ptp", GROUP="${RULE_GROUP}", MODE="0640"
SUBSYSTEM=="ptp", ATTR{clock_name}=="hyperv", SYMLINK+="ptp_hyperv"
SUBSYSTEM=="ptp", ATTR{clock_name}=="KVM virtual PTP", SYMLINK+="ptp_kvm"
`;

/** What stands in the rule's place: nothing, our rule, or somebody else's. */
export function ruleState(path: string): "absent" | "ours" | "other" {
  try {
    return readFileSync(path, "utf8") === RULE_TEXT ? "ours" : "other";
  } catch (error) {
    return codeOf(error) === "ENOENT" ? "absent" : "other";
  }
}

/** Writes the rule; whether it was not there before. */
export function writeRule(path: string): boolean {
  const state = ruleState(path);
  if (state === "ours") return false;
  if (state === "other") throw standing(path);
  const temporary = path.replace(/[^/]+$/, (name) => `.${name}.${crypto.randomUUID()}`);
  try {
    const file = openSync(temporary, "wx", 0o644);
    try {
      writeSync(file, RULE_TEXT);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    linkSync(temporary, path);
    return true;
  } catch (cause) {
    if (codeOf(cause) === "EEXIST" && ruleState(path) === "ours") return false;
    throw codeOf(cause) === "EEXIST" ? standing(path) : failed(path, cause);
  } finally {
    rmSync(temporary, { force: true });
  }
}

function standing(path: string): MmsbError {
  return new MmsbError(
    "usage",
    `Cannot write ${
      JSON.stringify(path)
    } as another file stands there: look at it and move it away`,
    { values: { path } },
  );
}

function failed(path: string, cause: unknown): MmsbError {
  const code = codeOf(cause);
  const why = code === "EACCES" || code === "EPERM" || isNotCapable(cause)
    ? "only root may: run the command with sudo"
    : code === "ENOENT"
    ? "there is no such folder, so udev is not here; in a container do it on the machine below"
    : cause instanceof Error
    ? cause.message
    : String(cause);
  return new MmsbError("io", `Cannot write ${JSON.stringify(path)}: ${why}`, {
    values: { path },
    cause,
  });
}

function isNotCapable(error: unknown): boolean {
  return error instanceof Error && error.name === "NotCapable";
}

function codeOf(error: unknown): string {
  return (error as { code?: string })?.code ?? "";
}
