/** A node keeps the newest checkpoint it has seen, believes none that does not continue it, and goes on working. */
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeEach, describe, expect, test } from 'vitest'
import { AuditWitness, CHECKPOINT_FILE, REFUSED_FILE } from '../../agent/audit-witness.ts'
import type { Answer } from '../../agent/gateway-answer.ts'
import { createLog } from '../../agent/log.ts'
import { toBase64, toBase64Url } from '../../crypto/bytes.ts'
import { treeHasher } from '../../crypto/merkle.ts'
import { consistencyRanges, readProof } from '../../crypto/merkle-proof.ts'
import { nodeSha256 } from '../../host/sha256.ts'
import { UserError } from '../../host/user-error.ts'
import { FleetId, GatewayKey } from '../../protocol/ids.ts'
import { WITNESS_INTERVAL_MS, WITNESS_SPREAD_MS } from '../../protocol/limits.ts'
import { LogSigner, logEntries, logEntry } from '../support/log-files.ts'
import { ManualClock } from '../support/manual-clock.ts'
import { NaiveTree } from '../support/naive-tree.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

const FLEET = FleetId.parse('abcdefghijklmnopqrstuvwxyz')
const treeOf = (entries: readonly Uint8Array[]): NaiveTree =>
  new NaiveTree(
    entries.map((entry) => treeHasher.leaf(entry)),
    nodeSha256,
  )
const HONEST = treeOf(logEntries(40))
const FORKED = treeOf(logEntries(40).with(3, logEntry(3, 'secret.forged')))

let signer: LogSigner
let directory: string
let clock: ManualClock
let lines: string[]
/** What the gateway serves. */
interface Served {
  tree: NaiveTree
  size: number
  origin: string
}
let served: Served
let outage: UserError | undefined
let asked: string[]

beforeEach(async () => {
  signer = await LogSigner.make()
  directory = temporaryDirectory()
  clock = new ManualClock()
  ;[lines, asked, outage] = [[], [], undefined]
  served = { tree: HONEST, size: 10, origin: `clawbernetes.${FLEET}/audit` }
})

async function get(path: string): Promise<Answer> {
  asked.push(path)
  if (outage !== undefined) throw outage
  const [, from] = /^\/v1\/node\/audit\/continuation\?from=(\d+)$/.exec(path) ?? []
  const { tree, size } = served
  const proof =
    Number(from) > size ? null : readProof(consistencyRanges(Number(from), size), tree.read).map(toBase64)
  const checkpoint = await signer.note(tree.head(size), served.origin)
  return { status: 200, body: Buffer.from(JSON.stringify({ checkpoint, proof })) }
}

const witness = (keys = () => [keyOf(signer)], answer = get): AuditWitness =>
  new AuditWitness({
    directory,
    fleet: FLEET,
    keys,
    get: answer,
    clock,
    log: createLog({ level: 'info', write: (line) => lines.push(line), now: () => clock.now() }),
  })
const keyOf = ({ key }: LogSigner): GatewayKey => GatewayKey.parse(toBase64Url(key.key))
const kept = (): string => readFileSync(join(directory, CHECKPOINT_FILE), 'utf8')
const logged = () =>
  lines.map((line) => JSON.parse(line) as { level: string; code?: string; message: string })

describe('a trail that goes on', () => {
  test('is followed, in a file of the node alone that is written when something is new', async () => {
    const one = witness()
    await one.check()
    expect(one.status).toMatchObject({ entries: 10, at: clock.now(), problem: undefined })
    expect(kept()).toBe(await signer.note(HONEST.head(10)))
    expect(statSync(join(directory, CHECKPOINT_FILE)).mode & 0o777).toBe(0o600)
    const { ino } = statSync(join(directory, CHECKPOINT_FILE))
    await one.check()
    expect(statSync(join(directory, CHECKPOINT_FILE)).ino).toBe(ino)
    expect(asked).toEqual(['/v1/node/audit/continuation?from=0', '/v1/node/audit/continuation?from=10'])

    served.size = 33
    await witness().check()
    expect(kept()).toBe(await signer.note(HONEST.head(33)))
    expect(asked).toHaveLength(3)
    expect(logged()).toEqual([])
  })

  test('is followed from nothing, and after the gateway has another key', async () => {
    served.size = 0
    await witness().check()
    const next = await LogSigner.make()
    const keys = () => [keyOf(signer), keyOf(next)]
    served.size = 5
    const one = witness(keys)
    await one.check()
    expect(one.status.entries).toBe(5)
    signer = next
    served.size = 6
    await one.check()
    expect(one.status).toMatchObject({ entries: 6, problem: undefined })
  })

  test('is not looked at while the gateway is away, which says nothing of it', async () => {
    const one = witness()
    await one.check()
    const before = one.status
    outage = new UserError({ code: 'E_GATEWAY_UNREACHABLE', message: 'away' })
    clock.advance(5)
    await one.check()
    expect(one.status).toEqual(before)
    expect(logged()).toEqual([])
  })
})

describe('a trail that does not go on', () => {
  const rewritten = async (change: Partial<Served>): Promise<AuditWitness> => {
    await witness().check()
    Object.assign(served, change)
    const one = witness()
    await one.check()
    return one
  }

  test.each<[string, string, Partial<Served>]>([
    ['is shorter', 'E_AUDIT_ROLLBACK', { size: 9 }],
    ['is empty', 'E_AUDIT_ROLLBACK', { size: 0 }],
    ['has other entries', 'E_AUDIT_ROLLBACK', { tree: FORKED }],
    ['has other entries, and more', 'E_AUDIT_FORK', { tree: FORKED, size: 20 }],
    ['is of another fleet', 'E_AUDIT_SIGNATURE', { origin: `clawbernetes.b${FLEET.slice(1)}/audit` }],
  ])(
    'because it %s, is not believed: the old checkpoint stays, and it is said',
    async (_case, code, change) => {
      const before = await signer.note(HONEST.head(10))
      const one = await rewritten(change)
      expect(one.status.problem?.code).toBe(code)
      expect(kept()).toBe(before)
      expect(logged()).toMatchObject([{ level: 'error', code, kept: join(directory, CHECKPOINT_FILE) }])
      const isProof = code !== 'E_AUDIT_SIGNATURE'
      expect(existsSync(join(directory, REFUSED_FILE))).toBe(isProof)
      if (isProof) {
        const refused = readFileSync(join(directory, REFUSED_FILE), 'utf8')
        expect(refused).toBe(await signer.note(served.tree.head(served.size)))
        served.size += 1
        await one.check()
        expect(readFileSync(join(directory, REFUSED_FILE), 'utf8')).toBe(refused)
      }
    },
  )

  test('because somebody else has signed it, is not believed', async () => {
    const one = witness()
    await one.check()
    const honest = signer
    signer = await LogSigner.make()
    const other = witness(() => [keyOf(honest)])
    await other.check()
    expect(other.status.problem?.code).toBe('E_AUDIT_SIGNATURE')
    expect(kept()).toBe(await honest.note(HONEST.head(10)))
  })

  test.each([
    ['none', null],
    ['another', ['AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=']],
    ['one of no hashes', ['nonsense']],
  ])('because its gateway has no proof but %s, is not believed', async (_case, proof) => {
    await witness().check()
    served.size = 20
    const checkpoint = await signer.note(HONEST.head(20))
    const without = async (): Promise<Answer> => ({
      status: 200,
      body: Buffer.from(JSON.stringify({ checkpoint, proof })),
    })
    const one = witness(undefined, without)
    await one.check()
    expect(one.status.problem?.code).toBe('E_AUDIT_FORK')
  })

  test('is believed again once it goes on as it was', async () => {
    const one = await rewritten({ size: 4 })
    expect(one.status.problem?.code).toBe('E_AUDIT_ROLLBACK')
    served.size = 12
    await one.check()
    expect(one.status).toMatchObject({ entries: 12, problem: undefined })
    expect(logged().at(-1)).toMatchObject({ level: 'info', message: 'the audit trail goes on as it was' })
  })

  test('a kept checkpoint that cannot be read is not replaced in silence', async () => {
    await witness().check()
    writeFileSync(join(directory, CHECKPOINT_FILE), 'nonsense')
    const one = witness()
    await one.check()
    expect(one.status.problem?.code).toBe('E_STATE_INVALID')
    expect(kept()).toBe('nonsense')
  })
})

describe('the pace', () => {
  test('spread over a minute after a session began, then about hourly, and not without a session', async () => {
    const one = witness()
    clock.chance = 0.999
    one.connected()
    clock.advance(WITNESS_SPREAD_MS * 0.99)
    expect(asked).toEqual([])
    clock.advance(WITNESS_SPREAD_MS * 0.01)
    expect(asked).toHaveLength(1)
    await one.check()
    clock.advance(WITNESS_INTERVAL_MS * 1.24)
    expect(asked).toHaveLength(1)
    clock.advance(WITNESS_INTERVAL_MS * 0.01)
    await one.check()
    expect(asked).toHaveLength(2)
    one.disconnected()
    expect(clock.pending).toBe(0)
    clock.chance = 0
    one.connected()
    one.connected()
    expect(clock.pending).toBe(1)
  })

  test('one look at a time', async () => {
    const one = witness()
    await Promise.all([one.check(), one.check(), one.check()])
    expect(asked).toHaveLength(1)
  })
})
