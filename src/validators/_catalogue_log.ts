/**
 * The part of the fault catalogue that is about logs: bytes that a checksum, a position or a digest finds, and
 * frames that are whole and say what cannot be.
 */

import type { LogFaultName } from "../log/mod.ts";
import type { CatalogueFault } from "./catalogue.ts";

/** Id, title, the name of the fault that must be told, what it is, and its place where that is another. */
type LogEntry = readonly [
  id: string,
  title: string,
  finding: LogFaultName,
  about: string,
  place?: string,
];

const IN_BYTES: readonly LogEntry[] = [
  ["header-byte", "flipped byte in a frame's header", "frame-header", "a bit of the disk turned"],
  ["column-byte", "flipped byte in a column", "frame-body", "a bit of the disk turned"],
  ["payload-byte", "flipped byte in a payload", "frame-body", "a bit of the disk turned"],
  ["commit-byte", "flipped byte in a commit row", "frame-body", "a bit of the disk turned"],
  [
    "segment-header-byte",
    "flipped byte in a segment's header",
    "segment-header",
    "a bit of the disk turned",
  ],
  ["frame-cut", "cut frame", "frame-cut", "a segment in the middle ends inside a frame"],
  ["frame-zeroed", "zeros in place of a frame", "frame-header", "a block was never written"],
  ["frames-swapped", "swapped frames", "frame-order", "two whole frames of a tick change places"],
  ["frame-twice", "duplicated frame", "frame-twice", "a whole frame stands there once more"],
  [
    "frame-lost",
    "frame taken out",
    "frame-order",
    "a whole frame is gone, those behind it moved up",
  ],
  ["segment-missing", "missing segment", "segment-missing", "a file in the middle was removed"],
  ["segments-swapped", "swapped segments", "segment-header", "two files have each other's name"],
  [
    "segment-of-another-log",
    "segment of another log",
    "time",
    "a file was taken from the backup of another directory, and is of a later time",
    "file behind it",
  ],
  [
    "segment-short",
    "segment cut between two ticks",
    "segment-header",
    "whole ticks at the end of a segment are gone, so that no frame is cut",
  ],
  [
    "end-cut",
    "last tick cut off after a clean close",
    "frame-header",
    "the log ends before the place at which it was closed",
  ],
  [
    "end-rubbish",
    "bytes behind the end of a closed log",
    "frame-header",
    "something was written behind the last frame of a closed log",
  ],
  [
    "end-tick-more",
    "tick behind the end of a closed log",
    "meta",
    "a whole tick stands behind the one with which the log was closed",
  ],
  ["meta-missing", "missing meta.json", "meta", "the directory's metadata was removed"],
  ["meta-digit", "flipped digit in meta.json", "meta", "a position in it is another"],
  [
    "meta-older",
    "older meta.json",
    "meta",
    "the metadata of an earlier writer was put back, whole and with its checksum",
  ],
  [
    "torn-tail",
    "torn tail of a crash",
    "frame-cut",
    "a tail that was never acknowledged: to be named, and not to be called damage",
  ],
];

const IN_FRAMES: readonly LogEntry[] = [
  [
    "frame-of-another-lane",
    "frames of another lane",
    "frame-place",
    "a tick says lane 1 on lane 0",
  ],
  [
    "frame-of-another-writer",
    "frames of another writer",
    "frame-place",
    "a tick says another incarnation than its segment",
  ],
  [
    "participants-wrong",
    "tick with wrong participants",
    "frame-place",
    "a tick says that a lane took part which does not have it",
  ],
  [
    "synced-too-far",
    "frame that knows more than there was",
    "frame-place",
    "a frame says that the lane was synced up to a byte behind itself",
  ],
  ["row-kind-unknown", "frame of an unknown kind", "columns", "a frame has rows of no known kind"],
  [
    "rows-too-many",
    "row count that lies",
    "columns",
    "a frame's header counts more rows than its columns have",
  ],
  ["commit-missing", "tick without a commit row", "commit", "a tick ends and another one begins"],
  ["commit-digest", "wrong commit digest", "commit", "the digest is not that of the tick's frames"],
  ["commit-rows", "commit row that lies about its rows", "commit", "it counts a row too many"],
  [
    "commit-frames",
    "commit row that lies about its frames",
    "commit",
    "it counts a frame too many",
  ],
  ["tick-twice", "replayed tick", "tick-twice", "an earlier tick comes again"],
  [
    "tick-missing",
    "tick left out",
    "tick-missing",
    "a whole tick is gone, those behind it moved up",
  ],
  ["time-back", "time that goes back", "time", "a frame is earlier than the one before"],
  ["time-overlap", "times that overlap", "time", "a frame begins at the last frame's last row"],
  ["time-range", "range of times that lies", "time", "a frame has more times than rows"],
  ["sequence-back", "sequence that goes back", "sequence", "a producer's batch comes again"],
  ["sequence-left-out", "sequence left out", "sequence", "the caller's own batches miss a number"],
  [
    "graph-version-back",
    "graph version that falls",
    "structure",
    "a tick knows an older graph than the one before",
  ],
  ["page-id-again", "page id given out again", "commit", "the next page id falls"],
  ["rule-number-again", "rule number given out again", "commit", "the next rule's number falls"],
];

const IN_ROWS: readonly LogEntry[] = [
  ["page-unborn", "page without a birth", "page-unborn", "its deltas are there, its birth is not"],
  ["page-dead", "delta without a page", "page-dead", "a delta is for a page that was deleted"],
  ["epoch-gap", "epoch left out", "epoch", "a page goes two epochs on with one delta"],
  ["epoch-back", "epoch that falls", "epoch", "a page goes back"],
  ["epoch-twice", "epoch that comes twice", "epoch", "two deltas of a page have the same epoch"],
  ["row-lost", "delta taken out of its frame", "epoch", "a row is gone from a frame that is whole"],
  ["span-outside", "span past the page's end", "row", "a delta leaves its page"],
  ["span-empty", "delta of no bytes", "row", "a delta's span is empty"],
  ["kind-unknown", "kind that does not exist", "row", "a delta says an operation that is none"],
  ["combine-askew", "operation on half an element", "row", "a sum begins inside a number"],
  [
    "source-unknown",
    "source that does not exist",
    "row",
    "a delta's source is none of the strings",
  ],
  [
    "intent-unknown",
    "intent that does not exist",
    "row",
    "a delta's intent is none of the strings",
  ],
  ["payload-outside", "payload outside its frame", "row", "a delta's bytes are not in the frame"],
  ["page-born-twice", "page born twice", "structure", "a living page is born again"],
  ["page-id-zero", "page with the id 0", "structure", "a page is born with the id of no page"],
  ["page-size-zero", "page of no bytes", "structure", "a page is born without a byte"],
  [
    "page-shard-unknown",
    "page in a shard that is not there",
    "structure",
    "its shard is too large",
  ],
  ["name-twice", "name given twice", "structure", "two living pages have the same name"],
  ["birth-unreadable", "birth that cannot be read", "structure", "name and metadata are no such"],
  ["page-deleted-twice", "page deleted twice", "structure", "a page dies that was dead"],
  ["resize-dead", "dead page resized", "structure", "a page gets a size after its death"],
  ["resize-to-nothing", "page resized to nothing", "structure", "a page gets a size of 0 bytes"],
  ["migrate-nowhere", "page given to a shard that is not there", "structure", "it goes nowhere"],
  ["operation-unknown", "structural operation that is none", "structure", "a row says 99"],
];

const IN_STRUCTURE: readonly LogEntry[] = [
  ["edge-dead", "edge without a page", "structure", "an edge comes from a page that was deleted"],
  ["edge-to-dead", "edge to a dead page", "structure", "an edge leads to a page that was deleted"],
  ["edge-to-itself", "edge to itself", "structure", "a page depends on itself"],
  ["edge-type-unknown", "edge of an unknown type", "structure", "an edge says type 9"],
  ["edge-twice", "edge added twice", "structure", "an edge is added that was there"],
  ["edge-removed-twice", "edge removed that was not there", "structure", "nothing is removed"],
  ["stored-cycle", "edges that make a cycle", "structure", "two edges lead round in the log"],
  ["binding-dead", "binding without a page", "structure", "a rule reads a page that was deleted"],
  ["binding-twice", "rule bound twice", "structure", "two bindings have the same number"],
  ["binding-name-twice", "rule name given twice", "structure", "two rules have the same name"],
  ["two-writers", "two rules write a page", "structure", "an output has two rules"],
  ["binding-unreadable", "binding that cannot be read", "structure", "it is no JSON"],
  ["binding-elsewhere", "binding of another page", "structure", "its first output is another page"],
  ["rule-number-zero", "rule with the number 0", "structure", "a rule has the number of no rule"],
  ["unbound-twice", "rule unbound that was not bound", "structure", "nothing is unbound"],
  ["derived-unbound", "derived row without a binding", "structure", "its rule was never bound"],
  ["rule-operation-unknown", "operation on a rule that is none", "structure", "a row says 9"],
  ["mark-dead", "mark of an unknown page", "structure", "a page is marked that was deleted"],
  ["mark-unknown", "mark that does not exist", "structure", "a page gets mark 9"],
  ["mark-value", "mark neither set nor taken off", "structure", "a mark's value is 7"],
];

const IN_LANES: readonly LogEntry[] = [
  ["lane-missing", "missing lane", "segment-missing", "the folder of one lane of three is gone"],
  [
    "lane-tick-lost",
    "tick that one lane has lost",
    "frame-place",
    "one lane lacks a tick that the others have, and that was durable",
  ],
];

function listed(entries: readonly LogEntry[], place: string): CatalogueFault[] {
  return entries.map(([id, title, finding, about, own = place]) => {
    return { id, title, about, validators: [2], finding, place: own };
  });
}

const FRAME_PLACE = "file, first byte of the frame, tick";

/** Faults in logs; validator 2 plants each of them in a copy of a small log. */
export const LOG_CATALOGUE: readonly CatalogueFault[] = [
  ...listed(IN_BYTES, "file, first byte of frame, segment or file, tick where it is known"),
  ...listed([...IN_FRAMES, ...IN_ROWS, ...IN_STRUCTURE], FRAME_PLACE),
  ...listed(IN_LANES, "file, first byte of what is at fault, tick where it is known"),
];
