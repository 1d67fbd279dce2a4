/**
 * Whether an answer may be believed: the checks of RFC 5905 section 8 and 11.1 and of RFC 4330 section 5.
 *
 * What does not carry the question's 64 random bits may come from anybody, so it counts as nothing at all: it can't
 * silence a server by a forged kiss of death. What carries them is the server's word, good or bad.
 *
 * Cost: some comparisons; nothing is allocated but the sample.
 */
import type { SntpPacket } from "./sntp_packet.ts";
import { referenceIdText } from "./sntp_packet.ts";

/** The last second that a timestamp may have: later ones do not fit those of the bus, the year 2112. */
const PLAUSIBLE_S_MAX = 4_500_000_000;

/** The highest stratum that is synchronised (RFC 5905: 16 is not). */
const STRATUM_MAX = 15;

/** What an answer turned out to be. */
export type SntpVerdict =
  | { readonly kind: "sample"; readonly sample: SntpSample }
  /** The server does not want to be asked: for good, or less often. */
  | { readonly kind: "kiss"; readonly code: string }
  /** The server answered, but what it says is of no use. */
  | { readonly kind: "refused"; readonly reason: string }
  /** Not an answer to this question: go on waiting. */
  | { readonly kind: "foreign"; readonly reason: string };

/** What one exchange says. Times of this machine are the steady counter's. */
export interface SntpSample {
  /** The counter at the middle of the exchange, ns. */
  readonly steadyNs: number;
  /** What is to be added to counter and `epochS` to give the server's time, ns. */
  readonly offsetNs: number;
  /** The round trip without the server's own time, ns; at least what the clocks resolve. */
  readonly delayNs: number;
  /** What server and clocks add to half the delay: how wrong the server may be, and the steps of both clocks. */
  readonly rootNs: number;
  /** Half the server's root delay, ns: a part of `rootNs`. */
  readonly rootDelayNs: number;
  /** The server's root dispersion, ns: a part of `rootNs`. */
  readonly rootDispersionNs: number;
  /** Steps of the server's clock and of this one, ns: a part of `rootNs`. */
  readonly precisionNs: number;
  /** The server's stratum. */
  readonly stratum: number;
  /** Its reference id, for people. */
  readonly referenceId: string;
  /** 0 no leap second is announced, 1 one is added, 2 one is left out. */
  readonly leap: number;
}

/** What was asked, and what is accepted. */
export interface SntpQuestion {
  /** Upper half of the random bits. */
  readonly nonceHi: number;
  /** Their lower half. */
  readonly nonceLo: number;
  /** The counter just before the question was sent, ns. */
  readonly sentNs: number;
  /** Seconds since 1970 at the counter's zero, whole: keeps offsets small, so that they are exact. */
  readonly epochS: number;
  /** Steps of the counter, ns. */
  readonly counterStepNs: number;
  /** Largest root distance that is accepted, ns. */
  readonly rootDistanceNsMax: number;
}

/**
 * Judges an answer.
 *
 * @param packet It.
 * @param question What was asked.
 * @param arrivedNs The counter when it arrived, ns.
 * @returns What it is worth.
 */
export function judgeAnswer(
  packet: SntpPacket,
  question: SntpQuestion,
  arrivedNs: number,
): SntpVerdict {
  if (packet.originHi !== question.nonceHi || packet.originLo !== question.nonceLo) {
    return { kind: "foreign", reason: "the origin timestamp is not that of the question" };
  }
  if (packet.mode !== 4) return refused(`mode ${packet.mode} where a server answers with 4`);
  if (packet.version < 3 || packet.version > 4) {
    return refused(`version ${packet.version} where 3 or 4 was expected`);
  }
  const header = headerFault(packet, question);
  if (header !== undefined) return header;
  return sampleOf(packet, question, arrivedNs);
}

function headerFault(packet: SntpPacket, question: SntpQuestion): SntpVerdict | undefined {
  const { stratum } = packet;
  if (stratum === 0) {
    const code = referenceIdText(packet.referenceId, 0);
    if (/^[A-Z]{4}$/.test(code)) return { kind: "kiss", code };
    return refused("the server is not synchronised (stratum 0)");
  }
  if (packet.leap === 3) return refused("the server is not synchronised (leap indicator 3)");
  if (stratum > STRATUM_MAX) return refused(`the server is not synchronised (stratum ${stratum})`);
  if (!packet.hasTransmit) return refused("there is no transmit timestamp");
  if (!packet.hasReceive) return refused("there is no receive timestamp");
  const distanceNs = packet.rootDelayNs / 2 + packet.rootDispersionNs + packet.precisionNs;
  if (!(distanceNs <= question.rootDistanceNsMax)) {
    return refused(
      `the server says that it may be ${(distanceNs / 1e6).toFixed(3)} ms wrong, more than the ` +
        `${question.rootDistanceNsMax / 1e6} ms that are accepted`,
    );
  }
  if (packet.transmitS > PLAUSIBLE_S_MAX || packet.receiveS > PLAUSIBLE_S_MAX) {
    return refused("the server's time is before 2020 or after 2112");
  }
  if (packet.hasReference && isAfter(packet, packet.referenceS, packet.referenceNs)) {
    return refused("the server's clock was set after it answered");
  }
  return undefined;
}

/** Whether a time is after the transmit timestamp. */
function isAfter(packet: SntpPacket, seconds: number, ns: number): boolean {
  return seconds > packet.transmitS || seconds === packet.transmitS && ns > packet.transmitNs;
}

/**
 * The four timestamps (RFC 5905 section 8): T1 and T4 are the counter's, T2 and T3 the server's, less `epochS`.
 *
 * ```text
 * offset = ((T2 − T1) + (T3 − T4)) / 2        delay = (T4 − T1) − (T3 − T2)
 * ```
 */
function sampleOf(packet: SntpPacket, question: SntpQuestion, arrivedNs: number): SntpVerdict {
  const { sentNs, epochS, counterStepNs } = question;
  if (isAfter(packet, packet.receiveS, packet.receiveNs)) {
    return refused("the server answered before it was asked");
  }
  const receivedNs = (packet.receiveS - epochS) * 1e9 + packet.receiveNs;
  const heldNs = (packet.transmitS - packet.receiveS) * 1e9 + packet.transmitNs - packet.receiveNs;
  const precisionNs = packet.precisionNs + counterStepNs + spacing(receivedNs);
  const delayNs = (arrivedNs - sentNs) - heldNs;
  // Steps of the clocks can make a very short delay negative, a clock that is set in between makes it so by much.
  if (delayNs < -2 * precisionNs) {
    return refused("the server says that it held the question longer than it took");
  }
  return {
    kind: "sample",
    sample: {
      steadyNs: sentNs + (arrivedNs - sentNs) / 2,
      offsetNs: receivedNs - sentNs - delayNs / 2,
      delayNs: Math.max(delayNs, 0),
      rootNs: packet.rootDelayNs / 2 + packet.rootDispersionNs + precisionNs,
      rootDelayNs: packet.rootDelayNs / 2,
      rootDispersionNs: packet.rootDispersionNs,
      precisionNs,
      stratum: packet.stratum,
      referenceId: referenceIdText(packet.referenceId, packet.stratum),
      leap: packet.leap,
    },
  };
}

/** Distance between neighbouring numbers of this size: below 1 ns while times are within 52 days of `epochS`. */
function spacing(ns: number): number {
  return Math.max(1, Math.abs(ns) * 2 ** -52);
}

function refused(reason: string): SntpVerdict {
  return { kind: "refused", reason };
}
