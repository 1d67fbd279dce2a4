/** Subject `ring`: our ring beside ringbuf.js, from one thread to another. */

import { hash, interleave, median, millions, type Row } from "./_harness.ts";
import { Popper, sumOf, throughPeer, throughRing } from "./_work_ring.ts";

const COUNT = 8_000_000;

/** Our ring against ringbuf.js, and one item at a time. */
export async function ring(rounds: number): Promise<Row[]> {
  const popper = new Popper(), rows: Row[] = [];
  const sum = hash(new Uint8Array(Int32Array.of(sumOf(COUNT)).buffer));
  try {
    for (
      const [batch, inPlace] of [[64, false], [64, true], [4096, false], [4096, true]] as const
    ) {
      const measured = await interleave(
        () => throughRing(popper, COUNT, batch, inPlace),
        () => throughPeer(popper, COUNT, batch),
        rounds,
      );
      rows.push({
        subject: `ring: ${batch} items a call${inPlace ? ", in place" : ""}`,
        ours: millions(COUNT, measured.ours),
        peer: `ringbuf.js ${millions(COUNT, measured.peer)}`,
        ratio: measured.ratio,
        spread: measured.spread,
        target: "> 1",
        met: measured.ratio > 1,
        hash: sum,
      });
    }
    const times: number[] = [];
    for (let round = -2; round < 2 * rounds; round++) {
      const time = await throughRing(popper, COUNT, 1, false);
      if (round >= 0) times.push(time);
    }
    times.sort((x, y) => x - y);
    const rate = (time: number): number => COUNT / time / 1e6;
    rows.push({
      subject: "ring: one item a call, M/s",
      ours: millions(COUNT, median(times)),
      peer: "",
      ratio: rate(median(times)),
      spread: [rate(times[times.length - 1]), rate(times[0])],
      target: "> 19",
      met: rate(median(times)) > 19,
      hash: sum,
    });
  } finally {
    popper.close();
  }
  return rows;
}
