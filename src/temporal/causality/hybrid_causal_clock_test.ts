/** The clock of a node: what it counts, what can be delivered, all or nothing, and its bytes. */
import { deepEqual, equal, ok, throws } from "node:assert/strict";
import fc from "fast-check";
import { isMmsbError } from "../../base/errors.ts";
import { HybridLogicalClock } from "../hlc.ts";
import { timestampOf } from "../timestamp.ts";
import { encodeSortable } from "../wire.ts";
import {
  compareCausal,
  HybridCausalClock,
  type HybridCausalStamp,
  timestampOfStamp,
} from "./hybrid_causal_clock.ts";
import {
  decodeCausalMessage,
  decodeCausalStamp,
  encodeCausalMessage,
  encodeCausalStamp,
} from "./hybrid_causal_clock_wire.ts";
import { VectorTime } from "./vector_clock.ts";

const NOW_US = 1_767_225_600_000_000;

function open(node: number, nowUs: () => number = () => NOW_US): HybridCausalClock {
  return new HybridCausalClock({ hlc: new HybridLogicalClock({ node, nowUs }) });
}

Deno.test("HybridCausalClock counts messages only, and local events apart", () => {
  const clock = open(1), other = open(2);
  for (let i = 0; i < 100; i++) clock.localEvent();
  equal(clock.sent, 0);
  const first = clock.send();
  for (let i = 0; i < 100; i++) clock.localEvent();
  const second = clock.send();
  deepEqual(second.vector.entries(), [[1, 2]]);
  equal(clock.localEvents, 200);
  // The other node had no event of its own and does not wait for those that were never sent.
  equal(other.canDeliver(second), false);
  equal(other.canDeliver(first), true);
  other.receive(first);
  equal(other.canDeliver(first), false);
  equal(other.canDeliver(second), true);
  other.receive(second);
  deepEqual([other.delivered(1), other.sent, other.localEvents], [2, 0, 0]);
  clock.checkInvariants();
});

Deno.test("compareCausal() orders local events by the messages that tell of them", () => {
  const a = open(1), b = open(2);
  const early = a.localEvent(), sent = a.send(), late = a.localEvent();
  const apart = b.localEvent();
  b.receive(sent);
  const told = b.localEvent();
  equal(compareCausal(early, told), "before");
  equal(compareCausal(told, sent), "after");
  equal(compareCausal(late, told), "concurrent");
  equal(compareCausal(early, apart), "concurrent");
  equal(compareCausal(early, late), "before");
  equal(compareCausal(late, late), "equal");
  equal(timestampOfStamp(early) < timestampOfStamp(sent), true);
});

Deno.test("HybridCausalClock refuses a time far ahead, and then nothing has moved", () => {
  let us = NOW_US;
  const clock = open(1, () => us);
  clock.send();
  const ahead = open(2, () => NOW_US + 3_600_000_000).send();
  const before = clock.vector().entries(), peeked = clock.hlc.peek();
  throws(() => clock.receive(ahead), { code: "limit" });
  deepEqual(clock.vector().entries(), before);
  equal(clock.hlc.peek(), peeked);
  us += 3_600_000_000;
  clock.receive(ahead);
  equal(clock.delivered(2), 1);
});

Deno.test("HybridCausalClock refuses where counts end, and then time has not moved", () => {
  const full = VectorTime.of([[1, Number.MAX_SAFE_INTEGER], [2, 1]]);
  const hlc = new HybridLogicalClock({ node: 1, nowUs: () => NOW_US });
  const clock = new HybridCausalClock({ hlc, vector: full });
  throws(() => clock.send(), { code: "limit" });
  throws(() => clock.localEvent(), { code: "limit" });
  equal(hlc.peek(), 0n);
  equal(clock.localEvents, 0);
  const all = VectorTime.of(Array.from({ length: 65_535 }, (_, node) => [node, 1] as const));
  const most = new HybridCausalClock({ hlc, vector: all });
  throws(() => most.receive({ node: 65_535, hi: 0, lo: 1, vector: VectorTime.of([[65_535, 1]]) }), {
    code: "limit",
  });
  equal(hlc.peek(), 0n);
});

Deno.test("HybridCausalClock refuses stamps that cannot be", () => {
  const clock = open(1), stamp = open(2).send();
  clock.send();
  const lostState = { ...stamp, vector: VectorTime.of([[1, 2], [2, 1]]) };
  throws(() => clock.receive(lostState), { code: "usage" });
  throws(() => clock.receive({ ...stamp, vector: VectorTime.of([[1, 1]]) }), { code: "usage" });
  const refused = [null, 7, {}, { ...stamp, node: -1 }, { ...stamp, hi: 0.5 }, {
    ...stamp,
    vector: [[2, 1]],
  }];
  for (const bad of refused as HybridCausalStamp[]) {
    throws(() => clock.receive(bad), { code: "usage" });
    throws(() => clock.canDeliver(bad), { code: "usage" });
    throws(() => compareCausal(stamp, bad), { code: "usage" });
    throws(() => encodeCausalStamp(bad), { code: "usage" });
  }
  throws(() => clock.deliver(1, 1), { code: "usage" });
  for (const options of [undefined, {}, { hlc: {} }, { hlc: clock.hlc, x: 1 }] as never[]) {
    throws(() => new HybridCausalClock(options), { code: "usage" });
  }
  deepEqual(clock.vector().entries(), [[1, 1]]);
});

Deno.test("HybridCausalClock.prune() shortens stamps, and messages that name the node still pass", () => {
  const [clock, other, left] = [open(1), open(2), open(9)];
  const last = left.send();
  for (const each of [clock, other]) each.receive(last);
  const late = other.send();
  throws(() => clock.prune([1], [other.vector()]), { code: "usage" });
  throws(() => clock.prune([9], [VectorTime.EMPTY]), { code: "usage" });
  equal(clock.delivered(9), 1);
  equal(clock.prune([9], [other.vector()]), 1);
  equal(clock.canDeliver(late), true);
  clock.receive(late);
  deepEqual(clock.vector().entries(), [[2, 1]]);
  equal(clock.canDeliver(last), false);
  clock.deliver(9, 1);
  equal(clock.delivered(9), 0);
  clock.checkInvariants();
});

const stamps: fc.Arbitrary<HybridCausalStamp> = fc.record({
  node: fc.nat(65_535),
  hi: fc.nat(0xffff_ffff),
  lo: fc.nat(0xffff_ffff),
  entries: fc.uniqueArray(fc.tuple(fc.nat(65_535), fc.integer({ min: 1, max: 2 ** 53 - 1 })), {
    selector: ([node]) => node,
    maxLength: 12,
  }),
}).map(({ node, hi, lo, entries }) => ({
  node,
  hi,
  lo,
  vector: VectorTime.of(entries).merge(VectorTime.of([[node, 1]])),
}));

Deno.test("encodeCausalStamp() gives the golden form", () => {
  const us = timestampOf(NOW_US, 3);
  const stamp = {
    node: 258,
    hi: Number(us >> 32n),
    lo: Number(us & 0xffff_ffffn),
    vector: VectorTime.of([[258, 5]]),
  };
  deepEqual(
    encodeCausalStamp(stamp),
    Uint8Array.of(...encodeSortable(us, 258), 1, 0, 2, 1, 5, 0, 0, 0, 0, 0, 0, 0),
  );
});

Deno.test("Stamps and messages go there and back", () => {
  fc.assert(fc.property(stamps, fc.uint8Array({ maxLength: 40 }), (stamp, payload) => {
    const again = decodeCausalStamp(encodeCausalStamp(stamp));
    deepEqual([again.node, again.hi, again.lo], [stamp.node, stamp.hi, stamp.lo]);
    deepEqual(again.vector.entries(), stamp.vector.entries());
    const message = { ...stamp, sequence: stamp.vector.get(stamp.node), payload };
    const back = decodeCausalMessage(encodeCausalMessage(message));
    deepEqual(back.vector.entries(), message.vector.entries());
    deepEqual({ ...back, vector: 0, payload: [...back.payload] }, {
      ...message,
      vector: 0,
      payload: [...payload],
    });
    if (payload.length > 0) {
      throws(() => decodeCausalStamp(encodeCausalMessage(message)), { code: "usage" });
    }
    throws(() => encodeCausalMessage({ ...message, sequence: message.sequence + 1 }), {
      code: "usage",
    });
    throws(() => encodeCausalMessage({ ...message, payload: "text" as never }), { code: "usage" });
  }));
});

Deno.test("Random and truncated bytes are refused by name", () => {
  let taken = 0;
  const decoders = [decodeCausalStamp, decodeCausalMessage];
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), stamps, fc.nat(63), (random, stamp, at) => {
      const damaged = encodeCausalStamp(stamp), whole = damaged.length;
      damaged[at % whole] ^= 1 + at;
      for (const bytes of [random, damaged, damaged.subarray(0, at % whole)]) {
        for (const decode of decoders) {
          try {
            decode(bytes);
            taken++;
          } catch (error) {
            ok(isMmsbError(error, "usage"), String(error));
          }
        }
      }
    }),
    { numRuns: 2000 },
  );
  ok(taken > 50);
  throws(() => decodeCausalStamp("text" as never), { code: "usage" });
});
