/**
 * Causal order: what happened before what, and delivery in that order.
 *
 * @module
 */

export { Vector, VectorClock, type VectorOrder, VectorTime } from "./vector_clock.ts";
export {
  type DecodeVectorOptions,
  decodeVectorTime,
  encodeVector,
  vectorBytes,
} from "./vector_clock_wire.ts";
export {
  compareCausal,
  HybridCausalClock,
  type HybridCausalClockOptions,
  type HybridCausalStamp,
  timestampOfStamp,
} from "./hybrid_causal_clock.ts";
export {
  decodeCausalMessage,
  decodeCausalStamp,
  encodeCausalMessage,
  encodeCausalStamp,
} from "./hybrid_causal_clock_wire.ts";
export * from "./causal_message.ts";
export { CausalQueue } from "./causal_queue.ts";
export {
  type CausalEvent,
  type CausalEventInput,
  CausalGraph,
  type CausalGraphOptions,
  type CausalRelation,
  type CausalSet,
  type EventId,
  type EventRange,
  stableCut,
  type VectorEntries,
} from "./causal_graph.ts";
export {
  type DeadlockActions,
  type DeadlockReport,
  type DeadlockResolution,
  type DetectOptions,
  WaitGraph,
  type WaitGraphOptions,
  type WaitId,
  type WaitInput,
} from "./wait_graph.ts";
export {
  DEADLOCK_STRATEGIES,
  type DeadlockLevel,
  type DeadlockSeverity,
  type DeadlockStrategy,
  type DeadlockVictim,
  type Wait,
  type WaitCycle,
} from "./deadlock.ts";
export {
  endCausalDeadlocks,
  endDeadlocks,
  type HeldCausalMessage,
  type HeldMessage,
  type HoldingCausalQueue,
  type HoldingQueue,
  waitsOfCausalQueue,
  waitsOfQueue,
} from "./deadlock_queue.ts";
