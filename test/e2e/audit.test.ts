/**
 * Whoever has the gateway's disk rewrites its audit trail: whatever they do, the owner's claw and every node notice. The gateway and its key
 * are real; only the rows are changed, while it is stopped.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { AuditWitness, CHECKPOINT_FILE, REFUSED_FILE } from '../../agent/audit-witness.ts'
import { systemClock } from '../../agent/clock.ts'
import { type JoinedNode, openJoinedNode } from '../../agent/joined-node.ts'
import { createLog } from '../../agent/log.ts'
import { AdminClient } from '../../cli/admin-client.ts'
import { parseTilePath, TILE_WIDTH, tileRoot } from '../../crypto/merkle-tiles.ts'
import { GatewayConnection } from '../../host/gateway-connection.ts'
import { parseGatewayUrl } from '../../host/gateway-url.ts'
import { claw, openGateway, unusedPort } from '../support/claw.ts'
import { logEntry, logFiles } from '../support/log-files.ts'
import { openTemporaryDirectory } from '../support/temporary-directory.ts'

const { path: home, remove } = openTemporaryDirectory()
afterAll(remove)
const honest = { gateway: join(home, 'gateway'), owner: join(home, 'owner'), node: join(home, 'node') }
let port: string
/** Entries that owner and node have both seen. */
let seen: number

const start = (directory: string) => openGateway(directory, '--port', port)

beforeAll(async () => {
  port = String(await unusedPort())
  const gateway = await start(honest.gateway)
  const env = { ...gateway.env, CLAW_HOME: honest.owner }
  const connection = new GatewayConnection({
    url: parseGatewayUrl(gateway.url),
    ca: readFileSync(gateway.ca, 'utf8'),
  })
  const client = new AdminClient(connection, readFileSync(gateway.adminTokenFile, 'utf8').trim())
  for (let i = 0; i < 300; i++) await client.audit(1)
  const { token } = await client.createToken({})
  connection.close()
  const joining = [
    'bin/clawnode.js',
    'join',
    '--gateway',
    gateway.url,
    '--token-file',
    '-',
    '--dir',
    honest.node,
  ]
  const joined = spawnSync(process.execPath, joining, { input: token, encoding: 'utf8' })
  expect(joined.status, joined.stderr).toBe(0)

  const verified = JSON.parse((await claw(['audit', 'verify', '-o', 'json'], { env })).stdout) as {
    size: number
  }
  seen = verified.size
  const witness = await look(honest.node)
  expect(witness).toMatchObject({ problem: undefined })
  expect(witness.entries).toBeGreaterThan(300)
  await gateway.dispose()
})

/** What a node sees that has this state directory. */
async function look(directory: string): Promise<AuditWitness['status']> {
  const node: JoinedNode = await openJoinedNode(directory, systemClock)
  const witness = new AuditWitness({
    directory,
    fleet: node.state.node.fleet,
    keys: () => node.gatewayKeys.accepted,
    get: (path) => node.client.get(path),
    clock: systemClock,
    log: createLog({ level: 'error', write: () => undefined, now: () => Date.now() }),
  })
  await witness.check()
  node.connection.close()
  return witness.status
}

function openTrail(gateway: string): DatabaseSync {
  const files = readdirSync(gateway, { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.endsWith('.sqlite'),
  )
  for (const name of files) {
    const database = new DatabaseSync(join(gateway, name))
    const isTrail = database.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'tiles'").get() !== undefined
    if (isTrail) return database
    database.close()
  }
  throw new Error('the audit trail is not on this disk')
}

const entriesOf = (trail: DatabaseSync): Uint8Array[] =>
  trail
    .prepare('SELECT bytes FROM entries ORDER BY entry')
    .all()
    .map(({ bytes }) => bytes as Uint8Array)

/** As the gateway would have written it, had these been its entries from the first on. */
function rewrite(trail: DatabaseSync, entries: readonly Uint8Array[]): void {
  trail.exec('DELETE FROM entries; DELETE FROM tiles; DELETE FROM intents')
  const insert = trail.prepare('INSERT INTO entries (entry, bytes) VALUES (?, ?)')
  entries.forEach((bytes, index) => {
    insert.run(index, bytes)
  })
  for (const [path, hashes] of logFiles(entries).files) {
    const tile = parseTilePath(path)
    if (tile === undefined || tile.level === 'entries' || tile.width < TILE_WIDTH) continue
    trail
      .prepare('INSERT INTO tiles (level, n, root, hashes) VALUES (?, ?, ?, ?)')
      .run(tile.level, tile.n, tileRoot(hashes), hashes)
  }
}

const setEntry = (trail: DatabaseSync, index: number, bytes: Uint8Array): void => {
  trail.prepare('UPDATE entries SET bytes = ? WHERE entry = ?').run(bytes, index)
}

interface Tampering {
  readonly what: string
  readonly tamper: (trail: DatabaseSync) => void
  /** What the owner is told. */
  readonly owner: RegExp
  /** What a node says; undefined where nothing shows without reading the entries, which are not for nodes. */
  readonly node: RegExp | undefined
}

/** Of the same size it is the same moment twice; of a larger one it has another beginning. */
const REWRITTEN = /^E_AUDIT_(ROLLBACK|FORK)$/

const CASES: readonly Tampering[] = [
  {
    what: 'one entry is edited',
    tamper: (trail) => setEntry(trail, 17, logEntry(17, 'secret.forged')),
    owner: /entry 17 of the audit trail was changed[\s\S]*E_AUDIT_ENTRY/,
    node: undefined,
  },
  {
    what: 'two entries change places',
    tamper: (trail) => {
      const entries = entriesOf(trail)
      setEntry(trail, 40, entries[50] as Uint8Array)
      setEntry(trail, 50, entries[40] as Uint8Array)
    },
    owner: /entry 40 of the audit trail was changed[\s\S]*E_AUDIT_ENTRY/,
    node: undefined,
  },
  {
    what: 'an entry of the tile that is not full is edited',
    tamper: (trail) => setEntry(trail, 290, logEntry(290, 'secret.forged')),
    owner: /E_AUDIT_FORK/,
    node: REWRITTEN,
  },
  {
    what: 'the newest entries are dropped',
    tamper: (trail) => void trail.exec('DELETE FROM entries WHERE entry >= 280'),
    owner: /E_AUDIT_ROLLBACK/,
    node: /^E_AUDIT_ROLLBACK$/,
  },
  {
    what: 'all of it is rewritten with one entry edited',
    tamper: (trail) => rewrite(trail, entriesOf(trail).with(5, logEntry(5, 'secret.forged'))),
    owner: /E_AUDIT_FORK/,
    node: REWRITTEN,
  },
  {
    what: 'all of it is rewritten without one entry, and goes on beyond',
    tamper: (trail) => {
      const entries = entriesOf(trail).toSpliced(5, 1)
      rewrite(trail, [...entries, ...Array.from({ length: 20 }, (_, index) => logEntry(9000 + index))])
    },
    owner: /E_AUDIT_FORK/,
    node: /^E_AUDIT_FORK$/,
  },
  {
    what: 'it is founded anew',
    tamper: (trail) => rewrite(trail, []),
    owner: /E_AUDIT_ROLLBACK/,
    node: /^E_AUDIT_ROLLBACK$/,
  },
]

describe('whoever has the disk', () => {
  test('and changes nothing, is not accused', async () => {
    const { owner, node } = await restarted(() => undefined)
    expect(owner).toMatchObject({ code: 0, stdout: expect.stringMatching(/^verified: /) })
    expect(node.status.problem).toBeUndefined()
    expect(node.status.entries).toBeGreaterThan(seen)
  })

  test.each(CASES)('is found out when $what', async ({ tamper, owner: told, node: said }) => {
    const kept = readFileSync(join(honest.node, CHECKPOINT_FILE), 'utf8')
    const { owner, node } = await restarted(tamper)
    expect(owner).toMatchObject({ code: 1, stdout: '', stderr: expect.stringMatching(told) })
    if (said === undefined) return
    expect(node.status.problem?.code).toMatch(said)
    expect(readFileSync(join(node.directory, CHECKPOINT_FILE), 'utf8')).toBe(kept)
    expect(readFileSync(join(node.directory, REFUSED_FILE), 'utf8')).toMatch(/^clawbernetes\./)
  })
})

/** Owner and node as they were, after the trail was changed and the gateway started again. */
async function restarted(tamper: (trail: DatabaseSync) => void) {
  const copy = mkdtempSync(join(home, 'copy-'))
  // Node's own copying gives directories other modes.
  execFileSync('cp', ['-a', ...Object.values(honest), copy])
  const [directory, own, machine] = [join(copy, 'gateway'), join(copy, 'owner'), join(copy, 'node')]
  const trail = openTrail(directory)
  tamper(trail)
  trail.close()
  const gateway = await start(directory)
  try {
    const owner = await claw(['audit', 'verify'], { env: { ...gateway.env, CLAW_HOME: own } })
    return { owner, node: { directory: machine, status: await look(machine) } }
  } finally {
    await gateway.dispose()
  }
}
