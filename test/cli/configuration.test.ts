/** R8 and H1.7 for `claw`: everything that is wrong with its environment and flags at once, before a socket opens. */
import { once } from 'node:events'
import { chmodSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { createTestCa } from '../support/certificates.ts'
import { claw } from '../support/claw.ts'
import { startRecordingServer } from '../support/recording-server.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

const PIN = 'ab'.repeat(32)

let cwd: string
let tokenFile: string

beforeEach(() => {
  cwd = temporaryDirectory()
  tokenFile = join(cwd, 'admin.token')
  writeFileSync(tokenFile, `claw_${'x'.repeat(32)}\n`, { mode: 0o600 })
})

const ls = (env: Record<string, string>, ...flags: string[]) => claw(['node', 'ls', ...flags], { cwd, env })

describe('claw', () => {
  test('names every problem at once, and has opened no socket', async () => {
    let connections = 0
    const server = createServer(() => connections++).listen(0, '127.0.0.1')
    await once(server, 'listening')
    onTestFinished(() => void server.close())
    const { port } = server.address() as AddressInfo
    chmodSync(tokenFile, 0o644)
    const env = {
      CLAW_GATEWAY: `ws://127.0.0.1:${port}`,
      CLAW_CA: '/dev/null',
      CLAW_TOKEN_FILE: tokenFile,
      CLAW_FINGERPRINT: 'abc',
      CLAW_REQUIRE_TLS: 'false',
      CLAW_GATEWY: 'x',
    }
    const asked = await ls(env)
    expect(asked).toMatchObject({ code: 78, stdout: '' })
    for (const text of [
      'E_CONFIG\n',
      'ws://',
      'require_tls',
      'E_REQUIRE_TLS',
      'E_INSECURE_TRANSPORT',
      'E_CA_INVALID',
      'E_PIN_INVALID',
      'E_PIN_WITHOUT_TLS',
      'E_FILE_PERMISSIONS',
      'did you mean CLAW_GATEWAY?',
    ])
      expect(asked.stderr).toContain(text)
    expect(connections).toBe(0)
    const json = await ls(env, '-o', 'json')
    expect(JSON.parse(json.stderr)).toMatchObject({
      error: { code: 'E_CONFIG', exitCode: 78, problems: expect.arrayContaining([]) },
    })
  })

  test('flags come before the environment', async () => {
    const env = { CLAW_GATEWAY: 'ws://gw', CLAW_TOKEN_FILE: '/no/such/file', CLAW_FINGERPRINT: 'abc' }
    const flags = ['--gateway', 'https://127.0.0.1:1', '--token-file', tokenFile, '--fingerprint', PIN]
    const asked = await ls(env, ...flags)
    expect(asked).toMatchObject({ code: 9, stderr: expect.stringContaining('E_GATEWAY_UNREACHABLE') })
  })

  test('sends its token to no server whose key is not the pinned one', async () => {
    const ca = await createTestCa()
    await using server = await startRecordingServer(await ca.issue())
    const caFile = join(cwd, 'ca.pem')
    writeFileSync(caFile, ca.pem)
    const env = { CLAW_GATEWAY: server.url.origin, CLAW_CA: caFile, CLAW_TOKEN_FILE: tokenFile }
    const asked = await ls({ ...env, CLAW_FINGERPRINT: PIN })
    expect(asked).toMatchObject({ code: 1, stderr: expect.stringContaining('E_PIN_MISMATCH') })
    expect(asked.stderr).not.toContain(PIN)
    expect(server.received()).toBe(0)
    await ls(env)
    expect(server.received()).toBeGreaterThan(0)
  })
})
