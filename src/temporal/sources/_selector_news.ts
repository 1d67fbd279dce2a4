/** What a selector tells its readers after a look, and the last steps of time. */
import type { ClockEventKind, ClockStep } from "./clock_event.ts";
import { durationText } from "./duration_text.ts";
import { ClockEventHub } from "./_selector_events.ts";
import type { SelectionRule } from "./_selector_rule.ts";
import type { Sight } from "./_selector_sight.ts";
import { whyBad } from "./_selector_words.ts";

/** Steps that the status shows. */
const STEPS_KEPT = 16;

/** The news of one selector. */
export class SelectorNews {
  /** Its readers. */
  readonly hub = new ClockEventHub();
  /** How often another source was selected. */
  switches = 0;
  readonly #sights: readonly Sight[];
  readonly #rule: SelectionRule;
  readonly #steps: ClockStep[] = [];
  readonly #isGood: boolean[];
  readonly #wasEverGood: boolean[];
  #wasDisputed = false;

  /** Nothing has happened yet. */
  constructor(sights: readonly Sight[], rule: SelectionRule) {
    this.#sights = sights;
    this.#rule = rule;
    this.#isGood = sights.map(() => false);
    this.#wasEverGood = sights.map(() => false);
  }

  /** The last steps, newest last. */
  get steps(): ClockStep[] {
    return [...this.#steps];
  }

  /** There is one source more, behind the others: `sights` holds it already. */
  add(): void {
    this.#isGood.push(false);
    this.#wasEverGood.push(false);
  }

  /** Tells what changed in a look; `before` is the place of the one that was selected, -1 for none. */
  tell(before: number): void {
    this.#sights.forEach((sight, index) => this.#tellStanding(sight, index));
    const { selected, isDisputed } = this.#rule;
    const sight = this.#sights[selected];
    if (before !== selected) this.#tellSwitch(sight, this.#sights[before]);
    else if (sight.jumpNs !== 0) this.#tellJump(sight);
    if (isDisputed === this.#wasDisputed) return;
    this.#wasDisputed = isDisputed;
    if (isDisputed) {
      const { name } = sight.source;
      const message = "The sources contradict each other, and no majority says who is right: " +
        `time comes from ${name}`;
      this.emit("disagreement", sight, message);
    } else this.emit("agreement", sight, "The sources no longer contradict each other");
  }

  /** Forgets the steps so far. */
  forget(): void {
    this.#steps.length = 0;
    this.switches = 0;
  }

  /** Tells one thing. */
  emit(kind: ClockEventKind, sight: Sight, message: string, stepNs = 0, previous = ""): void {
    if (this.hub.isIdle) return;
    const { source: { name: source }, timeNs } = sight;
    this.hub.emit({ kind, source, previous, stepNs, timeNs, message });
  }

  #tellStanding(sight: Sight, index: number): void {
    const isGood = this.#rule.standings[index].tier === 2, { name } = sight.source;
    if (isGood === this.#isGood[index]) return;
    this.#isGood[index] = isGood;
    if (!isGood) {
      if (this.hub.isIdle) return;
      this.emit("lost", sight, `${name} was lost: ${whyBad(index, this.#sights, this.#rule)}`);
    } else if (this.#wasEverGood[index]) this.emit("recovered", sight, `${name} is good again`);
    else this.emit("ready", sight, `${name} is good`);
    this.#wasEverGood[index] = true;
  }

  #tellSwitch(sight: Sight, previous: Sight | undefined): void {
    if (previous === undefined) return;
    this.switches++;
    const isKnown = previous.hasTime && sight.hasTime;
    const stepNs = isKnown ? Math.round(sight.middleNs - previous.middleNs) : NaN;
    const { name } = sight.source, { name: from } = previous.source;
    this.#keep(stepNs, sight, from);
    const message = `Time comes from ${name} now, not from ${from}: its bound is ${
      durationText(sight.errorNs)
    }, that of ${from} ${durationText(previous.errorNs)}; time ${stepText(stepNs)}`;
    this.emit("selected", sight, message, stepNs, from);
  }

  #tellJump(sight: Sight): void {
    const stepNs = Math.round(sight.jumpNs), { name } = sight.source;
    this.#keep(stepNs, sight, name);
    this.emit("step", sight, `The time of ${name} ${stepText(stepNs)} by itself`, stepNs, name);
  }

  #keep(stepNs: number, { source, timeNs }: Sight, previous: string): void {
    this.#steps.push({ stepNs, timeNs, previous, source: source.name });
    if (this.#steps.length > STEPS_KEPT) this.#steps.shift();
  }
}

function stepText(stepNs: number): string {
  if (Number.isNaN(stepNs)) return "steps by an unknown amount";
  if (stepNs === 0) return "does not step";
  return `steps ${stepNs < 0 ? "back" : "ahead"} by ${durationText(Math.abs(stepNs))}`;
}
