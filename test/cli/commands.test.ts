/** `claw` against a gateway that really runs. */
import { chmodSync, copyFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { claw } from '../support/claw.ts'
import { ownGateway } from '../support/own-gateway.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

const gateway = ownGateway()

const { run, json } = gateway

describe('where the gateway is', () => {
  test('is known in the directory of a `claw up`, and by flags anywhere', async () => {
    expect((await claw(['node', 'ls'], { cwd: gateway.home })).code).toBe(0)
    const { url, ca, adminTokenFile } = gateway.running
    const flags = ['--gateway', url, '--ca', ca, '--token-file', adminTokenFile]
    expect((await claw(['node', 'ls', ...flags], { cwd: tmpdir() })).code).toBe(0)
  })

  test('must be said where there is none', async () => {
    const asked = await claw(['node', 'ls'], { cwd: temporaryDirectory() })
    expect(asked).toMatchObject({ code: 2, stderr: expect.stringContaining('E_NO_GATEWAY') })
  })

  test('is nowhere without TLS, whatever else is right', async () => {
    for (const scheme of ['ws', 'http']) {
      const asked = await run(['node', 'ls', '--gateway', gateway.running.url.replace('https', scheme)])
      expect(asked).toMatchObject({ code: 78, stderr: expect.stringContaining('E_INSECURE_TRANSPORT') })
    }
  })

  test('is judged by the given CA only', async () => {
    const asked = await claw([
      'node',
      'ls',
      '--gateway',
      gateway.running.url,
      '--token-file',
      gateway.running.adminTokenFile,
    ])
    expect(asked).toMatchObject({ code: 1, stderr: expect.stringContaining('E_TLS_UNTRUSTED') })
    expect(asked.stderr).toContain('--ca')
  })

  test('an admin token that others can read, or that is a link, is refused', async () => {
    const directory = temporaryDirectory()
    const copy = join(directory, 'open.token')
    copyFileSync(gateway.running.adminTokenFile, copy)
    chmodSync(copy, 0o644)
    const link = join(directory, 'link.token')
    symlinkSync(gateway.running.adminTokenFile, link)
    for (const file of [copy, link]) {
      const asked = await run(['node', 'ls', '--token-file', file])
      expect(asked).toMatchObject({ code: 78, stderr: expect.stringContaining('E_FILE_PERMISSIONS') })
    }
  })

  test('a wrong admin token is not repeated', async () => {
    const file = join(temporaryDirectory(), 'wrong.token')
    const token = `claw_${'x'.repeat(32)}`
    writeFileSync(file, token, { mode: 0o600 })
    const asked = await run(['node', 'ls', '--token-file', file])
    expect(asked).toMatchObject({ code: 4, stderr: expect.stringContaining('E_AUTH_INVALID') })
    expect(asked.stderr).not.toContain(token)
  })
})

describe('token', () => {
  test('create prints the token alone, so that it can go into a file', async () => {
    const { code, stdout } = await run([
      'token',
      'create',
      '--tag',
      'gpu',
      '--tag',
      'lab',
      '--ttl',
      '2h',
      '--uses',
      '3',
    ])
    expect(code).toBe(0)
    expect(stdout).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+\n$/)
  })

  test('is listed without the token, and can be revoked', async () => {
    const created = (await json(['token', 'create', '--tag', 'gpu', '--uses', '3'])) as {
      id: string
      token: string
    }
    expect(Object.keys(created).sort()).toEqual(['expiresAt', 'id', 'token'])
    const listed = JSON.stringify(await json(['token', 'ls']))
    expect(listed).not.toContain(created.token)

    expect((await run(['token', 'revoke', created.id])).code).toBe(0)
    expect(await json(['tokens'])).toMatchObject({
      apiVersion: 'claw/v1',
      kind: 'TokenList',
      items: expect.arrayContaining([
        expect.objectContaining({ id: created.id, status: 'revoked', tags: ['gpu'], uses: 3, used: 0 }),
      ]),
    })
    expect((await run(['token', 'ls'])).stdout).toMatch(new RegExp(`${created.id} +revoked +0/3 +gpu`))
  })

  test.each([
    ['--ttl', '40d'],
    ['--ttl', 'soon'],
    ['--ttl', '0s'],
    ['--uses', '0'],
    ['--uses', '1.5'],
    ['--tag', 'Not A Tag'],
  ])('%s %s is refused before anything is asked', async (flag, value) => {
    const asked = await run(['token', 'create', flag, value])
    expect(asked.code).toBe(2)
    expect(asked.stdout).toBe('')
  })
})

test('a node that is not there is not shown and not removed', async () => {
  expect(await json(['node', 'ls'])).toEqual({ apiVersion: 'claw/v1', kind: 'NodeList', items: [] })
  for (const args of [
    ['node', 'show', 'nobody'],
    ['node', 'rm', 'nobody', '--yes'],
    ['node', 'show', '../tokens'],
  ]) {
    expect(await run(args)).toMatchObject({ code: 5, stdout: '', stderr: expect.stringContaining('E_N') })
  }
})

test('the audit trail has what was done, newest first', async () => {
  await run(['secret', 'set', 'audited'], 'x')
  await run(['secret', 'get', 'audited'])
  const { items } = (await json(['audit', 'ls', '--limit', '3'])) as {
    items: { seq: number; action: string }[]
  }
  expect(items.map(({ action }) => action)).toEqual(['audit.list', 'secret.read', 'secret.write'])
  expect(items.map(({ seq }) => seq)).toEqual([...items.map(({ seq }) => seq)].sort((a, b) => b - a))
})

test('errors are one line of JSON on standard error with -o json, and carry the request id', async () => {
  const { stdout, stderr } = await run(['node', 'show', 'nobody', '-o', 'json'])
  expect(stdout).toBe('')
  expect(JSON.parse(stderr)).toMatchObject({
    error: { code: 'E_NODE_NOT_FOUND', exitCode: 5, requestId: expect.stringMatching(/^req_/) },
  })
})
