/**
 * A fault that was planted in a log: the log that has it, and how it must be found.
 */

import type { LogAudit, LogFault, LogFaultName, MemoryStorage } from "../log/mod.ts";
import { catalogueFault } from "./catalogue.ts";

/** Where a fault must be found. */
export type PlantedPlace = Pick<LogFault, "file" | "offset" | "tick">;

/** A fault in a log. */
export interface PlantedFault {
  /** The fault, by its id in the catalogue. */
  readonly id: string;
  /** What was done, as the catalogue says it. */
  readonly name: string;
  /** The log that has it. */
  readonly storage: MemoryStorage;
  /** How it must be found. */
  readonly expected: Pick<LogFault, "kind" | "fault"> & PlantedPlace;
  /** Whether the place in the file depends on what the log happens to hold. */
  readonly anywhere?: boolean;
}

/** A fault of the catalogue at its place. */
export function plantedFault(
  id: string,
  storage: MemoryStorage,
  place: PlantedPlace,
  kind: LogFault["kind"] = "damage",
): PlantedFault {
  const { title, finding } = catalogueFault(id);
  const { file, offset, tick } = place, fault = finding as LogFaultName;
  return { id, name: title, storage, expected: { kind, fault, file, offset, tick } };
}

/** Whether an audit found a planted fault where it is, by its name. */
export function isFound({ expected, anywhere }: PlantedFault, { problems }: LogAudit): boolean {
  return problems.some((problem) =>
    problem.kind === expected.kind && problem.fault === expected.fault &&
    problem.file === expected.file &&
    (anywhere || problem.offset === expected.offset && problem.tick === expected.tick)
  );
}
