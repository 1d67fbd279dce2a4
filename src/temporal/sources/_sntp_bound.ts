/**
 * What the bound of an SNTP clock is made of, for people.
 *
 * Each end of the interval comes from one sample of one server. Half the width of the interval is the bound, and each part
 * below is the mean of what it takes at both ends; what is left is the time that question and answer were on their way.
 */
import type { FilterInterval } from "./clock_filter.ts";
import type { BoundPart } from "./clock_source.ts";

/** What the bound is made of when the time is set. */
export interface SntpBoundParts {
  readonly path: number;
  readonly rootDelay: number;
  readonly rootDispersion: number;
  readonly precision: number;
  readonly age: number;
}

/** The parts of half an interval's width, in ns; they add up to it. */
export function partsOf({ low, high }: FilterInterval): SntpBoundParts {
  const half = (high.ns - low.ns) / 2;
  const mean = (a: number, b: number) => (a + b) / 2;
  const rootDelay = mean(low.sample.rootDelayNs, high.sample.rootDelayNs);
  const rootDispersion = mean(low.sample.rootDispersionNs, high.sample.rootDispersionNs);
  const precision = mean(low.sample.precisionNs, high.sample.precisionNs);
  const age = mean(low.agedNs, high.agedNs);
  const told = rootDelay + rootDispersion + precision + age;
  // Two servers whose intervals hardly overlap leave less than each of them tells.
  const part = told > half ? half / told : 1;
  return {
    path: Math.max(0, half - told),
    rootDelay: rootDelay * part,
    rootDispersion: rootDispersion * part,
    precision: precision * part,
    age: age * part,
  };
}

/**
 * The parts in words.
 *
 * @param parts When the time was set.
 * @param ownNs What reading the own clock adds.
 * @param growthNs What has been added since.
 */
export function boundParts(
  parts: SntpBoundParts,
  ownNs: number,
  growthNs: number,
): readonly BoundPart[] {
  return [
    {
      name: "network path",
      ns: parts.path,
      meaning:
        "Half the shortest way to the servers and back: nobody can tell how much of it was on which way",
    },
    {
      name: "root delay / 2",
      ns: parts.rootDelay,
      meaning: "The same for the servers' own way to a reference clock, as they state it",
    },
    {
      name: "root dispersion",
      ns: parts.rootDispersion,
      meaning: "How wrong the servers say that their clocks may have become",
    },
    {
      name: "clock steps",
      ns: parts.precision + ownNs,
      meaning: "The smallest differences that the servers' clocks and this machine's can tell",
    },
    {
      name: "age of the answers",
      ns: parts.age,
      meaning:
        "What this machine's oscillator may have run wrong by between the answers and the sync",
    },
    {
      name: "growth since the sync",
      ns: growthNs,
      meaning: "What this machine's oscillator may have run wrong by since then",
    },
  ];
}
