/**
 * The channel on which every tick of every bus in a process is told, for tools that watch a program from
 * outside it, such as `mmsb profile`: `mmsb:tick` of `node:diagnostics_channel`, with the tick's report.
 *
 * Cost: one look a tick while nobody listens.
 */

import { type Channel, channel } from "node:diagnostics_channel";

/** Tells ticks. */
export const tickChannel: Channel = channel("mmsb:tick");
