/**
 * Sources of time: each says what time it is, and how wrong that may be.
 *
 * @module
 */

export { CachedClock, type CachedClockOptions } from "./cached_clock.ts";
export { ChronyClock, type ChronyClockOptions } from "./chrony_clock.ts";
export {
  ClockCalibration,
  type ClockCalibrationOptions,
  type ClockCalibrationState,
} from "./clock_calibration.ts";
export type { ClockEvent, ClockEventKind, ClockEventStream, ClockStep } from "./clock_event.ts";
export { ClockSelector } from "./clock_selector.ts";
export type {
  ClockSelectorOpenOptions,
  ClockSelectorOptions,
  ClockSelectorSettings,
  RepeatingTimer,
  SelectorStatus,
  SourceStanding,
  SourceState,
} from "./clock_selector_status.ts";
export {
  type BoundPart,
  type ClockKind,
  ClockReading,
  type ClockSource,
  type ClockStatus,
  type SteadyCounter,
} from "./clock_source.ts";
export { durationText } from "./duration_text.ts";
export {
  type CommitWaitOptions,
  compareIntervals,
  IntervalClock,
  type IntervalClockOptions,
  type IntervalOrder,
  type TimeInterval,
} from "./interval_clock.ts";
export {
  PeerLatency,
  type PeerLatencyOptions,
  type PeerLatencyStatistics,
} from "./peer_latency.ts";
export {
  PeerLatencyResponder,
  type PeerLatencyResponderOptions,
} from "./peer_latency_responder.ts";
export { PtpClock, type PtpClockOptions } from "./ptp_clock.ts";
export {
  findPtpDevices,
  type PtpDevice,
  type PtpDevices,
  type PtpDevicesOptions,
  type PtpKind,
  ptpKindOf,
} from "./ptp_devices.ts";
export { fitRobustLine, type RobustLine } from "./robust_line.ts";
export {
  SimulatedClock,
  type SimulatedClockOptions,
  type SimulatedEvents,
} from "./simulated_clock.ts";
export { SntpClock } from "./sntp_clock.ts";
export { SNTP_SERVERS_MAX, type SntpClockOptions, type SntpServerPlace } from "./sntp_options.ts";
export type { SntpServerStatus } from "./sntp_server_status.ts";
export type { SntpSurroundings } from "./sntp_surroundings.ts";
export type { SntpAsk, SntpResolved, SntpTransport } from "./sntp_transport.ts";
export {
  steadyCounter,
  type SystemCalls,
  systemCalls,
  type SystemClockNumbers,
} from "./system_calls.ts";
export { SystemClock, type SystemClockOptions, UNSYNCHRONISED_ERROR_NS } from "./system_clock.ts";
export {
  applyTimeSetup,
  inspectTimeSetup,
  type TimeFacts,
  type TimeHost,
  type TimeService,
  type TimeSetup,
  type TimeSetupApplied,
  type TimeSetupOptions,
  type TimeSetupStep,
} from "./time_setup.ts";
