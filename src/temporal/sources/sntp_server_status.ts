/** How a server of an SNTP clock does, as people and monitors see it. */

/** How one server does, for people and monitors. */
export interface SntpServerStatus {
  /** `host:port`, as it was named. */
  readonly name: string;
  /** The numeric address that answers; "" while none does. */
  readonly address: string;
  /** `selected`: it is part of the majority. `falseticker`: the majority contradicts it. */
  readonly state: "new" | "selected" | "falseticker" | "refused" | "silent" | "kiss" | "unresolved";
  /** Why it is not selected, in one sentence; "" where it is. */
  readonly reason: string;
  /** The last eight syncs, newest in bit 0: 1 where it gave a usable answer. */
  readonly reach: number;
  /** Its stratum; NaN where it gave no answer. */
  readonly stratum: number;
  /** Whom it gets its time from: an address, or the letters of a reference clock. */
  readonly referenceId: string;
  /** Its time less this clock's, ns; NaN where it gave no answer. */
  readonly offsetNs: number;
  /** Shortest round trip of its last burst, ns; NaN where it gave no answer. */
  readonly delayNs: number;
  /** Its own statement of how wrong it may be: root delay / 2 and root dispersion, ns. */
  readonly rootDistanceNs: number;
  /** How much its offsets scatter, ns. */
  readonly jitterNs: number;
  /** Datagrams from its address that answered no question. */
  readonly foreign: number;
}
