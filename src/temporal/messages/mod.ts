/**
 * Temporal messages: what they are, their bytes, batches of them, and the queue that orders them by deadline, priority and time.
 *
 * @module
 */

export * from "./deadline_class.ts";
export * from "./message.ts";
export * from "./message_batch.ts";
export * from "./message_codec.ts";
export * from "./queue_types.ts";
export * from "./temporal_queue.ts";
