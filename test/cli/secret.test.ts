/** `claw secret` for managed secrets, against a gateway that really runs. */
import { spawnSync } from 'node:child_process'
import { chmodSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { SecretDetail } from '../../protocol/secrets.ts'
import { ownGateway } from '../support/own-gateway.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

const gateway = ownGateway()
const { run, json } = gateway

/** A failure that is expected: its exit code and the stable code it tells. */
async function refusal(args: readonly string[], input?: string | Uint8Array) {
  const { code, stderr, stdout } = await run([...args, '-o', 'json'], input)
  expect([args, stdout]).toEqual([args, ''])
  return {
    exit: code,
    ...(JSON.parse(stderr) as { error: { code: string; message: string; why?: string } }).error,
  }
}

const trail = async (limit: number) =>
  (await json<{ items: Record<string, unknown>[] }>(['audit', 'ls', '--limit', String(limit)])).items

describe('set and get', () => {
  const BYTES = Uint8Array.from({ length: 256 }, (_, index) => index)

  test.each([
    ['text', Buffer.from('pässword\n')],
    ['every byte', BYTES],
    ['nothing', new Uint8Array()],
    ['a byte-order mark', Buffer.from([0xef, 0xbb, 0xbf, 0x61])],
  ])('%s comes back as it went in, from standard input and from a file', async (_case, value) => {
    const file = join(temporaryDirectory(), 'value')
    writeFileSync(file, value)
    expect((await run(['secret', 'set', 'from/stdin'], value)).code).toBe(0)
    expect((await run(['secret', 'set', 'from/file', '--file', file])).code).toBe(0)
    for (const name of ['from/stdin', 'from/file']) {
      const { code, bytes, stderr } = await run(['secret', 'get', name])
      expect([code, Buffer.compare(bytes, value), stderr]).toEqual([0, 0, ''])
    }
  })

  test('get -o json gives text as text and the rest in base64', async () => {
    await run(['secret', 'set', 'as/text'], 'hello')
    await run(['secret', 'set', 'as/bytes'], BYTES)
    const common = { version: 1, class: 'managed' }
    expect(await json(['secret', 'get', 'as/text'])).toEqual({ name: 'as/text', ...common, value: 'hello' })
    const valueBase64 = Buffer.from(BYTES).toString('base64')
    expect(await json(['secret', 'get', 'as/bytes'])).toEqual({ name: 'as/bytes', ...common, valueBase64 })
  })

  test('versions count up, older ones can be read, readers stay unless they are named anew', async () => {
    const first = await run(['secret', 'set', 'counted', '--allow-tag', 'gpu'], 'one')
    expect(first.stderr).toBe('secret counted is at version 1, readable by tag gpu\n')
    const second = await json<SecretDetail>(['secret', 'set', 'counted'], 'two')
    expect(second).toMatchObject({ version: 2, policy: { rules: [{ effect: 'allow', tags: ['gpu'] }] } })
    const third = await json<SecretDetail>(['secret', 'set', 'counted', '--allow-tag', 'lab'], 'three')
    expect(third).toMatchObject({ version: 3, policy: { rules: [{ tags: ['lab'] }] } })
    expect((await run(['secret', 'get', 'counted', '--version', '1'])).stdout).toBe('one')
    expect(await refusal(['secret', 'get', 'counted', '--version', '9'])).toMatchObject({
      exit: 5,
      code: 'E_SECRET_VERSION_NOT_FOUND',
    })
  })

  test('--cas writes only over the version that was meant', async () => {
    expect((await run(['secret', 'set', 'cas', '--cas', '0'], 'one')).code).toBe(0)
    expect(await refusal(['secret', 'set', 'cas', '--cas', '0'], 'two')).toMatchObject({
      exit: 6,
      code: 'E_SECRET_CAS',
    })
    expect((await run(['secret', 'set', 'cas', '--cas', '1'], 'two')).code).toBe(0)
    expect((await run(['secret', 'get', 'cas'])).stdout).toBe('two')
  })

  test('a value is never an argument, a name never nonsense, a file never too large, an age file never of a managed one', async () => {
    expect((await run(['secret', 'set', 'name', 'value'])).code).toBe(2)
    expect((await run(['secret', 'set', 'Not/A/Name'], 'x')).code).toBe(2)
    expect((await run(['secret', 'set', 'name', '--allow-tag', 'Not A Tag'], 'x')).code).toBe(2)
    expect((await run(['secret', 'set', 'name', '--sealed', '--managed'], 'x')).code).toBe(2)
    const file = join(temporaryDirectory(), 'large')
    writeFileSync(file, Buffer.alloc(1024 * 1024 + 1))
    expect((await run(['secret', 'set', 'large', '--file', file])).stderr).toContain('E_SECRET_TOO_LARGE')
    await run(['secret', 'set', 'plain'], 'x')
    expect(await refusal(['secret', 'get', 'plain', '--ciphertext'])).toMatchObject({ exit: 2 })
  })
})

describe('ls and show', () => {
  test('ls shows a level at a time, folders with what they hold', async () => {
    for (const name of ['tree', 'tree/a', 'tree/b/c', 'tree/b/d/e', 'treehouse'])
      await run(['secret', 'set', name, '--allow-tag', 'lab'], 'x')
    const top = (await run(['secret', 'ls'])).stdout
    expect(top).toMatch(/^tree\/ +3 secrets$/m)
    expect(top).toMatch(/^tree +1 +managed +tag lab +\S/m)
    expect(top).not.toContain('tree/a')
    const names = (text: string) =>
      text
        .split('\n')
        .slice(1, -1)
        .map((line) => line.split(/ {2,}/)[0])
    expect(names((await run(['secret', 'ls', 'tree'])).stdout)).toEqual(['tree', 'tree/a', 'tree/b/'])
    expect(names((await run(['secret', 'ls', 'tree/'])).stdout)).toEqual(['tree', 'tree/a', 'tree/b/'])
    expect(names((await run(['secret', 'ls', 'tree/b'])).stdout)).toEqual(['tree/b/c', 'tree/b/d/'])
    expect(names((await run(['secret', 'ls', 'tree', '--all'])).stdout)).toEqual([
      'tree',
      'tree/a',
      'tree/b/c',
      'tree/b/d/e',
    ])
    const { items } = await json<{ items: { name: string }[] }>(['secrets', 'tree'])
    expect(items.map(({ name }) => name)).toEqual(['tree', 'tree/a', 'tree/b/c', 'tree/b/d/e'])
  })

  test('show tells settings, policy, versions and who may read, and no value', async () => {
    await run(['secret', 'set', 'shown', '--allow-tag', 'gpu'], 'value-of-shown')
    await run(['secret', 'set', 'shown'], 'value-of-shown')
    const { stdout } = await run(['secret', 'show', 'shown'])
    expect(stdout).toMatch(/^class +managed: the gateway can read it$/m)
    expect(stdout).toMatch(/^policy +0: allow tag gpu$/m)
    expect(stdout).toMatch(/^nodes now +none$/m)
    expect(stdout).toMatch(/^2 +live /m)
    expect(stdout).not.toContain('value-of-shown')
    expect(await refusal(['secret', 'show', 'nothing'])).toMatchObject({
      exit: 5,
      code: 'E_SECRET_NOT_FOUND',
    })
  })
})

describe('the end of versions', () => {
  test('rm deletes the newest in a way that undelete undoes, and says how', async () => {
    await run(['secret', 'set', 'doomed'], 'one')
    await run(['secret', 'set', 'doomed'], 'two')
    const removed = await run(['secret', 'rm', 'doomed'])
    expect(removed.stderr).toContain('claw secret undelete doomed --version 2')
    expect(await refusal(['secret', 'get', 'doomed'])).toMatchObject({ code: 'E_SECRET_DELETED' })
    expect((await run(['secret', 'ls'])).stdout).toMatch(/^doomed +2 \(deleted\)/m)
    expect((await run(['secret', 'undelete', 'doomed', '--version', '2'])).code).toBe(0)
    expect((await run(['secret', 'get', 'doomed'])).stdout).toBe('two')
  })

  test('destroy asks, or must be told, and is for good', async () => {
    for (const value of ['one', 'two', 'three']) await run(['secret', 'set', 'ashes'], value)
    const versions = ['--version', '1', '--version', '2']
    expect(await refusal(['secret', 'destroy', 'ashes', ...versions], 'ashes\n')).toMatchObject({
      exit: 10,
      code: 'E_CONFIRMATION_NEEDED',
      message: 'this destroys versions 1, 2 of secret ashes for good',
    })
    expect((await run(['secret', 'get', 'ashes', '--version', '1'])).stdout).toBe('one')
    expect((await run(['secret', 'destroy', 'ashes', ...versions, '--yes'])).code).toBe(0)
    expect(await refusal(['secret', 'get', 'ashes', '--version', '2'])).toMatchObject({
      code: 'E_SECRET_DESTROYED',
    })
    expect(await refusal(['secret', 'undelete', 'ashes', '--version', '2'])).toMatchObject({
      code: 'E_SECRET_DESTROYED',
    })
    expect((await run(['secret', 'get', 'ashes'])).stdout).toBe('three')
    expect((await run(['secret', 'destroy', 'ashes', '--yes'])).code).toBe(2)
  })

  test('purge asks for the name and removes everything', async () => {
    await run(['secret', 'set', 'gone'], 'x')
    const asked = await run(['secret', 'purge', 'gone'], 'gone\n')
    expect(asked).toMatchObject({ code: 10, stderr: expect.stringContaining('E_CONFIRMATION_NEEDED') })
    expect((await run(['secret', 'get', 'gone'])).stdout).toBe('x')
    expect((await run(['secret', 'purge', 'gone', '--yes'])).code).toBe(0)
    expect(await refusal(['secret', 'get', 'gone'])).toMatchObject({ exit: 5 })
    expect((await run(['secret', 'ls'])).stdout).not.toMatch(/^gone /m)
  })
})

describe('rotate', () => {
  test('draws a value here, which nothing prints, and keeps the one before for a while', async () => {
    await run(['secret', 'set', 'turning'], 'first')
    const args = ['secret', 'rotate', 'turning', '--generate', '32', '--alphabet', 'hex', '--overlap', '1h']
    const rotated = await run(args)
    expect(rotated).toMatchObject({ code: 0, stdout: '' })
    const { stdout } = await run(['secret', 'get', 'turning'])
    expect(stdout).toMatch(/^[0-9a-f]{32}$/)
    expect(rotated.stderr).not.toContain(stdout)
    const { versions } = await json<SecretDetail>(['secret', 'show', 'turning'])
    expect(versions.map(({ readableUntil }) => readableUntil !== null)).toEqual([true, false])
  })

  test('takes a value from a file, and needs a secret to rotate and enough to draw', async () => {
    await run(['secret', 'set', 'given'], 'first')
    const file = join(temporaryDirectory(), 'value')
    writeFileSync(file, 'second')
    expect((await run(['secret', 'rotate', 'given', '--file', file])).code).toBe(0)
    expect((await run(['secret', 'get', 'given'])).stdout).toBe('second')
    expect(await refusal(['secret', 'rotate', 'no/such', '--generate', '32'])).toMatchObject({
      exit: 5,
      code: 'E_SECRET_NOT_FOUND',
    })
    for (const flags of [
      ['--generate', '8'],
      ['--generate', '19', '--alphabet', 'hex'],
      ['--generate', '0'],
    ])
      expect((await run(['secret', 'rotate', 'given', ...flags])).code).toBe(2)
    expect((await run(['secret', 'rotate', 'given', '--generate', '32', '--file', file])).code).toBe(2)
    expect((await run(['secret', 'get', 'given'])).stdout).toBe('second')
  })
})

describe('policy', () => {
  test('get prints what set takes, from a file or from standard input', async () => {
    await run(['secret', 'set', 'ruled', '--allow-tag', 'gpu'], 'x')
    const policy = JSON.parse((await run(['secret', 'policy', 'get', 'ruled'])).stdout)
    expect(policy.rules).toMatchObject([{ effect: 'allow', tags: ['gpu'] }])
    policy.rules.push({ effect: 'deny', tags: ['lab'] })
    const file = join(temporaryDirectory(), 'policy.json')
    writeFileSync(file, JSON.stringify(policy))
    expect((await run(['secret', 'policy', 'set', 'ruled', file])).stderr).toContain('1: deny tag lab')
    expect((await run(['secret', 'policy', 'set', 'ruled'], '{"rules": []}')).stderr).toContain(
      'nobody but administrators may read',
    )
    expect(
      await refusal(['secret', 'policy', 'set', 'ruled'], '{"rules": [{"effect": "may"}]}'),
    ).toMatchObject({
      code: 'E_POLICY_FORM',
      why: expect.stringContaining('rules.0.effect'),
    })
    expect(await refusal(['secret', 'policy', 'set', 'ruled'], 'not json')).toMatchObject({ exit: 2 })
    expect((await json<SecretDetail>(['secret', 'show', 'ruled'])).version).toBe(1)
  })

  test('allow and deny add a rule each, and the same readers again only change its end', async () => {
    await run(['secret', 'set', 'handy'], 'x')
    await run(['secret', 'allow', 'handy', '--tag', 'gpu', '--workload', 'train', '--expires', '1h'])
    await run(['secret', 'deny', 'handy', '--tag', 'lab'])
    const allowed = await run(['secret', 'allow', 'handy', '--role', 'operator'])
    expect(allowed.stderr).toMatch(
      /0: allow tag gpu with workload train \(ends in \d+m\)\n +1: deny tag lab\n +2: allow role operator\n/,
    )
    const { policy } = await json<SecretDetail>([
      'secret',
      'allow',
      'handy',
      '--tag',
      'gpu',
      '--workload',
      'train',
    ])
    expect(policy.rules.map(({ effect, expires }) => [effect, expires])).toEqual([
      ['deny', null],
      ['allow', null],
      ['allow', null],
    ])
    expect((await run(['secret', 'allow', 'handy'])).code).toBe(2)
    expect((await run(['secret', 'allow', 'handy', '--role', 'king'])).code).toBe(2)
    expect(await refusal(['secret', 'allow', 'handy', '--node', 'nobody'])).toMatchObject({
      code: 'E_NODE_NOT_FOUND',
    })
  })

  test('explain needs a node that is there', async () => {
    await run(['secret', 'set', 'explained'], 'x')
    expect((await run(['secret', 'explain', 'explained'])).code).toBe(2)
    expect(await refusal(['secret', 'explain', 'explained', '--node', 'nobody'])).toMatchObject({
      exit: 5,
      code: 'E_NODE_NOT_FOUND',
    })
  })
})

describe('meta', () => {
  test('changes what is named and nothing else, and takes it back', async () => {
    await run(['secret', 'set', 'noted'], 'x')
    const args = ['--max-versions', '3', '--delete-after', '90d', '--rotate-every', '30d', '--cas-required']
    const set = await run(['secret', 'meta', 'noted', ...args, '--custom', 'owner=me', '--custom', 'a=b=c'])
    expect(set.stderr).toContain(
      '3 versions kept, each deleted after 90d, rotated every 30d, writes must name',
    )
    const { settings, version } = await json<SecretDetail>(['secret', 'show', 'noted'])
    expect(settings).toMatchObject({ maxVersions: 3, casRequired: true, custom: { owner: 'me', a: 'b=c' } })
    expect(version).toBe(1)
    expect(await refusal(['secret', 'set', 'noted'], 'y')).toMatchObject({ code: 'E_SECRET_CAS_REQUIRED' })

    const back = ['--delete-after', 'never', '--rotate-every', 'never', '--no-cas-required', '--custom', 'a=']
    const cleared = await json<SecretDetail>(['secret', 'meta', 'noted', ...back])
    expect(cleared.settings).toEqual({
      maxVersions: 3,
      deleteAfterMs: null,
      rotateEveryMs: null,
      casRequired: false,
      custom: { owner: 'me' },
    })
  })

  test('a value that is due is listed as such', async () => {
    await run(['secret', 'set', 'punctual'], 'x')
    await run(['secret', 'meta', 'punctual', '--rotate-every', '30d'])
    expect((await run(['secret', 'ls'])).stdout).toMatch(/^punctual .* in \d+d$/m)
    expect((await run(['secret', 'ls', '--due'])).stdout).not.toContain('punctual')
  })

  test.each([
    [[]],
    [['--max-versions', '0']],
    [['--max-versions', '101']],
    [['--rotate-every', '1s']],
    [['--delete-after', 'soon']],
    [['--custom', '=x']],
    [['--custom', `${'k'.repeat(129)}=x`]],
    [['--cas-required', '--no-cas-required']],
  ])('%j is refused before anything is asked', async (flags) => {
    const { code, stdout } = await run(['secret', 'meta', 'noted', ...flags])
    expect([code, stdout]).toEqual([2, ''])
  })
})

describe('import and export', () => {
  const ENV = `# of the application
export DATABASE_URL='postgres://a:b@c/d'
KEY="-----BEGIN KEY-----
abc
-----END KEY-----
"
_ODD=x
`

  function fileOf(content: string, name = 'app.env'): string {
    const path = join(temporaryDirectory(), name)
    writeFileSync(path, content)
    return path
  }

  test('a dry run shows what would happen, without values and without writing', async () => {
    await run(['secret', 'set', 'dry/database_url'], 'postgres://a:b@c/d')
    await run(['secret', 'set', 'dry/key'], 'another')
    const { code, stdout } = await run(['secret', 'import', fileOf(ENV), '--prefix', 'dry/', '--dry-run'])
    expect(stdout).toMatch(/^DATABASE_URL +dry\/database_url +unchanged$/m)
    expect(stdout).toMatch(/^KEY +dry\/key +differs, kept/m)
    expect(stdout).toMatch(/^_ODD +dry\/odd \(renamed\) +create$/m)
    expect(stdout).not.toContain('postgres')
    expect(code).toBe(6)
    expect((await run(['secret', 'get', 'dry/key'])).stdout).toBe('another')
    expect((await run(['secret', 'get', 'dry/odd'])).code).toBe(5)
  })

  test('what is new is written, what differs only with --overwrite, what is the same never', async () => {
    const file = fileOf(ENV)
    expect((await run(['secret', 'import', file, '--prefix', 'real', '--allow-tag', 'gpu'])).code).toBe(0)
    expect((await run(['secret', 'get', 'real/key'])).stdout).toBe(
      '-----BEGIN KEY-----\nabc\n-----END KEY-----\n',
    )
    await run(['secret', 'set', 'real/odd'], 'another')
    expect((await run(['secret', 'import', file, '--prefix', 'real'])).code).toBe(6)
    expect((await run(['secret', 'get', 'real/odd'])).stdout).toBe('another')
    const { items } = await json<{ items: { action: string }[] }>([
      'secret',
      'import',
      file,
      '--prefix',
      'real',
      '--overwrite',
    ])
    expect(items.map(({ action }) => action)).toEqual(['unchanged', 'unchanged', 'update'])
    const shown = await json<SecretDetail>(['secret', 'show', 'real/odd'])
    expect(shown).toMatchObject({ version: 3, policy: { rules: [{ tags: ['gpu'] }] } })
    expect((await json<SecretDetail>(['secret', 'show', 'real/key'])).version).toBe(1)
  })

  test('a deleted value is written anew, and so is one from standard input', async () => {
    await run(['secret', 'set', 'late/a'], 'x')
    await run(['secret', 'rm', 'late/a'])
    expect((await run(['secret', 'import', '-', '--prefix', 'late', '--overwrite'], 'A=x\n')).code).toBe(0)
    expect(await json(['secret', 'get', 'late/a'])).toMatchObject({ value: 'x', version: 2 })
  })

  test('a file with a mistake is not imported at all', async () => {
    const file = fileOf('FINE=1\nnot an assignment\n')
    const refused = await refusal(['secret', 'import', file, '--prefix', 'bad'])
    expect(refused).toMatchObject({ exit: 2, code: 'E_IMPORT_FILE', why: expect.stringContaining('line 2') })
    expect(refused.why).not.toContain('assignment')
    expect((await run(['secret', 'get', 'bad/fine'])).code).toBe(5)
  })

  test('export asks, is marked in the trail, and comes back by import', async () => {
    const bytes = Buffer.from([0, 1, 255])
    await run(['secret', 'set', 'out/text'], 'it is\nlong')
    await run(['secret', 'set', 'out/sub/bytes'], bytes)
    await run(['secret', 'set', 'out/deleted'], 'x')
    await run(['secret', 'rm', 'out/deleted'])
    const asked = await run(['secret', 'export', 'out', '--format', 'json'])
    expect(asked).toMatchObject({ code: 10, stdout: '' })
    expect(asked.stderr).toContain('this writes 2 secrets in clear to standard output')

    const exported = await run(['secret', 'export', 'out', '--format', 'json', '--yes'])
    expect(JSON.parse(exported.stdout)).toEqual({
      'out/text': 'it is\nlong',
      'out/sub/bytes': { $base64: bytes.toString('base64') },
    })
    expect(exported.stderr).toBe('2 secrets exported; 1 of which nothing is live was left out\n')
    const reads = (await trail(4)).filter(({ action }) => action === 'secret.read')
    expect(reads.map(({ reason }) => reason)).toEqual(Array(2).fill(expect.stringContaining('export')))

    await run(['secret', 'purge', 'out/sub/bytes', '--yes'])
    expect((await run(['secret', 'import', '-', '--format', 'json'], exported.stdout)).code).toBe(0)
    expect(Buffer.compare((await run(['secret', 'get', 'out/sub/bytes'])).bytes, bytes)).toBe(0)
  })

  test('a .env file is new and private, or it is refused', async () => {
    await run(['secret', 'set', 'env/db.password'], 'p w')
    const file = join(temporaryDirectory(), 'out.env')
    expect((await run(['secret', 'export', 'env', '--file', file, '--yes'])).code).toBe(0)
    expect([readFileSync(file, 'utf8'), statSync(file).mode & 0o777]).toEqual(["DB_PASSWORD='p w'\n", 0o600])
    expect((await run(['secret', 'export', 'env', '--file', file, '--yes'])).stderr).toContain(
      'E_FILE_EXISTS',
    )
    await run(['secret', 'set', 'env/odd'], Buffer.from([0xff]))
    const refused = await run(['secret', 'export', 'env', '--yes'])
    expect(refused).toMatchObject({ stdout: '', stderr: expect.stringContaining('E_EXPORT_FORM') })
  })

  test('a shell that sends it into a file others can read is told so', () => {
    const file = join(temporaryDirectory(), 'open.env')
    writeFileSync(file, '')
    chmodSync(file, 0o644)
    const claw = join(import.meta.dirname, '../../bin/claw.js')
    const command = `exec "${process.execPath}" "${claw}" secret export env --format json --yes > "${file}"`
    const { status, stderr } = spawnSync('sh', ['-c', command], {
      env: { ...process.env, ...gateway.env },
      encoding: 'utf8',
    })
    expect([status, stderr]).toEqual([2, expect.stringContaining('E_EXPORT_OUTPUT')])
    expect(readFileSync(file, 'utf8')).toBe('')
  })
})
