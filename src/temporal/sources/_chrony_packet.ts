/**
 * What chronyd says of its clock, read from both forms in which it says it: a reply of its command protocol, and a
 * line of `chronyc -c tracking`.
 *
 * The protocol is version 6 of chrony's `candm.h` (chrony 2.4 and later): a request of 104 bytes, padded so that nobody
 * can use the daemon to send more than was sent to it, and a reply of 104 bytes, all big-endian:
 *
 * ```text
 * request                          reply
 *  0 version 6   1 kind 1           0 version 6   1 kind 2
 *  4 u16 command 33                 4 u16 command 33    6 u16 form of the reply 5
 *  6 u16 attempt                    8 u16 status, 0 is success
 *  8 u32 sequence                  16 u32 sequence
 * 12 zeros                         28 u32 reference id, 20 bytes of address, u16 stratum, u16 leap,
 *                                     12 bytes of time, 9 floats
 * ```
 *
 * Its floats are its own: 7 bits of exponent and 25 of coefficient, both two's complement; the value is
 * coefficient · 2^(exponent − 25).
 *
 * Nothing that arrives is believed: a wrong length, an impossible value or a number that is none gives a reason in words.
 * Cost: a microsecond.
 */

/** What chronyd says of its clock. */
export interface ChronyTracking {
  /** What it follows: four letters of a reference clock, or a number made of the server's address. */
  readonly referenceId: number;
  /** The server's address or the reference clock's name; empty where it follows none. */
  readonly reference: string;
  /** Servers between it and a reference clock. */
  readonly stratum: number;
  /** 0 normal, 1 and 2 a leap second comes, 3 not synchronised. */
  readonly leap: number;
  /** When it took its last measurement, s since the Unix epoch. */
  readonly referenceTimeS: number;
  /** What is still to be added to the system's clock, in s. */
  readonly correctionS: number;
  /** Offset found by its last measurement, in s. */
  readonly lastOffsetS: number;
  /** Its oscillator's error that it corrects: positive where it runs fast. */
  readonly frequencyPpm: number;
  /** The part of that error that is not corrected yet. */
  readonly residualPpm: number;
  /** How far the frequency may be wrong. */
  readonly skewPpm: number;
  /** Round trip to the reference clock, in s. */
  readonly rootDelayS: number;
  /** What has gathered on the way from the reference clock, as of the answer, in s. */
  readonly rootDispersionS: number;
  /** Time between its last two measurements, in s. */
  readonly updateIntervalS: number;
}

/** Bytes of request and reply. */
export const PACKET_BYTES = 104;

/** The reference id of `local stratum`: a chronyd that follows nobody and says so to nobody. */
export const LOCAL_REFERENCE_ID = 0x7f7f0101;

const VERSION = 6;
const KIND_REQUEST = 1, KIND_REPLY = 2;
const COMMAND_TRACKING = 33, REPLY_TRACKING = 5;
const STATUS_UNAUTHORISED = 2, STATUS_BAD_VERSION = 18;
const DATA_AT = 28, FLOATS_AT = 68;
const FAMILY_IPV4 = 1, FAMILY_IPV6 = 2;
/** The upper word of a time that has none. */
const NO_UPPER_WORD = 0x7fffffff;
const COEFFICIENT_BITS = 25;

/** More than this, in s, is no measurement of time: bounds of NTP end at 16 s. */
const OFFSET_S_MAX = 2 ** 32;
const DISPERSION_S_MAX = 2 ** 20;
const PPM_MAX = 1e7;

/** The words of chronyc for the leap status, by their number. */
const LEAPS = ["Normal", "Insert second", "Delete second", "Not synchronised"];

/** Makes the request. */
export function encodeRequest(sequence: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(PACKET_BYTES);
  const view = new DataView(bytes.buffer);
  bytes[0] = VERSION;
  bytes[1] = KIND_REQUEST;
  view.setUint16(4, COMMAND_TRACKING);
  view.setUint32(8, sequence);
  return bytes;
}

/**
 * Reads a reply.
 *
 * @returns What it says, or why it is refused, to go on after `as`.
 */
export function decodeReply(bytes: Uint8Array, sequence: number): ChronyTracking | string {
  if (bytes.length < 20) return `its answer has only ${bytes.length} bytes`;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const status = view.getUint16(8);
  if (bytes[1] !== KIND_REPLY || view.getUint16(4) !== COMMAND_TRACKING) {
    return "its answer is none to our question";
  }
  if (view.getUint32(16) !== sequence) return "its answer is none to our question";
  if (bytes[0] !== VERSION || status === STATUS_BAD_VERSION) {
    return `it speaks version ${bytes[0]} of its protocol, not ${VERSION}`;
  }
  if (status === STATUS_UNAUTHORISED) {
    return "it lets nobody here ask: see cmdallow in its settings";
  }
  if (status !== 0) return `it refuses with status ${status}`;
  if (view.getUint16(6) !== REPLY_TRACKING) return "its answer is none to our question";
  if (bytes.length !== PACKET_BYTES) {
    return `its answer has ${bytes.length} bytes, not ${PACKET_BYTES}`;
  }
  const float = (index: number) => decodeFloat(view.getUint32(FLOATS_AT + 4 * index));
  const upper = view.getUint32(DATA_AT + 28);
  return checked({
    referenceId: view.getUint32(DATA_AT),
    reference: addressText(view, DATA_AT + 4),
    stratum: view.getUint16(DATA_AT + 24),
    leap: view.getUint16(DATA_AT + 26),
    referenceTimeS: (upper === NO_UPPER_WORD ? 0 : upper * 2 ** 32) +
      view.getUint32(DATA_AT + 32) + view.getUint32(DATA_AT + 36) / 1e9,
    correctionS: float(0),
    lastOffsetS: float(1),
    frequencyPpm: float(3),
    residualPpm: float(4),
    skewPpm: float(5),
    rootDelayS: float(6),
    rootDispersionS: float(7),
    updateIntervalS: float(8),
  });
}

/**
 * Reads what `chronyc -c tracking` prints.
 *
 * @returns What it says, or why it is refused, to go on after `as`.
 */
export function decodeLine(text: string): ChronyTracking | string {
  const fields = text.trim().split(",");
  if (fields.length !== 14) return `chronyc gives ${fields.length} fields, not 14`;
  if (!/^[0-9A-F]{1,8}$/i.test(fields[0])) return "chronyc gives a reference id that is none";
  const number = (index: number) =>
    /^[-+]?\d+(\.\d+)?$/.test(fields[index]) ? Number(fields[index]) : NaN;
  return checked({
    referenceId: parseInt(fields[0], 16),
    reference: fields[1],
    stratum: number(2),
    leap: LEAPS.indexOf(fields[13]),
    referenceTimeS: number(3),
    correctionS: number(4),
    lastOffsetS: number(5),
    frequencyPpm: number(7),
    residualPpm: number(8),
    skewPpm: number(9),
    rootDelayS: number(10),
    rootDispersionS: number(11),
    updateIntervalS: number(12),
  });
}

/** One of chrony's floats. */
export function decodeFloat(word: number): number {
  const coefficient = (word << 7) >> 7;
  const exponent = (word >> COEFFICIENT_BITS) - COEFFICIENT_BITS;
  return coefficient * 2 ** exponent;
}

/** Refuses what no daemon can mean. */
function checked(tracking: ChronyTracking): ChronyTracking | string {
  const { stratum, leap, referenceTimeS, rootDispersionS } = tracking;
  const isWithin = (value: number, least: number, most: number) => value >= least && value <= most;
  if (!Number.isInteger(stratum) || !isWithin(stratum, 0, 16)) return "its stratum is impossible";
  if (!isWithin(leap, 0, 3)) return "its leap status is impossible";
  if (!isWithin(referenceTimeS, 0, 2 ** 40)) return "its time of reference is impossible";
  const seconds = [tracking.correctionS, tracking.lastOffsetS, tracking.rootDelayS];
  if (!seconds.every((value) => isWithin(value, -OFFSET_S_MAX, OFFSET_S_MAX))) {
    return "an offset or delay that it gives is impossible";
  }
  if (!isWithin(rootDispersionS, 0, DISPERSION_S_MAX)) return "its root dispersion is impossible";
  const ppm = [tracking.frequencyPpm, tracking.residualPpm, tracking.skewPpm];
  if (!ppm.every((value) => isWithin(value, -PPM_MAX, PPM_MAX)) || tracking.skewPpm < 0) {
    return "a frequency that it gives is impossible";
  }
  // chronyd says a negative interval before its second measurement.
  if (!Number.isFinite(tracking.updateIntervalS)) return "its interval is impossible";
  return tracking;
}

function addressText(view: DataView, at: number): string {
  const family = view.getUint16(at + 16);
  if (family === FAMILY_IPV4) {
    return [0, 1, 2, 3].map((index) => view.getUint8(at + index)).join(".");
  }
  if (family !== FAMILY_IPV6) return referenceText(view.getUint32(at - 4));
  const groups = [0, 2, 4, 6, 8, 10, 12, 14].map((index) =>
    view.getUint16(at + index).toString(16)
  );
  return groups.join(":");
}

/** A reference clock's name: four letters in the reference id. */
function referenceText(id: number): string {
  const letters = [24, 16, 8, 0].map((shift) => (id >>> shift) & 0xff);
  return letters.filter((code) => code > 32 && code < 127).map((code) => String.fromCharCode(code))
    .join("");
}
