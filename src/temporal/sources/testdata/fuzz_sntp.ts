/**
 * Hostile datagrams against the SNTP codec and its checks: random bytes, truncated answers, answers with flipped bits, and
 * answers whose fields are all at their ends. Nothing may escape as an exception, and what is accepted must be plausible.
 */
import assert from "node:assert/strict";
import { judgeAnswer } from "../sntp_check.ts";
import { decodeSntp, encodeSntpRequest, SntpPacket } from "../sntp_packet.ts";
import { ntpAnswer } from "./ntp_answer.ts";
import { chanceOf } from "./simulated_network.ts";

const NOW_NS = 1_767_225_600_000_000_000n;

/** What a run did. */
export interface SntpFuzzCounts {
  readonly datagrams: number;
  readonly noPackets: number;
  readonly foreign: number;
  readonly refused: number;
  readonly kisses: number;
  readonly samples: number;
}

/**
 * Runs datagrams through codec and checks.
 *
 * @param datagrams How many.
 * @param seed Of all chance.
 * @returns What became of them; each kind occurs in a long run.
 */
export function fuzzSntp(datagrams: number, seed: number): SntpFuzzCounts {
  const chance = chanceOf(seed);
  const below = (n: number) => Math.floor(chance() * n);
  const counts = { noPackets: 0, foreign: 0, refused: 0, kisses: 0, samples: 0 };
  const packet = new SntpPacket();
  const room = new Uint8Array(128);
  const request = new Uint8Array(48);
  for (let i = 0; i < datagrams; i++) {
    const nonceHi = below(2 ** 32), nonceLo = below(2 ** 32);
    encodeSntpRequest(request, nonceHi, nonceLo);
    const datagram = hostile(request, room, below);
    if (decodeSntp(datagram, packet) !== undefined) {
      counts.noPackets++;
      continue;
    }
    const verdict = judgeAnswer(packet, {
      nonceHi,
      nonceLo,
      sentNs: 1000,
      epochS: Number(NOW_NS / 1_000_000_000n),
      counterStepNs: 1,
      rootDistanceNsMax: 1.5e9,
    }, 1000 + below(1e9));
    if (verdict.kind === "foreign") counts.foreign++;
    else if (verdict.kind === "kiss") counts.kisses++;
    else if (verdict.kind === "refused") counts.refused++;
    else {
      counts.samples++;
      const { offsetNs, delayNs, rootNs } = verdict.sample;
      assert(Number.isFinite(offsetNs) && delayNs >= 0 && rootNs >= 0 && rootNs <= 1.6e9 + 1e6);
      assert(packet.leap < 3 && packet.stratum >= 1 && packet.stratum <= 15 && packet.mode === 4);
    }
  }
  return { datagrams, ...counts };
}

/** One hostile datagram, in `room`. */
function hostile(
  request: Uint8Array,
  room: Uint8Array,
  below: (n: number) => number,
): Uint8Array {
  const kind = below(4);
  if (kind === 0) return filled(room.subarray(0, below(129)), below);
  const answer = ntpAnswer(request, {
    receiveNs: NOW_NS + BigInt(below(1e9)),
    transmitNs: NOW_NS + BigInt(below(2e9)),
  });
  room.set(answer);
  if (kind === 1) return room.subarray(0, below(49));
  if (kind === 2) {
    for (let flips = 1 + below(6); flips > 0; flips--) room[below(48)] ^= 1 << below(8);
    return room.subarray(0, 48 + 4 * below(21));
  }
  // Fields at their ends, and the origin left as it is, so that the checks behind it are reached.
  const ends = [0, 1, 0x7f, 0x80, 0xff];
  for (let i = 0; i < 24; i++) if (below(3) === 0) room[i] = ends[below(ends.length)];
  for (let i = 32; i < 48; i++) if (below(8) === 0) room[i] = ends[below(ends.length)];
  if (below(4) === 0) room.set(new TextEncoder().encode("RATE"), 12);
  room[0] = below(2) === 0 ? room[0] : 0x24;
  return room.subarray(0, 48);
}

function filled(bytes: Uint8Array, below: (n: number) => number): Uint8Array {
  for (let i = 0; i < bytes.length; i++) bytes[i] = below(256);
  return bytes;
}
