/** `claw secret` for the sealed class: real nodes, a real gateway, and the stock `age` as a witness. */
import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, existsSync, globSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { AdminClient } from '../../cli/admin-client.ts'
import { recipientProof } from '../../cli/secrets/audit-proof.ts'
import { Identity } from '../../crypto/identity.ts'
import { nodeIdOf } from '../../crypto/node-id.ts'
import { SecretBytes } from '../../crypto/secret-bytes.ts'
import { generateX25519, x25519PublicKey } from '../../crypto/x25519.ts'
import { ageIdentityOf, ageRecipientStanzas } from '../../host/age.ts'
import { GatewayConnection } from '../../host/gateway-connection.ts'
import { parseGatewayUrl } from '../../host/gateway-url.ts'
import { NodeName, SealingKey } from '../../protocol/ids.ts'
import type { SecretDetail } from '../../protocol/secrets.ts'
import { claw } from '../support/claw.ts'
import { clawnode } from '../support/clawnode.ts'
import { ownGateway } from '../support/own-gateway.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'
import { hasTerminal, inTerminal } from '../support/terminal.ts'

const gateway = ownGateway()
const { run, json } = gateway
const stock = spawnSync('age', ['--version']).status === 0
const own = (name: string) => join(gateway.home, 'own', name)
const nodeDirectory = (name: string) => join(gateway.home, name)

async function joinNode(name: string, ...tags: string[]): Promise<void> {
  const flags = tags.flatMap((tag) => ['--tag', tag])
  const token = join(gateway.home, `${name}.token`)
  writeFileSync(token, (await run(['token', 'create', ...flags])).stdout, { mode: 0o600 })
  const { url, ca } = gateway.running
  const where = ['--gateway', url, '--ca', ca, '--dir', nodeDirectory(name), '--name', name]
  const joined = await clawnode(['join', ...where, '--token-file', token])
  if (joined.code !== 0) throw new Error(joined.stderr)
}

/** What a job on the node gets. */
async function readOn(node: string, name: string) {
  const args = ['exec', '--dir', nodeDirectory(node), '--secret', `V=${name}`, '--no-cache', '--timeout', '0']
  const { code, stdout, stderr } = await clawnode([...args, '--', 'sh', '-c', 'printf %s "$V"'])
  return { code, stdout, stderr }
}

/** The node's own key, as the file that `age -i` takes. */
function exportedKey(node: string): string {
  const text = readFileSync(join(nodeDirectory(node), 'sealing.key'), 'utf8').trim()
  const path = join(temporaryDirectory(), 'node.key')
  writeFileSync(path, `${ageIdentityOf(SecretBytes.take(Buffer.from(text, 'base64')))}\n`, { mode: 0o600 })
  return path
}

async function ciphertext(name: string): Promise<string> {
  const path = join(temporaryDirectory(), 'secret.age')
  writeFileSync(path, (await run(['secret', 'get', name, '--ciphertext'])).bytes)
  return path
}

const age = (key: string, file: string) => spawnSync('age', ['-d', '-i', key, file], { encoding: 'utf8' })
const seal = (name: string, value: string, ...flags: string[]) =>
  run(['secret', 'set', name, '--sealed', '--yes', ...flags], value)
const recipientsOf = async (name: string) =>
  (await json<SecretDetail>(['secret', 'show', name])).versions.map(({ recipients }) => recipients.length)
const CANARY = 'canary-of-the-sealed-class-5f1e7a'

// First, because what follows seals to it.
test('a node joins', () => joinNode('alpha', 'gpu'))

describe('set', () => {
  test('asks before it seals to keys that are new, and nothing leaves before the answer', async () => {
    const asked = await run(['secret', 'set', 'first', '--sealed', '--allow-tag', 'gpu'], CANARY)
    expect(asked).toMatchObject({ code: 10, stderr: expect.stringContaining('E_CONFIRMATION_NEEDED') })
    expect(asked.stderr).toMatch(/^alpha +age1\w{58} +you have not sealed to it before$/m)
    expect((await run(['secret', 'show', 'first'])).code).toBe(5)
  })

  test.skipIf(!hasTerminal)('takes yes for an answer at a terminal, and nothing less', async () => {
    const file = join(temporaryDirectory(), 'value')
    writeFileSync(file, CANARY)
    const args = ['secret', 'set', 'asked', '--sealed', '--allow-tag', 'gpu', '--file', file]
    const answered = (answer: string) => inTerminal(args, { env: gateway.env, asked: 'to go on:', answer })
    const refused = await answered('y')
    expect([refused.code, refused.shown]).toEqual([10, expect.stringContaining('E_CONFIRMATION_REFUSED')])
    expect(refused.shown).toContain('This lets that node open secret asked. Type yes to go on:')
    expect((await run(['secret', 'show', 'asked'])).code).toBe(5)
    expect((await answered('yes')).code).toBe(0)
    expect((await run(['secret', 'get', 'asked'])).stdout).toBe(CANARY)
    rmSync(own('sealed.json'))
  })

  test('makes a key of the owner’s at first, private, with a loud word, and never again', async () => {
    rmSync(own('age-identity.txt'), { force: true })
    const first = await seal('loud', 'x')
    expect(first.stderr).toContain('BACK IT UP NOW')
    expect(statSync(own('age-identity.txt')).mode & 0o777).toBe(0o600)
    const key = readFileSync(own('age-identity.txt'), 'utf8')
    expect(first.stderr).not.toContain(key.match(/AGE-SECRET-KEY-1\w+/)?.[0])
    expect((await seal('loud', 'y')).stderr).not.toContain('BACK IT UP')
    expect(readFileSync(own('age-identity.txt'), 'utf8')).toBe(key)
    expect((await run(['secret', 'get', 'loud'])).stdout).toBe('y')
  })

  test('what it seals is read by its node and its owner, and by the stock age with the key of either', async () => {
    const sealed = await seal('witnessed', CANARY, '--allow-tag', 'gpu')
    expect(sealed.stderr).toContain('sealed to 1 node, readable by tag gpu')
    expect(await json(['secret', 'get', 'witnessed'])).toMatchObject({ class: 'sealed', value: CANARY })
    expect(await readOn('alpha', 'witnessed')).toMatchObject({ code: 0, stdout: CANARY })
    const file = await ciphertext('witnessed')
    expect(ageRecipientStanzas(readFileSync(file))).toBe(2)
    if (!stock) return
    for (const key of [exportedKey('alpha'), own('age-identity.txt')])
      expect(age(key, file)).toMatchObject({ status: 0, stdout: CANARY })
  })

  test('the gateway has no byte of it', async () => {
    const forms = [
      CANARY,
      Buffer.from(CANARY).toString('base64').slice(0, -4),
      Buffer.from(CANARY).toString('hex'),
    ]
    const files = globSync(`${gateway.home}/.claw/**/*`, { withFileTypes: true }).filter((file) =>
      file.isFile(),
    )
    expect(files.length).toBeGreaterThan(5)
    for (const file of files) {
      const content = readFileSync(join(file.parentPath, file.name)).toString('latin1')
      for (const form of forms) expect([file.name, content.includes(form)]).toEqual([file.name, false])
    }
  })

  test('a new version of a sealed secret is sealed unasked, and known keys are not asked about again', async () => {
    const again = await run(['secret', 'set', 'witnessed'], 'second')
    expect([again.code, again.stderr]).toEqual([0, expect.stringContaining('sealed to 1 node')])
    expect(await json(['secret', 'get', 'witnessed'])).toMatchObject({
      class: 'sealed',
      version: 2,
      value: 'second',
    })
    expect((await run(['secret', 'get', 'witnessed', '--version', '1'])).stdout).toBe(CANARY)
    const rotated = await run(['secret', 'rotate', 'witnessed', '--generate', '24', '--overlap', '1h'])
    expect(rotated.code).toBe(0)
    const { stdout } = await run(['secret', 'get', 'witnessed'])
    expect(stdout).toMatch(/^[A-Za-z0-9]{24}$/)
    expect(await readOn('alpha', 'witnessed')).toMatchObject({ stdout })
    expect(await readOn('alpha', 'witnessed@2')).toMatchObject({ stdout: 'second' })
  })

  test('a key that has changed is shown as such', async () => {
    const memory = readFileSync(own('sealed.json'), 'utf8')
    const parsed = JSON.parse(memory) as Record<string, { nodes: Record<string, string> }>
    for (const { nodes } of Object.values(parsed))
      for (const id of Object.keys(nodes)) nodes[id] = `${'A'.repeat(42)}E`
    writeFileSync(own('sealed.json'), JSON.stringify(parsed))
    const asked = await run(['secret', 'set', 'witnessed'], 'third')
    writeFileSync(own('sealed.json'), memory)
    expect(asked.code).toBe(10)
    expect(asked.stderr).toMatch(/^alpha .*ANOTHER KEY than when you last sealed to it$/m)
  })

  test('what was sealed is not sent in clear, whatever the gateway calls it', async () => {
    await seal('turned', CANARY)
    const elsewhere = { ...gateway.env, CLAW_HOME: join(gateway.home, 'elsewhere') }
    expect((await claw(['secret', 'purge', 'turned', '--yes'], { env: elsewhere })).code).toBe(0)
    const missing = await run(['secret', 'set', 'turned'], CANARY)
    expect(missing).toMatchObject({ code: 6, stderr: expect.stringContaining('E_SECRET_WAS_SEALED') })
    expect((await claw(['secret', 'set', 'turned'], { env: elsewhere, input: 'in clear' })).code).toBe(0)
    const managed = await run(['secret', 'set', 'turned'], CANARY)
    expect(managed.stderr).toContain('the gateway now calls it managed')
    expect((await run(['secret', 'set', 'turned', '--managed'], 'meant')).code).toBe(0)
    expect((await run(['secret', 'set', 'turned'], 'meant too')).code).toBe(0)
    expect((await run(['secret', 'set', 'turned', '--sealed', '--yes'], 'x')).stderr).toContain(
      'E_SECRET_CLASS',
    )
    expect((await run(['secret', 'set', 'witnessed', '--managed'], 'x')).stderr).toContain('E_SECRET_CLASS')
  })

  test('1 MiB is too much for a sealed value, and is told so here', async () => {
    const file = join(temporaryDirectory(), 'large')
    writeFileSync(file, Buffer.alloc(1024 * 1024))
    const refused = await run(['secret', 'set', 'huge', '--sealed', '--yes', '--file', file])
    expect(refused.stderr).toContain('E_SECRET_TOO_LARGE')
    writeFileSync(file, Buffer.alloc(1_000_000, 7))
    expect((await run(['secret', 'set', 'huge', '--sealed', '--yes', '--file', file])).code).toBe(0)
    expect((await run(['secret', 'get', 'huge'])).bytes.equals(readFileSync(file))).toBe(true)
  })
})

test('explain says what a node would be told, by which rule, and ends as it is', async () => {
  await run(['secret', 'set', 'told', '--allow-tag', 'gpu'], 'x')
  const allowed = await run(['secret', 'explain', 'told', '--node', 'alpha'])
  expect(allowed).toMatchObject({ code: 0, stderr: '' })
  expect(allowed.stdout).toBe(
    'allowed: node alpha may read told: rule 0 allows the tag gpu\n  rule 0: allow tag gpu\n  its tags: gpu\n',
  )
  await run(['secret', 'deny', 'told', '--node', 'alpha', '--workload', 'train'])
  expect((await run(['secret', 'explain', 'told', '--node', 'alpha'])).code).toBe(0)
  const denied = await run(['secret', 'explain', 'told', '--node', 'alpha', '--workload', 'train'])
  expect(denied.code).toBe(7)
  expect(denied.stdout).toContain('  rule 1: deny node alpha with workload train\n')
  expect(denied.stdout).toContain('it would be told E_SECRET_DENY_RULE')
  expect((await run(['secret', 'show', 'told'])).stdout).toMatch(/^nodes now +alpha$/m)
})

describe('keys of people', () => {
  test('a key that age-keygen made is used where it is named, and must be private', async () => {
    if (!stock) return
    const file = join(temporaryDirectory(), 'key.txt')
    execFileSync('age-keygen', ['-o', file], { stdio: 'ignore' })
    await run(['secret', 'set', 'named', '--sealed', '--yes', '--identity', file], 'x')
    const lost = await run(['secret', 'get', 'named'])
    expect(lost).toMatchObject({
      code: 7,
      stdout: '',
      stderr: expect.stringContaining('E_SEALED_UNREADABLE'),
    })
    expect((await run(['secret', 'get', 'named', '--identity', file])).stdout).toBe('x')
    const env = { ...gateway.env, CLAW_AGE_IDENTITY: file }
    expect((await claw(['secret', 'get', 'named'], { env })).stdout).toBe('x')
    chmodSync(file, 0o644)
    expect((await claw(['secret', 'get', 'named'], { env })).stderr).toContain('E_FILE_PERMISSIONS')
    writeFileSync(file, 'AGE-SECRET-KEY-1NOT', { mode: 0o600 })
    chmodSync(file, 0o600)
    const damaged = await claw(['secret', 'get', 'named'], { env })
    expect(damaged.stderr).toContain('line 1')
    expect(damaged.stderr).not.toContain('1NOT')
  })

  test('without a key there is a word about it, and none is made for reading', async () => {
    const empty = join(temporaryDirectory(), 'own')
    const read = await claw(['secret', 'get', 'loud'], { env: { ...gateway.env, CLAW_HOME: empty } })
    expect(read).toMatchObject({ code: 4, stderr: expect.stringContaining('E_AGE_IDENTITY') })
    expect(existsSync(empty)).toBe(false)
  })

  test('further keys open it too, and are not lost by a reseal that does not name them', async () => {
    if (!stock) return
    const file = join(temporaryDirectory(), 'colleague.txt')
    execFileSync('age-keygen', ['-o', file], { stdio: 'ignore' })
    const colleague = execFileSync('age-keygen', ['-y', file], { encoding: 'utf8' }).trim()
    await seal('shared', 'x', '--allow-tag', 'later', '--recipient', colleague)
    expect(age(file, await ciphertext('shared'))).toMatchObject({ stdout: 'x' })
    await joinNode('later', 'later')
    const lost = await run(['secret', 'reseal', 'shared', '--yes'])
    expect(lost).toMatchObject({ code: 6, stderr: expect.stringContaining('E_RECIPIENT_LOST') })
    expect((await run(['secret', 'reseal', 'shared', '--yes', '--recipient', colleague])).code).toBe(0)
    expect(age(file, await ciphertext('shared'))).toMatchObject({ stdout: 'x' })

    writeFileSync(own('age-recipients.txt'), `# colleagues\n${colleague}\n`, { mode: 0o600 })
    await seal('shared/always', 'x')
    expect(age(file, await ciphertext('shared/always'))).toMatchObject({ stdout: 'x' })
    writeFileSync(own('age-recipients.txt'), 'age1nonsense\n', { mode: 0o600 })
    expect((await seal('shared/never', 'x')).code).toBe(2)
    rmSync(own('age-recipients.txt'))
    expect((await seal('shared/never', 'x', '--recipient', 'ssh-ed25519 AAAA')).code).toBe(2)
    expect((await run(['secret', 'get', 'shared/never'])).code).toBe(5)
  })
})

test('a key that the trail does not say is sealed to by nobody: another key, another node, another entry, or none', async () => {
  const connection = new GatewayConnection({
    url: parseGatewayUrl(gateway.running.url),
    ca: readFileSync(gateway.running.ca, 'utf8'),
  })
  vi.stubEnv('CLAW_HOME', join(gateway.home, 'own'))
  onTestFinished(() => {
    connection.close()
    vi.unstubAllEnvs()
  })
  const client = new AdminClient(connection, readFileSync(gateway.running.adminTokenFile, 'utf8').trim())
  await run(['secret', 'set', 'proven', '--allow-tag', 'gpu'], 'x')
  const [alpha] = await client.secretRecipients('proven', { tags: [], nodes: [] })
  if (alpha === undefined) throw new Error('alpha may read nothing')
  const { publicKey } = await Identity.fromSeed(Identity.generateSeed())
  const sealing = SealingKey.parse(await x25519PublicKey(generateX25519()))
  const proof = recipientProof(client)
  expect(await proof.check(alpha)).toEqual({ ok: true, value: undefined })
  for (const forged of [
    { sealing },
    { identity: publicKey },
    { id: await nodeIdOf(publicKey) },
    { name: NodeName.parse('beta') },
    { entry: (alpha.entry ?? 0) + 1 },
    { entry: 10_000_000 },
    { entry: null },
  ])
    expect([forged, await proof.check({ ...alpha, ...forged })]).toEqual([
      forged,
      { ok: false, error: expect.any(String) },
    ])
})

describe('reseal', () => {
  test('lets a node in that has joined, and another out that may no longer read, old versions too', async () => {
    await seal('flux', 'one', '--allow-tag', 'flux')
    await seal('flux', 'two')
    expect(await recipientsOf('flux')).toEqual([0, 0])
    await joinNode('one', 'flux')
    expect((await readOn('one', 'flux')).code).not.toBe(0)
    expect((await run(['secret', 'ls'])).stdout).toMatch(/^flux .* 1 cannot open it yet$/m)
    expect((await run(['secret', 'show', 'flux'])).stdout).toMatch(/^lag of 2 +1 cannot open it yet$/m)
    const planned = await json<{ items: unknown[] }>(['secret', 'reseal', 'flux', '--dry-run'])
    expect(planned.items).toEqual([{ name: 'flux', version: 2, added: ['one'], dropped: [] }])
    const asked = await run(['secret', 'reseal', 'flux'])
    expect(asked).toMatchObject({
      code: 10,
      stderr: expect.stringContaining('this lets that node open secret flux'),
    })
    expect(await recipientsOf('flux')).toEqual([0, 0])

    const resealed = await run(['secret', 'reseal', '--all', '--yes'])
    expect([resealed.code, resealed.stdout]).toEqual([0, expect.stringMatching(/^flux +2 +one +-$/m)])
    expect(await recipientsOf('flux')).toEqual([0, 1])
    expect(await readOn('one', 'flux')).toMatchObject({ code: 0, stdout: 'two' })
    expect((await json<SecretDetail>(['secret', 'show', 'flux'])).version).toBe(2)
    expect((await run(['secret', 'reseal', 'flux'])).stderr).toBe('nothing lags\n')

    await seal('flux', 'three')
    const key = exportedKey('one')
    expect((await run(['node', 'rm', 'one', '--yes'])).code).toBe(0)
    expect((await run(['secret', 'ls'])).stdout).toMatch(/^flux .* 1 may not any more$/m)
    expect((await run(['secret', 'reseal', 'flux'])).code).toBe(0)
    expect(await recipientsOf('flux')).toEqual([0, 0, 0])
    if (stock) expect(age(key, await ciphertext('flux')).status).not.toBe(0)
    for (const [version, value] of [
      ['2', 'two'],
      ['3', 'three'],
    ] as const)
      expect((await run(['secret', 'get', 'flux', '--version', version])).stdout).toBe(value)
  })

  test('needs a sealed secret that is named, or all of them', async () => {
    await run(['secret', 'set', 'plain'], 'x')
    for (const args of [['plain'], [], ['plain', '--all']])
      expect((await run(['secret', 'reseal', ...args])).code).toBe(2)
  })
})

test('files are imported as sealed secrets, compared with them, and exported from them', async () => {
  const file = join(temporaryDirectory(), 'in.env')
  writeFileSync(file, 'A=1\nB=2\n')
  const args = ['secret', 'import', file, '--prefix', 'box', '--sealed', '--yes']
  expect((await run([...args, '--allow-tag', 'gpu'])).code).toBe(0)
  expect(await json(['secret', 'get', 'box/a'])).toMatchObject({ class: 'sealed', value: '1' })
  expect(await readOn('alpha', 'box/b')).toMatchObject({ stdout: '2' })
  const { items } = await json<{ items: { action: string }[] }>([...args, '--dry-run'])
  expect(items.map(({ action }) => action)).toEqual(['unchanged', 'unchanged'])
  writeFileSync(file, 'A=1\nB=3\n')
  expect((await run([...args, '--overwrite'])).code).toBe(0)
  expect((await run(['secret', 'export', 'box', '--yes'])).stdout).toBe("A='1'\nB='3'\n")
})
