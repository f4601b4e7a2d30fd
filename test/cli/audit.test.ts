/** `claw audit` against a gateway of its own: reading, following, proving, keeping and giving away. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, cpSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { describe, expect, onTestFinished, test } from 'vitest'
import { AdminClient } from '../../cli/admin-client.ts'
import { GatewayConnection } from '../../host/gateway-connection.ts'
import { parseGatewayUrl } from '../../host/gateway-url.ts'
import { AuditList } from '../../protocol/audit.ts'
import { claw } from '../support/claw.ts'
import { ownGateway } from '../support/own-gateway.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

const gateway = ownGateway()
const { run, json } = gateway

const writeSecrets = async (prefix: string, count: number): Promise<void> => {
  for (let i = 0; i < count; i++) await run(['secret', 'set', `${prefix}/${i}`], 'x')
}

/** With entries that say that the list was read. */
async function fillLog(entries: number): Promise<void> {
  const { url, ca, adminTokenFile } = gateway.running
  const connection = new GatewayConnection({ url: parseGatewayUrl(url), ca: readFileSync(ca, 'utf8') })
  const client = new AdminClient(connection, readFileSync(adminTokenFile, 'utf8').trim())
  for (let i = 0; i < entries; i++) await client.audit(1)
  connection.close()
}

describe('reading', () => {
  test('ls finds by actor, action, target, outcome and time', async () => {
    await writeSecrets('found', 2)
    await run(['secret', 'get', 'found/none'])
    const targets = async (...flags: string[]) =>
      AuditList.parse(await json(['audit', 'ls', ...flags])).items.map(({ target }) => target)
    expect(await targets('--action', 'secret.write', '--target', 'secret:found/')).toEqual([
      'secret:found/1',
      'secret:found/0',
    ])
    expect(await targets('--outcome', 'denied', '--since', '1h')).toEqual(['secret:found/none'])
    expect(await targets('--actor', 'admin:root', '--until', '1h')).toEqual([])
    expect((await run(['audit', 'ls', '--since', 'lately'])).code).toBe(2)
    expect((await run(['audit', 'ls', '--outcome', 'maybe'])).code).toBe(2)
  })

  test('show proves the entry it shows', async () => {
    await writeSecrets('shown', 1)
    const [{ seq = -1 } = {}] = AuditList.parse(
      await json(['audit', 'ls', '--target', 'secret:shown/']),
    ).items
    expect((await run(['audit', 'show', String(seq)])).stdout).toMatch(
      /action +secret\.write\n[\s\S]*version +1\n/,
    )
    expect(await json(['audit', 'show', String(seq)])).toMatchObject({ seq, target: 'secret:shown/0' })
    expect(await run(['audit', 'show', '999999'])).toMatchObject({
      code: 5,
      stderr: expect.stringContaining('E_AUDIT_NOT_FOUND'),
    })
    expect((await run(['audit', 'show', '-1'])).code).toBe(2)
  })

  test('tail shows what there is and then what comes, each once', async () => {
    await writeSecrets('tailed', 3)
    const child = spawn(
      process.execPath,
      ['bin/claw.js', 'audit', 'tail', '-n', '2', '--target', 'secret:tailed/', '-o', 'json'],
      { env: { ...process.env, ...gateway.env }, stdio: ['ignore', 'pipe', 'inherit'] },
    )
    onTestFinished(() => void child.kill())
    const seen: string[] = []
    const lines = createInterface({ input: child.stdout })
    for await (const line of lines) {
      seen.push((JSON.parse(line) as { target: string }).target)
      if (seen.length === 2) await run(['secret', 'set', 'tailed/later'], 'x')
      if (seen.length === 3) break
    }
    expect(seen).toEqual(['secret:tailed/1', 'secret:tailed/2', 'secret:tailed/later'])
    child.kill()
    await once(child, 'exit')
    const once_ = await run(['audit', 'tail', '-n', '1', '--once', '--target', 'secret:tailed/'])
    expect(once_.stdout).toMatch(
      /^\d+ {2}\S+ {2}admin:root {2}secret\.write {2}secret:tailed\/later {2}allowed/,
    )
  })

  test('export prints every entry, in order, as JSON', async () => {
    const { stdout, code } = await run(['audit', 'export'])
    const entries = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { seq: number; action: string })
    expect(code).toBe(0)
    expect(entries.map(({ seq }) => seq)).toEqual(entries.map((_, index) => index))
    const some = await run(['audit', 'export', '--action', 'secret.write', '--target', 'secret:shown/'])
    expect(some.stdout.trimEnd().split('\n')).toHaveLength(1)
  })
})

describe('verifying', () => {
  test('says in one line what was verified, and remembers it for its owner alone', async () => {
    const home = temporaryDirectory()
    const env = { ...gateway.env, CLAW_HOME: join(home, 'mine') }
    const first = await claw(['audit', 'verify'], { env })
    expect(first).toMatchObject({ code: 0, stderr: '' })
    expect(first.stdout).toMatch(
      /^verified: \d+ entries, root \S{43}=, the first checkpoint seen, node keys agree(, [a-z ]+ agree)*\n$/,
    )
    const kept = join(home, 'mine', 'audit-logs.json')
    expect(statSync(kept).mode & 0o777).toBe(0o600)
    expect((await claw(['audit', 'verify'], { env })).stdout).toContain('continues 1 known')
  })

  test('takes an older checkpoint, and finds out one that was never true', async () => {
    const home = temporaryDirectory()
    const file = join(home, 'old-checkpoint')
    const { stdout: note } = await run(['audit', 'checkpoint'])
    writeFileSync(file, note)
    await writeSecrets('since', 1)
    expect((await run(['audit', 'verify', '--from', file])).code).toBe(0)

    const [origin, size, root = '', ...rest] = note.split('\n')
    const forge = (lines: string[]): void => writeFileSync(file, lines.join('\n'))
    forge([origin ?? '', size ?? '', `${root.startsWith('A') ? 'B' : 'A'}${root.slice(1)}`, ...rest])
    expect(await run(['audit', 'verify', '--from', file])).toMatchObject({
      code: 1,
      stdout: '',
      stderr: expect.stringContaining('E_AUDIT_FORK'),
    })
    forge([origin ?? '', '99999', root, ...rest])
    expect((await run(['audit', 'verify', '--from', file])).stderr).toContain('E_AUDIT_ROLLBACK')
    forge([`${origin}x`, size ?? '', root, ...rest])
    expect((await run(['audit', 'verify', '--from', file])).stderr).toContain('E_AUDIT_ORIGIN')
    forge(['nothing'])
    expect(await run(['audit', 'verify', '--from', file])).toMatchObject({ code: 2 })
  })

  test('believes the key that it knows, and one that it is told', async () => {
    const env = { ...gateway.env, CLAW_HOME: join(temporaryDirectory(), 'mine') }
    const told = JSON.parse((await claw(['audit', 'verify', '-o', 'json'], { env })).stdout) as {
      verifierKeys: [string]
      origin: string
    }
    expect(told.verifierKeys[0]).toMatch(/^clawbernetes\.[a-z2-7]{26}\/audit\+[0-9a-f]{8}\+/)
    const kept = join(env.CLAW_HOME, 'audit-logs.json')
    const known = JSON.parse(readFileSync(kept, 'utf8')) as { logs: Record<string, { keys: string[] }> }
    const log = known.logs[told.origin]
    if (log === undefined) throw new Error('nothing is remembered')
    log.keys = ['AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA']
    writeFileSync(kept, JSON.stringify(known))
    expect(await claw(['audit', 'verify'], { env })).toMatchObject({
      code: 4,
      stderr: expect.stringContaining('E_GATEWAY_KEY'),
    })
    expect(await claw(['audit', 'verify', '--key', told.verifierKeys[0]], { env })).toMatchObject({ code: 0 })
    expect((await claw(['audit', 'verify', '--key', 'nonsense'], { env })).code).toBe(2)
  })

  test('another log at the same gateway is not taken for the one it had', async () => {
    const env = { ...gateway.env, CLAW_HOME: join(temporaryDirectory(), 'mine') }
    await claw(['audit', 'verify'], { env })
    const kept = join(env.CLAW_HOME, 'audit-logs.json')
    const text = readFileSync(kept, 'utf8')
    const [, fleet = ''] = /clawbernetes\.([a-z2-7]{26})/.exec(text) ?? []
    writeFileSync(kept, text.replaceAll(fleet, 'a'.repeat(26)))
    expect((await claw(['audit', 'verify'], { env })).stderr).toContain('E_AUDIT_ORIGIN')
    expect((await claw(['audit', 'verify', '--new-log'], { env })).code).toBe(0)
    const unreadable = text.replaceAll(/"checkpoint": ".*"/g, '"checkpoint": "nonsense"')
    for (const damaged of ['nonsense', unreadable]) {
      writeFileSync(kept, damaged)
      expect(await claw(['audit', 'verify'], { env })).toMatchObject({
        code: 78,
        stderr: expect.stringContaining('E_STATE_INVALID'),
      })
    }
  })
})

test('an archive is a verified copy; what is pruned is read from there, and from nowhere else', async () => {
  await fillLog(520)
  const directory = join(temporaryDirectory(), 'archive')
  expect((await run(['audit', 'archive', directory])).code).toBe(0)
  const files = readFileSync(join(directory, 'checkpoint'), 'utf8').split('\n')
  const size = Number(files[1])
  expect(size).toBeGreaterThan(512)
  expect(statSync(join(directory, 'tile/entries/000')).mode & 0o777).toBe(0o600)
  expect(statSync(directory).mode & 0o777).toBe(0o700)

  const damaged = join(temporaryDirectory(), 'damaged')
  cpSync(directory, damaged, { recursive: true })
  chmodSync(damaged, 0o700)
  const bundle = readFileSync(join(damaged, 'tile/entries/000'))
  bundle[100] = (bundle[100] ?? 0) ^ 1
  writeFileSync(join(damaged, 'tile/entries/000'), bundle)
  const refused = await run(['audit', 'archive', damaged, '--prune', '--yes'])
  expect(refused).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/entry \d+ of the audit trail was changed[\s\S]*E_AUDIT_ENTRY/),
  })

  expect(await run(['audit', 'archive', directory, '--prune'])).toMatchObject({ code: 10 })
  const pruned = await run(['audit', 'archive', directory, '--prune', '--yes', '-o', 'json'])
  const { below } = JSON.parse(pruned.stdout) as { below: number }
  expect(below % 256).toBe(0)
  expect(below).toBeGreaterThanOrEqual(512)
  expect(await run(['audit', 'show', '0'])).toMatchObject({
    stderr: expect.stringContaining('E_AUDIT_ARCHIVED'),
  })
  expect(await run(['audit', 'verify'])).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('E_AUDIT_ARCHIVED'),
  })
  expect((await run(['audit', 'verify', '--archive', directory])).stdout).toMatch(/^verified: /)
  expect((await run(['audit', 'verify', '--archive', damaged])).stderr).toContain('E_AUDIT_ENTRY')
  expect((await run(['audit', 'verify', '--without-archived'])).stdout).toContain(
    `${below} of them archived and not read`,
  )
  const exported = await run(['audit', 'export', '--archive', directory])
  expect(exported.stdout.split('\n')[0]).toContain('"seq":0')

  await writeSecrets('afterwards', 1)
  const again = await run(['audit', 'archive', directory, '-o', 'json'])
  expect(JSON.parse(again.stdout)).toMatchObject({ directory })
})
