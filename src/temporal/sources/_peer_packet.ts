/**
 * The packet by which round trips are measured, the same length there and back, so that a responder never sends more
 * than it was sent, and an answer is never answered.
 *
 * ```text
 *  0  4  magic "MMPL"
 *  4  1  version, 1
 *  5  1  kind: 1 question, 2 answer
 *  6  2  0
 *  8 16  nonce, random: who did not see the question cannot answer it
 * ```
 */
import { equalBytes, toHex } from "../../base/mod.ts";

/** Bytes of a packet. */
export const PEER_PACKET_BYTES = 24;
const HEAD = Uint8Array.of(0x4d, 0x4d, 0x50, 0x4c, 1);
const KIND = 5, ZERO = 6, NONCE = 8;
const QUESTION = 1, ANSWER = 2;

/** Makes a question; `random` fills its nonce. */
export function peerQuestion(
  random: (bytes: Uint8Array<ArrayBuffer>) => void,
): Uint8Array<ArrayBuffer> {
  const packet = new Uint8Array(PEER_PACKET_BYTES);
  packet.set(HEAD);
  packet[KIND] = QUESTION;
  random(packet.subarray(NONCE));
  return packet;
}

/** Makes the answer to a question; nothing where it is none. */
export function peerAnswer(question: Uint8Array): Uint8Array | undefined {
  if (!isPacket(question, QUESTION)) return undefined;
  // The runtime brings a Buffer, whose `slice` is no copy.
  const answer = new Uint8Array(question);
  answer[KIND] = ANSWER;
  return answer;
}

/** The nonce of an answer, as text; nothing where it is none. */
export function answeredNonce(packet: Uint8Array): string | undefined {
  return isPacket(packet, ANSWER) ? nonceOf(packet) : undefined;
}

/** The nonce of a packet, as text. */
export function nonceOf(packet: Uint8Array): string {
  return toHex(packet.subarray(NONCE));
}

function isPacket(packet: Uint8Array, kind: number): boolean {
  return packet.length === PEER_PACKET_BYTES && equalBytes(packet.subarray(0, KIND), HEAD) &&
    packet[KIND] === kind && packet[ZERO] === 0 && packet[ZERO + 1] === 0;
}

/** Puts packets together again from the pieces in which TCP brings them. */
export class PeerPackets {
  readonly #packet = new Uint8Array(PEER_PACKET_BYTES);
  #filled = 0;

  /**
   * Takes a piece.
   *
   * @param piece Bytes as they came.
   * @param take Takes each whole packet, and says whether it goes on.
   */
  push(piece: Uint8Array, take: (packet: Uint8Array) => boolean): void {
    let at = 0;
    while (at < piece.length) {
      const some = piece.subarray(at, at + PEER_PACKET_BYTES - this.#filled);
      this.#packet.set(some, this.#filled);
      this.#filled += some.length;
      at += some.length;
      if (this.#filled < PEER_PACKET_BYTES) return;
      this.#filled = 0;
      if (!take(this.#packet)) return;
    }
  }
}
