/** Does to the store what an operation says. */
import { fromUtf8, utf8 } from '../../../crypto/bytes.ts'
import { SecretBytes } from '../../../crypto/secret-bytes.ts'
import type { Refusal } from '../../../protocol/errors.ts'
import type { NodeId } from '../../../protocol/ids.ts'
import { ok, type Result } from '../../../protocol/result.ts'
import { settleLost } from '../../../secrets/change.ts'
import type { KnownSecrets } from '../../../secrets/known.ts'
import { changeSettings, changeVersions, purgeSecret } from '../../../secrets/lifecycle.ts'
import { judgeNode } from '../../../secrets/node-read.ts'
import { readSecrets } from '../../../secrets/read.ts'
import { INLINE_FRAME_BYTES } from '../../../secrets/rows.ts'
import type { SecretStores } from '../../../secrets/stores.ts'
import { reseal, rewrap, writeManaged, writeSealed } from '../../../secrets/write.ts'
import type { History, ValueRead, Work } from './history.ts'
import type { Change } from './model.ts'
import { NAMES, type Operation, policyOf, READERS, RECIPIENTS, ruleOf } from './operations.ts'

/** The work an operation is, with what it counts from the newest version counted out. */
export function workOf(history: History, operation: Operation, key: number, start: number): Work {
  const id = history.work.length
  return history.begin(
    operation.kind,
    changeOf(history, operation, key, start, `value ${id}`),
    readOf(history, operation),
  )
}

function changeOf(
  history: History,
  operation: Operation,
  key: number,
  start: number,
  value: string,
): Change | undefined {
  if (!('name' in operation)) return undefined
  const { kind } = operation
  const name = nameAt(operation.name)
  const newest = newestOf(history, operation.name)
  const number = (back: number): number => Math.max(1, newest - back)
  switch (kind) {
    case 'write': {
      const { class: secretClass, cas, large, overlap, policy } = operation
      return {
        kind,
        name,
        class: secretClass,
        value: large ? value.padEnd(INLINE_FRAME_BYTES + 1, '.') : value,
        key: secretClass === 'sealed' ? null : key,
        recipients: secretClass === 'sealed' ? (RECIPIENTS[operation.recipients] ?? []) : [],
        policy: policyOf(policy, start),
        cas: cas === undefined ? undefined : Math.max(0, newest + cas),
        overlap,
      }
    }
    case 'reseal':
      return {
        kind,
        name,
        version: number(operation.back),
        value,
        recipients: RECIPIENTS[operation.recipients] ?? [],
      }
    case 'rewrap':
      return { kind, name, version: number(operation.back), key }
    case 'purge':
      return { kind, name }
    case 'settings': {
      const { policy, rule, maxVersions, deleteAfterMs, casRequired } = operation
      const settings = { maxVersions, deleteAfterMs, casRequired }
      const given = Object.entries(settings).filter(([, setting]) => setting !== undefined)
      return {
        kind,
        name,
        policy: policyOf(policy, start),
        rule: ruleOf(rule),
        settings: Object.fromEntries(given),
      }
    }
    default:
      return { kind, name, versions: operation.back && [...new Set(operation.back.map(number))] }
  }
}

function readOf(history: History, operation: Operation): Work['read'] {
  if (operation.kind !== 'read') return undefined
  const reader = READERS[operation.reader]
  if (reader === undefined) throw new Error('there is no such reader')
  const wanted = operation.wanted.map(({ name, back }) => ({
    name: nameAt(name),
    version: back === undefined ? undefined : Math.max(1, newestOf(history, name) - back),
  }))
  return { reader, wanted }
}

const nameAt = (index: number): Change['name'] => {
  const name = NAMES[index]
  if (name === undefined) throw new Error('there is no such name')
  return name
}

const newestOf = (history: History, name: number): number => {
  const secret = history.present.state.get(nameAt(name))
  return secret === undefined || secret.purged ? 0 : secret.version
}

/** @returns what was read; nothing for any other work. */
export async function perform(
  stores: SecretStores,
  known: KnownSecrets,
  work: Work,
): Promise<Result<readonly ValueRead[], Refusal>> {
  const { change, read } = work
  if (work.kind === 'sweep') await settleLost(stores)
  if (read !== undefined) return performRead(stores, known, work.id, read)
  if (change === undefined) return ok([])
  const done = await performChange(stores, work.id, change)
  return done.ok ? ok([]) : done
}

async function performRead(
  stores: SecretStores,
  known: KnownSecrets,
  requestId: string,
  { reader, wanted }: NonNullable<Work['read']>,
): Promise<Result<readonly ValueRead[], Refusal>> {
  const actor = { actor: `node:${reader.id}`, requestId }
  const asked = { wanted, judge: judgeNode(reader, stores.now()) }
  return readSecrets(stores, known, actor, asked, async ({ secret, version }, value) => ({
    name: secret.name,
    version: version.version,
    value: fromUtf8(value.expose()),
    inline: version.frame !== undefined,
  }))
}

function performChange(
  stores: SecretStores,
  requestId: string,
  change: Change,
): Promise<Result<unknown, Refusal>> {
  const actor = { actor: 'admin:model', requestId }
  const { name } = change
  switch (change.kind) {
    case 'write': {
      const bytes = utf8(change.value)
      return change.class === 'managed'
        ? writeManaged(stores, actor, name, SecretBytes.take(bytes), change)
        : writeSealed(stores, actor, name, bytes, change.recipients as NodeId[], change)
    }
    case 'reseal':
      return reseal(stores, actor, name, change.version, utf8(change.value), change.recipients as NodeId[])
    case 'rewrap':
      return rewrap(stores, actor, name, change.version)
    case 'purge':
      return purgeSecret(stores, actor, name)
    case 'settings':
      return changeSettings(stores, actor, name, {
        ...change.settings,
        policy: change.policy,
        rule: change.rule,
      })
    default:
      return changeVersions(stores, actor, name, change.kind, change.versions)
  }
}
