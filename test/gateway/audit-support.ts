/** Logs of a test's own, and what whoever reads one from outside can work out from its files. */
import { env } from 'cloudflare:workers'
import { sha256 } from '@noble/hashes/sha2.js'
import { fromBase64Url } from '../../crypto/bytes.ts'
import { type Checkpoint, parseCheckpoint } from '../../crypto/checkpoint.ts'
import { treeHasher } from '../../crypto/merkle.ts'
import { decodeBundle, TILE_WIDTH } from '../../crypto/merkle-tiles.ts'
import { openNote } from '../../crypto/signed-note.ts'
import type { AuditLog } from '../../durable-objects/audit-log.ts'
import { readConfig } from '../../durable-objects/config.ts'
import type { AuditEvent } from '../../protocol/audit.ts'
import { NaiveTree } from '../support/naive-tree.ts'

export type Log = DurableObjectStub<AuditLog>

/** Beside the gateway's own. */
export const logNamed = (name: string): Log => env.AUDIT_LOG.getByName(name)

export const event = (number: number | string, fields: Partial<AuditEvent> = {}): AuditEvent => ({
  actor: 'tester',
  action: 'test.done',
  target: `test:${number}`,
  outcome: 'allowed',
  reason: '',
  requestId: `req_${number}`,
  ...fields,
})

export const events = (from: number, count: number): AuditEvent[] =>
  Array.from({ length: count }, (_, index) => event(from + index))

/** Every entry, as bytes, from the bundles. */
export async function allEntries(log: Log, size: number): Promise<Uint8Array[]> {
  const entries: Uint8Array[] = []
  for (let n = 0; n * TILE_WIDTH < size; n++) {
    const width = Math.min(TILE_WIDTH, size - n * TILE_WIDTH)
    const bundle = await log.bundle({ n, width })
    const decoded = bundle.ok ? decodeBundle(bundle.value, width) : undefined
    if (decoded === undefined) throw new Error(`bundle ${n} cannot be read`)
    entries.push(...decoded)
  }
  return entries
}

/** The tree over entries, made as naively as can be. */
export const treeOver = (entries: readonly Uint8Array[]): NaiveTree =>
  new NaiveTree(
    entries.map((entry) => treeHasher.leaf(entry)),
    sha256,
  )

/** What a checkpoint says, if the gateway has signed it. */
export async function openCheckpoint(note: string): Promise<Checkpoint> {
  const { signing } = await readConfig(env)
  const origin = note.slice(0, note.indexOf('\n'))
  const key = fromBase64Url(signing.key) ?? new Uint8Array()
  const opened = await openNote(note, [{ name: origin, key }])
  const checkpoint = opened.ok ? parseCheckpoint(opened.value.text) : undefined
  if (checkpoint === undefined) throw new Error('the checkpoint is not signed by the gateway')
  return checkpoint
}

export const headOf = async (log: Log): Promise<Checkpoint> => openCheckpoint(await log.checkpoint())
