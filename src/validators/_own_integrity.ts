/**
 * Validator 2 on a user's directory: every byte that says something is checked, and what is wrong is named by file,
 * byte, tick and pages, with what to do.
 *
 * Cost: a pass over the log; more where something is wrong ({@linkcode accountFor}).
 */

import { FileStorage, type LogAudit, type LogFault, verifyLog } from "../log/mod.ts";
import { text } from "./_figures.ts";
import {
  accountFor,
  auditOwn,
  type DamageAccount,
  type DamagedPlace,
  indexFaults,
} from "./_own_damage.ts";
import { damageNotes, damageSentence } from "./_own_words.ts";
import type { Measured, ValidatorContext } from "./validator.ts";

/** Checks a directory's log, checkpoints and indexes. */
export async function integrityOf(
  directory: string,
  { progress }: ValidatorContext,
): Promise<Measured> {
  const storage = new FileStorage(directory);
  const audit = await auditOwn(storage, () => verifyLog(directory, { progress }));
  const damage = audit.problems.filter(({ kind }) => kind === "damage");
  const torn = audit.problems.filter(({ kind }) => kind === "torn");
  const indexes = indexFaults(storage);
  const isWhole = damage.length + indexes.damaged.length === 0;
  const account = isWhole
    ? undefined
    : await ownAccount(storage, { ...audit, problems: damage }, indexes.damaged, progress);
  // A fault that is no delta's takes one off, so that none is hidden.
  const valid = damage.length > 0
    ? Math.min(audit.validDeltas, audit.deltas - 1)
    : audit.validDeltas;
  return {
    metrics: {
      // A log without a delta has none that is wrong.
      validPercent: audit.deltas === 0
        ? damage.length === 0 ? 100 : 0
        : 100 * Math.max(0, valid) / audit.deltas,
      orphans: audit.orphans,
    },
    samples: Math.max(1, audit.deltas),
    notes: [
      `checked one by one: ${text(audit.deltas)} deltas in ${text(audit.ticks)} ticks, ${
        text(audit.frames)
      } frames; pages: ${text(audit.pages)}`,
      ...(audit.sequenceGaps === 0
        ? []
        : [`${text(audit.sequenceGaps)} sequence numbers left out, as refused batches do`]),
      ...(audit.checkpoints === 0 ? [] : [checkpointsText(audit.checkpoints)]),
      ...torn.slice(0, 10).map(problemText),
      ...indexes.unusable.map((file) =>
        `${file} is no whole index, as a crash may leave one: it is made again when it is needed`
      ),
      ...(account === undefined ? [] : damageNotes(directory, account)),
    ],
    unmeasured: { plantedFound: "nothing is planted in a user's directory" },
    ...(account === undefined ? {} : { damage: damageSentence(account) }),
  };
}

/** What is damaged, in the log and beside it. */
async function ownAccount(
  storage: FileStorage,
  audit: LogAudit,
  indexes: readonly DamagedPlace[],
  progress: (text: string) => void,
): Promise<DamageAccount> {
  if (audit.problems.length === 0) return { places: indexes, more: 0 };
  const account = await accountFor(storage, audit, progress);
  return { ...account, places: [...account.places, ...indexes] };
}

function problemText({ kind, file, offset, tick, message }: LogFault): string {
  const what = kind === "torn" ? "a torn tail, which the next open cuts: " : "";
  return `${what}${file} at byte ${offset}${
    tick === undefined ? "" : `, tick ${tick}`
  }: ${message}`;
}

function checkpointsText(count: number): string {
  return count === 1
    ? "1 checkpoint is whole and leads where the log leads"
    : `${text(count)} checkpoints are whole and lead where the log leads`;
}
