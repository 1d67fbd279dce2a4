/**
 * Sources of time: each says what time it is, and how wrong that may be.
 *
 * @module
 */

export * from "./clock_line.ts";
export * from "./clock_source.ts";
