/**
 * Limits: the largest (and a few smallest) sizes of everything that can grow, in one place.
 *
 * Why all in one file: a system that states its limits can size its memory at start, can test what
 * happens at each of them, and never fails first at a limit that nobody chose. A number that bounds
 * a buffer, queue, cache or loop stands here, has a unit in its name, and a reason beside it.
 *
 * Cost: none; these are constants. The ones that stand in files on disk (page size, id range,
 * lanes, string lengths) cannot shrink without a new format version.
 */

const KIB = 1024;
const MIB = 1024 * KIB;
const GIB = 1024 * MIB;

/** Largest page, in bytes: an offset in a page stays a small integer and a page fits in a frame. */
export const PAGE_BYTES_MAX: number = 16 * MIB;

/** Size of a page where none is given, in bytes: the page of the operating system. */
export const PAGE_BYTES_DEFAULT = 4096;

/** Smallest page, in bytes: one slot of the arena, whose addresses count 16-byte words. */
export const PAGE_BYTES_MIN = 1;

/** Largest page id; ids are 1 … this and are never used twice in a directory's life. */
export const PAGE_ID_MAX = 4_294_967_295;

/** Shards of a new directory where no number is given: divides well over 1, 2, 3, 4, 6, 8, 12, 24 threads. */
export const SHARDS_DEFAULT = 24;

/** Most shards: a shard number is one byte in a page's row. */
export const SHARDS_MAX = 256;

/** Most lanes, and so most writer threads: the set of lanes in a frame's header has this many bits. */
export const LANES_MAX = 256;

/** Longest name of a page, region, rule or table, in UTF-8 bytes. */
export const NAME_BYTES_MAX = 1024;

/** Most metadata of one page, in bytes, keys and values together. */
export const METADATA_BYTES_MAX: number = MIB;

/** Longest binding of a rule in a log, in bytes: names, pages and parameters together. */
export const BINDING_BYTES_MAX: number = MIB;

/** Most rows of one batch: it fits in one frame and one row index fits in 24 bits. */
export const BATCH_ROWS_MAX = 16_777_216;

/** Most payload of one batch, in bytes: views past 1 GiB lose the fast path of the engine. */
export const BATCH_PAYLOAD_BYTES_MAX: number = GIB;

/** Most rows of one tick, all batches together. */
export const TICK_ROWS_MAX = 67_108_864;

/** Memory for page data where no limit is given, in bytes. */
export const MEMORY_LIMIT_BYTES_DEFAULT: number = 8 * GIB;

/** Largest memory limit of a bus, in bytes: an arena's 32-bit words have 31-bit indices. */
export const MEMORY_LIMIT_BYTES_MAX: number = 8 * GIB;

/** First segment of a lane's log, in bytes: small, so that a bus of one page costs little disk. */
export const SEGMENT_BYTES_MIN: number = 64 * KIB;

/** Full-grown segment of a lane's log, in bytes: segments double up to this, and it is the default. */
export const SEGMENT_BYTES_MAX: number = 64 * MIB;

/** Longest source or intent of a delta, in UTF-8 bytes: its length is 16 bits in a frame. */
export const STRING_BYTES_MAX = 65_535;

/** Most different strings in the dictionary of one batch or frame: a reference is 16 bits. */
export const DICTIONARY_STRINGS_MAX = 65_536;

/**
 * Furthest that a clock may be ahead of this machine's own before its time is refused, in
 * milliseconds: one wrong clock must not drag all others into the future.
 */
export const HLC_AHEAD_MS_MAX = 500;

/** Time for one tick where no budget is given, in milliseconds: 60 ticks a second. */
export const TICK_BUDGET_MS_DEFAULT = 16;

/** Most batches that may wait for a tick. */
export const QUEUE_BATCHES_MAX = 65_536;

/** Most batches that one other thread may have sent and not heard of. */
export const PRODUCER_BATCHES_MAX = 1024;

/** Most buses of one pool. */
export const POOL_BUSES_MAX = 1024;

/** Most callers that may wait for a bus of one pool. */
export const POOL_WAITING_MAX = 65_536;

/** Memory that a returned bus of a pool may keep for the next one, in bytes, where no number is given. */
export const POOL_KEPT_BYTES_DEFAULT: number = 256 * MIB;

/** Bytes of log that may wait for a sync before a tick waits with them. */
export const UNSYNCED_BYTES_MAX: number = 64 * MIB;

/** Most fields of a struct, or columns of a table: a schema is read whole, and is one row's form. */
export const FIELDS_MAX = 1024;

/** Longest name of a field, in UTF-8 bytes. */
export const FIELD_NAME_BYTES_MAX = 255;

/** Longest value of a field of fixed bytes or bounded text, in bytes: its length is 16 bits. */
export const FIELD_BYTES_MAX = 65_535;

/** Most rows of a table: a row's index is 32 bits. */
export const TABLE_ROWS_MAX = 4_294_967_295;

/** Rows of a full-grown chunk of a column: a few hundred kilobytes of 4 or 8 byte values. */
export const CHUNK_ROWS_MAX = 65_536;

/** Rows of a column's first chunk: a small table stays small. */
export const CHUNK_ROWS_MIN = 256;

/** Most bytes of segments' indices that a bus keeps in memory: those of some 700 MB of log. */
export const INDEX_CACHE_BYTES_MAX: number = 128 * MIB;

/** Most bytes of frames that a bus keeps in memory to read single rows of the past. */
export const FRAME_CACHE_BYTES_MAX: number = 128 * MIB;

/** Most milliseconds between two looks at a log that another process writes. */
export const FOLLOW_POLL_MS_MAX = 60_000;

/** Most edges of a graph: 36 bytes each, so 2.4 GB; a number of an edge fits in 26 bits. */
export const EDGES_MAX = 67_108_863;

/** Most bytes of a transitive closure: that of some 46,000 pages. */
export const CLOSURE_BYTES_MAX: number = 256 * MIB;

/** Most events that one subscriber's buffer holds. */
export const EVENT_BUFFER_MAX = 1_048_576;

/** Most subscribers to the events of one bus. */
export const EVENT_SUBSCRIBERS_MAX = 4096;

/** Most invariants of one bus. */
export const INVARIANTS_MAX = 1024;

/** Most transactions that may be open at a time. */
export const TRANSACTIONS_MAX = 65_536;

/** Most pages and names that one transaction may read: all are looked at again when it commits. */
export const TRANSACTION_READS_MAX = 1_048_576;

/** Most 32-bit words of one item of a ring. */
export const RING_ITEM_WORDS_MAX = 65_536;

/** Most 32-bit words of all items of a ring: 1 GiB. */
export const RING_WORDS_MAX: number = 2 ** 28;

/** Most steps from an explained page to its sources. */
export const EXPLAIN_DEPTH_MAX = 31;

/** Most pages of one explanation, each counted once a tick. */
export const EXPLAIN_PAGES_MAX = 65_536;

/** Most deltas of a page that an explanation can be asked for. */
export const EXPLAIN_DELTAS_MAX = 1024;

/** Most bytes of a delta's span that an explanation shows. */
export const EXPLAIN_BYTES_MAX = 64;

/** Pages of an explanation, the nearest first, of which more than the newest delta is shown. */
export const EXPLAIN_NEAR_PAGES_MAX = 256;

/** Most rows that one explanation looks at to tell what stood somewhere before: some 20 ms. */
export const EXPLAIN_ROWS_MAX = 16_384;

/** Most pages of all the explanations that a bus keeps. */
export const EXPLAIN_CACHE_PAGES_MAX = 131_072;

/** Most messages of a temporal queue, and most ids that it remembers: 1 GiB of records each. */
export const QUEUE_MESSAGES_MAX = 8_388_608;

/** Most bytes of long payloads of a temporal queue. */
export const QUEUE_PAYLOAD_BYTES_MAX: number = GIB;

/** Longest payload of a temporal message, in bytes. */
export const MESSAGE_PAYLOAD_BYTES_MAX: number = 16 * MIB;

/** Most messages that one temporal message depends on: they are looked up one by one under a lock. */
export const MESSAGE_DEPENDENCIES_MAX = 255;

/** Most nodes of one vector clock: their number is 16 bits on the wire. */
export const VECTOR_NODES_MAX = 65_535;

/** Most messages that one causal queue can be told to hold back. */
export const CAUSAL_PENDING_MAX = 1_048_576;

/** Messages that a causal queue holds back where no number is given. */
export const CAUSAL_PENDING_DEFAULT = 131_072;

/** Bytes of messages that a causal queue holds back where no number is given. */
export const CAUSAL_PENDING_BYTES_DEFAULT: number = 64 * MIB;

/**
 * Furthest that a message's counts may be ahead of what was delivered, where no number is given: one wrong message must not
 * announce 2⁵³ missing ones.
 */
export const CAUSAL_AHEAD_DEFAULT = 1_048_576;

/** Most ranges of one sender's missing messages that one request names. */
export const CAUSAL_REQUEST_RANGES_MAX = 64;

/** Most events of a causal graph: some 1.3 GB. */
export const CAUSAL_EVENTS_MAX = 67_108_864;

/** Events of a causal graph where no number is given: some 20 to 40 MB. */
export const CAUSAL_EVENTS_DEFAULT = 1_048_576;

/** Most changed entries of vectors of a causal graph: some 2.4 GB. */
export const CAUSAL_VECTOR_ENTRIES_MAX = 134_217_728;

/** Most waits of a wait graph: some 200 MB. */
export const WAITS_MAX = 1_048_576;

/** Most cycles of waiting that one detection names. */
export const WAIT_CYCLES_MAX = 1_048_576;

/** Cycles of waiting that one detection names where no number is given. */
export const WAIT_CYCLES_DEFAULT = 1024;

/** Most participants of all cycles of waiting together that one detection names. */
export const WAIT_PARTICIPANTS_NAMED_MAX = 4_194_304;

/** Longest that a commit waits for its time to have passed, in ms: beyond, the clock is too wrong to wait for. */
export const COMMIT_WAIT_MS_MAX = 60_000;
