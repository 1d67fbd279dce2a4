/**
 * What a selector of clocks tells of: who is selected, who was lost, who contradicts whom, and by how much time stepped.
 */

/**
 * Kinds of events.
 *
 * | kind           | when                                                                     |
 * | -------------- | ------------------------------------------------------------------------ |
 * | `ready`        | a source is good for the first time                                      |
 * | `selected`     | time comes from another source from now on                               |
 * | `lost`         | a source that was good has no time, is vouched for by nobody, or is false |
 * | `recovered`    | one that was lost is good again                                          |
 * | `disagreement` | the sources contradict each other, and no majority says who is right     |
 * | `agreement`    | they no longer do                                                        |
 * | `step`         | the selected source's own time jumped                                    |
 * | `manual`       | somebody chose by hand, or gave the choice back                          |
 */
export type ClockEventKind =
  | "ready"
  | "selected"
  | "lost"
  | "recovered"
  | "disagreement"
  | "agreement"
  | "step"
  | "manual";

/** One event of a selector. */
export interface ClockEvent {
  /** What happened. */
  readonly kind: ClockEventKind;
  /** The source that it is about; of `agreement`, `disagreement` and `manual` the one that is selected then. */
  readonly source: string;
  /** Of `selected` the source that was selected before, "" for none. */
  readonly previous: string;
  /** Of `selected` and `step`: by how many ns time stepped, below 0 where it stepped back; NaN where one of the two had no time. Else 0. */
  readonly stepNs: number;
  /** Time by the selected source, in ns since the Unix epoch. */
  readonly timeNs: bigint;
  /** It in one sentence. */
  readonly message: string;
}

/** A selector's events as they come, for `for await`; leaving the loop ends it. It ends with the selector. */
export interface ClockEventStream extends AsyncIterableIterator<ClockEvent, undefined> {
  /** Events lost because nobody read them in time. */
  readonly lost: number;
  /** Events that wait to be read. */
  readonly buffered: number;
  /** Ends it. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** A step of time, as {@linkcode SelectorStatus} keeps the last ones. */
export interface ClockStep {
  /** By how many ns, below 0 back; NaN where one of the two had no time. */
  readonly stepNs: number;
  /** Time after it, in ns since the Unix epoch. */
  readonly timeNs: bigint;
  /** The source selected before, "" for none. */
  readonly previous: string;
  /** The source selected after; the same where its own time jumped. */
  readonly source: string;
}
