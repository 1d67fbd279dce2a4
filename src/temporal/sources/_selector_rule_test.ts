/** The rule of selection against a model that looks through the whole history each time, and the vote against counting. */
import { deepEqual, equal } from "node:assert/strict";
import fc from "fast-check";
import { SelectionRule } from "./_selector_rule.ts";
import { type Candidate, vote } from "./_selector_vote.ts";
import type { ClockKind } from "./clock_source.ts";

const KINDS: readonly ClockKind[] = ["ptp", "daemon", "sntp", "system", "simulated"];

const candidate: fc.Arbitrary<Candidate> = fc.record({
  kind: fc.constantFrom(...KINDS),
  hasTime: fc.boolean(),
  isSynchronised: fc.boolean(),
  isHeard: fc.boolean(),
  low: fc.integer({ min: 0, max: 12 }),
  width: fc.integer({ min: 0, max: 6 }),
  errorNs: fc.constantFrom(1, 2, 3, 4, 8, 100),
}).map(({ low, width, ...rest }) => ({ ...rest, low, high: low + width }));

/** The vote by counting at each point, whole ones and those between. */
function counted(
  candidates: readonly Candidate[],
): { isDisputed: boolean; falsetickers: number[] } {
  const heard = candidates.filter(({ isHeard }) => isHeard);
  const voters = heard.filter(({ kind }) =>
    kind !== "system" || !heard.some((other) => other.kind === "daemon")
  );
  if (voters.length === 0) return { isDisputed: false, falsetickers: [] };
  const points = Array.from({ length: 50 }, (_, index) => index / 2);
  const counts = points.map((at) =>
    voters.filter(({ low, high }) => low <= at && at <= high).length
  );
  const most = Math.max(...counts);
  const places = points.filter((_, index) => counts[index] === most);
  const runs = places.filter((at) => !places.includes(at - 0.5)).length;
  if (most * 2 <= voters.length || runs > 1) return { isDisputed: true, falsetickers: [] };
  const falsetickers = [...candidates.keys()].filter((index) =>
    heard.includes(candidates[index]) &&
    !places.some((at) => candidates[index].low <= at && at <= candidates[index].high)
  );
  return { isDisputed: false, falsetickers };
}

Deno.test("vote() finds the falsetickers that counting finds", () => {
  fc.assert(
    fc.property(fc.array(candidate, { maxLength: 6 }), (candidates) => {
      const { isDisputed, falsetickers } = vote(candidates);
      deepEqual({ isDisputed, falsetickers: [...falsetickers] }, counted(candidates));
    }),
    { numRuns: 3000 },
  );
});

interface Look {
  readonly at: number;
  readonly candidates: readonly Candidate[];
}

const HOLD = 3, BACK = 5, FACTOR = 2;

/** The choice after each look, each from all looks before it. */
function modelOf(looks: readonly Look[]): number[] {
  const chosen: number[] = [];
  const tiers: number[][] = [];
  const tierAt = (look: number, source: number): number => tiers[look][source];
  looks.forEach(({ candidates }, look) => {
    const wasGood = candidates.map((_, source) => tiers.some((before) => before[source] === 2));
    for (const [source, one] of candidates.entries()) {
      const { kind, hasTime, isSynchronised } = one;
      one.isHeard = hasTime && (isSynchronised || wasGood[source] && kind !== "system");
    }
    const { falsetickers } = counted(candidates);
    tiers[look] = candidates.map(({ kind, hasTime, isSynchronised }, source) => {
      if (!hasTime || falsetickers.includes(source)) return 0;
      return isSynchronised ? 2 : kind === "system" || wasGood[source] ? 1 : 0;
    });
  });
  /** First look of the run up to `look` in which something held. */
  const since = (look: number, holds: (look: number) => boolean): number => {
    let first = look;
    while (first > 0 && holds(first - 1)) first--;
    return first;
  };
  const isWaiting = (look: number, source: number): boolean => {
    const first = since(look, (one) => tierAt(one, source) === 2);
    const wasGoodBefore = looks.slice(0, first).some((_, one) => tierAt(one, source) === 2);
    return wasGoodBefore && looks[look].at - looks[first].at < BACK;
  };
  const order = (look: number) => (a: number, b: number): number => {
    const [x, y] = [looks[look].candidates[a], looks[look].candidates[b]];
    return x.errorNs - y.errorNs || KINDS.indexOf(x.kind) - KINDS.indexOf(y.kind) || a - b;
  };
  const challenges = (look: number, source: number, selected: number): boolean => {
    const [mine, other] = [looks[look].candidates[source], looks[look].candidates[selected]];
    const tier = tierAt(look, source);
    return source !== selected && tier > 0 && tier === tierAt(look, selected) &&
      !(tier === 2 && (isWaiting(look, source) || counted(looks[look].candidates).isDisputed)) &&
      (mine.errorNs * FACTOR <= other.errorNs ||
        mine.errorNs <= other.errorNs && KINDS.indexOf(mine.kind) < KINDS.indexOf(other.kind));
  };
  looks.forEach(({ at, candidates }, look) => {
    const all = [...candidates.keys()], selected = chosen.at(-1);
    const best = Math.max(...all.map((source) => tierAt(look, source)));
    const there = all.filter((source) => tierAt(look, source) === best).sort(order(look));
    const proven = there.filter((source) => best < 2 || !isWaiting(look, source));
    if (selected === undefined || tierAt(look, selected) < best) {
      chosen.push(proven[0] ?? there[0]);
      return;
    }
    const came = since(look, (one) => chosen[one] === selected);
    const ripe = there.filter((source) => {
      if (!challenges(look, source, selected)) return false;
      const first = since(look, (one) => one > came && challenges(one, source, selected));
      return at - looks[first].at >= HOLD;
    });
    chosen.push(ripe[0] ?? selected);
  });
  return chosen;
}

Deno.test("SelectionRule chooses as the model does, whatever sources lose, regain or contradict", () => {
  const history = fc.integer({ min: 1, max: 4 }).chain((count) =>
    fc.tuple(
      fc.array(fc.constantFrom(...KINDS), { minLength: count, maxLength: count }),
      fc.array(
        fc.record({
          passed: fc.integer({ min: 0, max: 4 }),
          // Most looks see the same as the one before, or else nothing would ever be held.
          changed: fc.integer({ min: 0, max: 2 }),
          candidates: fc.array(candidate, { minLength: count, maxLength: count }),
        }),
        { minLength: 1, maxLength: 25 },
      ),
    )
  );
  let switches = 0;
  fc.assert(
    fc.property(history, ([kinds, steps]) => {
      const looks: Look[] = [];
      const now = kinds.map((kind) => ({
        kind,
        hasTime: true,
        isSynchronised: true,
        isHeard: false,
        low: 0,
        high: 12,
        errorNs: 8,
      }));
      let at = 0;
      for (const { passed, changed, candidates } of steps) {
        at += passed;
        const index = changed < kinds.length ? changed : 0;
        now[index] = { ...candidates[index], kind: kinds[index] };
        // Rather good than not.
        if (changed === 2) now[index].hasTime = now[index].isSynchronised = true;
        looks.push({ at, candidates: structuredClone(now) });
      }
      const rule = new SelectionRule(kinds.length, {
        betterFactor: FACTOR,
        holdNs: HOLD,
        failBackNs: BACK,
      });
      const chosen = looks.map((look) => {
        rule.decide(look.at, look.candidates);
        return rule.selected;
      });
      deepEqual(chosen, modelOf(structuredClone(looks)));
      switches += new Set(chosen).size - 1;
    }),
    { numRuns: 2000 },
  );
  equal(switches > 100, true);
});
