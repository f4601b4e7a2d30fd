/** Whom a node trusts is decided when it joins first; joining again changes it only where its owner says so. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { SignJWT } from 'jose'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { spkiSha256 } from '../../host/pins.ts'
import { JOIN_JWT_TYPE } from '../../protocol/http.ts'
import { createTestCa } from '../support/certificates.ts'
import { clawnode } from '../support/clawnode.ts'
import type { FakeGateway } from '../support/fake-gateway.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'
import { authority, startGateway } from './start-gateway.ts'

const pin = spkiSha256(authority.certificate)
const other = await createTestCa()

let gateway: FakeGateway
let home: string

beforeEach(async () => {
  gateway = await startGateway()
  home = temporaryDirectory()
})

afterEach(() => gateway.close())

async function joinWith(token: string, ...flags: string[]) {
  const file = join(home, 'token')
  writeFileSync(file, token, { mode: 0o600 })
  const args = ['--gateway', gateway.url, '--token-file', file, '--dir', join(home, 'state'), ...flags]
  return clawnode(['join', ...args])
}

const state = () => JSON.parse(readFileSync(join(home, 'state/node.json'), 'utf8'))
const tokenWithCa = (ca: string) =>
  new SignJWT({ gk: gateway.signer.key, ca })
    .setProtectedHeader({ alg: 'EdDSA', typ: JOIN_JWT_TYPE })
    .sign(gateway.signer.privateKey)

test('the pins of the first time are kept, and hold', async () => {
  expect((await joinWith(await gateway.joinToken(), '--fingerprint', pin)).code).toBe(0)
  expect((await joinWith(await gateway.joinToken())).code).toBe(0)
  expect(state().gateway.pins).toEqual([pin])

  const wrong = spkiSha256(other.certificate)
  const path = join(home, 'state/node.json')
  writeFileSync(path, readFileSync(path, 'utf8').replace(pin, wrong))
  const refused = await joinWith(await gateway.joinToken())
  expect(refused.stderr).toContain('E_PIN_MISMATCH')
  expect((await joinWith(await gateway.joinToken(), '--fingerprint', pin)).code).toBe(0)
  expect(state().gateway.pins).toEqual([pin])
})

test('a later token does not bring another CA, --ca does', async () => {
  expect((await joinWith(await gateway.joinToken())).code).toBe(0)
  expect(await joinWith(await tokenWithCa(other.pem))).toMatchObject({ code: 0, stderr: '' })
  expect(state().gateway.ca).toBe(authority.pem)

  const file = join(home, 'other.pem')
  writeFileSync(file, other.pem)
  const refused = await joinWith(await gateway.joinToken(), '--ca', file)
  expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining('E_TLS_UNTRUSTED') })
  expect(state().gateway.ca).toBe(authority.pem)
})
