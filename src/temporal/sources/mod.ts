/**
 * Sources of time: each says what time it is, and how wrong that may be.
 *
 * @module
 */

export * from "./cached_clock.ts";
export * from "./chrony_clock.ts";
export * from "./clock_calibration.ts";
export * from "./clock_event.ts";
export * from "./clock_line.ts";
export * from "./clock_selector.ts";
export * from "./clock_selector_status.ts";
export * from "./clock_source.ts";
export * from "./duration_text.ts";
export * from "./intersection.ts";
export * from "./interval_clock.ts";
export * from "./kernel_report.ts";
export * from "./peer_latency.ts";
export * from "./peer_latency_responder.ts";
export * from "./ptp_clock.ts";
export * from "./ptp_devices.ts";
export * from "./robust_line.ts";
export * from "./simulated_clock.ts";
export * from "./sntp_clock.ts";
export * from "./sntp_options.ts";
export * from "./sntp_packet.ts";
export * from "./sntp_server_status.ts";
export * from "./sntp_surroundings.ts";
export * from "./sntp_transport.ts";
export * from "./system_calls.ts";
export * from "./system_clock.ts";
export * from "./time_setup.ts";
