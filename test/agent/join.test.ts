import { createHash, X509Certificate } from 'node:crypto'
import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { clawnode } from '../support/clawnode.ts'
import type { FakeGateway } from '../support/fake-gateway.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'
import { certificates, startGateway } from './start-gateway.ts'

let gateway: FakeGateway
let directory: string
let tokenFile: string

beforeEach(async () => {
  gateway = await startGateway()
  const home = temporaryDirectory()
  directory = join(home, 'state')
  tokenFile = join(home, 'token')
  writeFileSync(tokenFile, `${await gateway.joinToken()}\n`, { mode: 0o600 })
})

afterEach(() => gateway.close())

const joinWith = (...args: string[]) =>
  clawnode(['join', '--gateway', gateway.url, '--token-file', tokenFile, '--dir', directory, ...args])

const enrolments = () => gateway.requests.filter((request) => request === 'POST /v1/enrol').length
const state = () => JSON.parse(readFileSync(join(directory, 'node.json'), 'utf8'))

describe('clawnode join', () => {
  test('keeps keys and state, each 0600 in a directory of 0700, with the CA from the token', async () => {
    const { code, stdout, stderr } = await joinWith('--name', 'node-a')
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toContain('joined test-fleet as node-a, 10.100.0.1 and fd')
    expect(statSync(directory).mode & 0o777).toBe(0o700)
    const files = readdirSync(directory).sort()
    expect(files).toEqual(['identity.key', 'node.json', 'sealing.key', 'wireguard.key'])
    for (const file of files) expect(statSync(join(directory, file)).mode & 0o777).toBe(0o600)
    const { key } = gateway.signer
    expect(state().gateway).toEqual({ url: gateway.url, ca: certificates.ca, pins: [], keys: [key] })
    expect([...gateway.nodes.keys()]).toEqual([state().node.id])
  })

  test('is the same node after a lost answer, and when it is done again', async () => {
    gateway.lostAnswers = 1
    const lost = await joinWith('--name', 'node-a')
    expect(lost.code).toBe(9)
    expect(readdirSync(directory).sort()).toEqual(['identity.key', 'sealing.key', 'wireguard.key'])
    expect((await joinWith('--name', 'node-a')).code).toBe(0)
    const { id } = state().node
    expect((await joinWith()).code).toBe(0)
    expect(state().node.id).toBe(id)
    expect(gateway.nodes.size).toBe(1)
    expect(enrolments()).toBe(3)
  })

  test('takes the token from standard input, and the machine’s name', async () => {
    const token = readFileSync(tokenFile, 'utf8')
    const args = ['join', '--gateway', gateway.url, '--token-file', '-', '--dir', directory]
    expect(await clawnode(args, { input: token })).toMatchObject({ code: 0, stderr: '' })
    expect(state().node.name).toMatch(/^[a-z0-9-]+$/)
  })

  test('warns of a token that others can read', async () => {
    chmodSync(tokenFile, 0o644)
    expect(await joinWith()).toMatchObject({
      code: 0,
      stderr: expect.stringContaining('warning: other users'),
    })
  })

  test('refuses to join a second fleet from the same directory', async () => {
    await joinWith()
    const other = await startGateway()
    try {
      const args = ['join', '--gateway', other.url, '--token-file', tokenFile, '--dir', directory]
      expect(await clawnode(args)).toMatchObject({
        code: 6,
        stderr: expect.stringContaining('E_ALREADY_JOINED'),
      })
      expect(other.requests).toEqual([])
    } finally {
      await other.close()
    }
  })

  test('keeps to a pinned key', async () => {
    const spki = new X509Certificate(certificates.ca).publicKey.export({ type: 'spki', format: 'der' })
    const pin = createHash('sha256').update(spki).digest('hex')
    const refused = await joinWith(
      '--fingerprint',
      pin.replace(/^./, (digit) => (digit === '0' ? '1' : '0')),
    )
    expect(refused.stderr).toContain('E_PIN_MISMATCH')
    expect(gateway.requests).toEqual([])
    expect((await joinWith('--fingerprint', pin)).code).toBe(0)
    expect(state().gateway.pins).toEqual([pin])
  })
})

describe('clawnode join sends nothing', () => {
  test.each([
    ['over ws://', ['--gateway', 'ws://127.0.0.1:1'], 'E_INSECURE_TRANSPORT', 78],
    ['over http://', ['--gateway', 'http://127.0.0.1:1'], 'E_INSECURE_TRANSPORT', 78],
    ['with a malformed pin', ['--fingerprint', 'abc'], 'E_PIN_INVALID', 78],
    ['under a name that is none', ['--name', 'Node A'], 'E_NAME_INVALID', 78],
    ['with a flag that is none', ['--nmae', 'a'], 'did you mean --name?', 2],
    ['with a CA that is none', ['--ca', '/dev/null'], 'E_CA_INVALID', 78],
  ])('%s', async (_, args, text, code) => {
    expect(await joinWith(...args)).toMatchObject({ code, stdout: '', stderr: expect.stringContaining(text) })
    expect(gateway.requests).toEqual([])
  })

  test('from a file that holds no join token, and shows nothing of it', async () => {
    writeFileSync(tokenFile, 'a password: canary-7f3a')
    const { code, stderr } = await joinWith('--ca', certificateFile())
    expect(code).toBe(4)
    expect(stderr).toContain('E_TOKEN_MALFORMED')
    expect(stderr).not.toContain('canary')
    expect(gateway.requests).toEqual([])
  })

  test('if a key cannot be saved', async () => {
    mkdirSync(join(directory, 'sealing.key'), { recursive: true })
    chmodSync(directory, 0o700)
    expect((await joinWith()).code).not.toBe(0)
    expect(gateway.requests).toEqual([])
  })
})

test('a refusal of the gateway is shown with its code and request', async () => {
  gateway.now = () => Date.now() + 20 * 60_000
  expect(await joinWith()).toMatchObject({ code: 1, stderr: expect.stringContaining('E_CLOCK_SKEW') })
  gateway.now = () => Date.now() + 5 * 60_000
  expect(await joinWith()).toMatchObject({ code: 0 })
})

function certificateFile(): string {
  const path = join(temporaryDirectory(), 'ca.pem')
  writeFileSync(path, certificates.ca)
  return path
}
