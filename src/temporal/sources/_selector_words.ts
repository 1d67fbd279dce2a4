/** Why a source of a selector is selected or not, in words. */
import { reasonOf } from "../../base/errors.ts";
import type { ClockSource, ClockStatus } from "./clock_source.ts";
import type { SourceStanding, SourceState } from "./clock_selector_status.ts";
import type { SelectionRule } from "./_selector_rule.ts";
import type { Sight } from "./_selector_sight.ts";
import { durationText } from "./duration_text.ts";

/** How a source stands, for people and monitors. */
export function standingOf(
  index: number,
  sights: readonly Sight[],
  rule: SelectionRule,
): SourceStanding {
  const { source, kind } = sights[index];
  const state = stateOf(index, sights, rule);
  return {
    name: source.name,
    kind,
    state,
    why: whyState(state, index, sights, rule),
    status: statusOf(source),
  };
}

/** What a source says of itself; one that breaks its word and throws has no time. */
export function statusOf(source: ClockSource): ClockStatus {
  try {
    return source.status();
  } catch (error) {
    return {
      name: source.name,
      kind: source.kind,
      synchronised: false,
      reason: `it fails: ${reasonOf(error)}`,
      nowNs: 0n,
      errorNs: Infinity,
      bound: [],
      offsetNs: NaN,
      driftPpm: NaN,
      lastSyncAgeS: Infinity,
      syncs: 0,
      failures: 0,
      details: {},
    };
  }
}

function stateOf(index: number, sights: readonly Sight[], rule: SelectionRule): SourceState {
  if (index === rule.selected) return "selected";
  const { tier, isFalse, isOnProbation } = rule.standings[index];
  if (isFalse) return "false";
  if (!sights[index].hasTime) return "silent";
  if (tier < 2) return "unsynchronised";
  return isOnProbation ? "waiting" : "ready";
}

function whyState(
  state: SourceState,
  index: number,
  sights: readonly Sight[],
  rule: SelectionRule,
): string {
  switch (state) {
    case "selected":
      return whySelected(index, sights, rule);
    case "waiting":
      return "it was lost, and has not been good for long enough since";
    case "ready": {
      const bound = durationText(sights[index].errorNs);
      return rule.manual >= 0
        ? "another was chosen by hand"
        : rule.isDisputed
        ? "the sources contradict each other, so the selected one stays"
        : `its bound, ${bound}, is not clearly smaller, or not for long enough`;
    }
    default:
      return whyBad(index, sights, rule);
  }
}

function whySelected(index: number, sights: readonly Sight[], rule: SelectionRule): string {
  if (rule.manual >= 0) return "it was chosen by hand";
  if (rule.isDisputed) return "the sources contradict each other, and it was selected before";
  if (rule.standings[index].tier === 2) {
    return sights.length === 1 ? "it is good" : "it is good, and none is clearly better";
  }
  return sights.length === 1 ? "there is no other" : "no other is better: nobody vouches for any";
}

/** Why a source is not good, in words that go on after a colon. */
export function whyBad(index: number, sights: readonly Sight[], rule: SelectionRule): string {
  const sight = sights[index];
  if (rule.standings[index].isFalse) {
    const [fair] = sights.filter((_, other) => rule.standings[other].tier === 2);
    const awayNs = fair === undefined ? NaN : sight.middleNs - fair.middleNs;
    return Number.isNaN(awayNs)
      ? "the others contradict it"
      : `the others contradict it: it is ${durationText(Math.abs(awayNs))} ${
        awayNs < 0 ? "behind" : "ahead of"
      } ${fair.source.name}`;
  }
  const said = statusOf(sight.source).reason;
  return said ?? (sight.hasTime ? "nobody vouches for its time" : "it has no time");
}
