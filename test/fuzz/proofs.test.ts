/** The proof of a request is read before anybody is authenticated: by far the most exposed parser of the gateway. */
import fc from 'fast-check'
import { decodeJwt, generateKeyPair, SignJWT } from 'jose'
import { beforeAll, describe, expect, test } from 'vitest'
import { JoinToken } from '../../agent/join-token.ts'
import { bodyHash, Identity, importIdentityKey } from '../../crypto/identity.ts'
import { nodeIdOf } from '../../crypto/node-id.ts'
import { claimedNode, isSigned, proofOf, readProof, verifyProof } from '../../crypto/request-proof.ts'
import { sawOurCertificate } from '../../durable-objects/registration.ts'
import { bearerToken } from '../../worker/bearer.ts'
import { Dice, mutateText } from './mutate.ts'

const ORIGIN = 'https://gateway.test'
const NOW = Date.UTC(2026, 10, 23)
const PATH = '/v1/node/secrets'

let key: CryptoKey
let proof: string
let request: { readonly method: string; readonly path: string; readonly bodyHash: string }

beforeAll(async () => {
  const identity = await Identity.fromSeed(Identity.generateSeed())
  key = await importIdentityKey(identity.publicKey)
  const node = await nodeIdOf(identity.publicKey)
  const body = new TextEncoder().encode('{"names":["a"]}')
  proof = (await identity.signProof({ node, origin: ORIGIN, method: 'POST', path: PATH, body }, NOW)).jwt
  request = { method: 'POST', path: PATH, bodyHash: await bodyHash(body) }
})

async function verify(jwt: string, now = NOW, asked = request, by = key, origin = ORIGIN) {
  const read = readProof(jwt)
  return read.ok ? verifyProof(read.value, by, asked, new Set([origin]), now) : read
}

const spoiled = fc.tuple(fc.integer({ min: 0 }), fc.integer({ min: 1, max: 3 })).map(([seed, times]) => {
  const dice = new Dice(seed)
  let text = proof
  for (let i = 0; i < times; i++) text = mutateText(dice, text)
  return text
})

describe('a proof', () => {
  test('that is whole is accepted', async () => {
    expect((await verify(proof)).ok).toBe(true)
  })

  test('that was changed anywhere is refused, or says what it said', async () => {
    const { value: original } = (await verify(proof)) as { value?: unknown }
    await fc.assert(
      fc.asyncProperty(spoiled, async (jwt) => {
        const read = await verify(jwt)
        // The last character of a signature has bits that mean nothing: such a text is the same proof, with the same id.
        if (read.ok) expect(read.value).toEqual(original)
        else expect(read.error.code).toMatch(/^E_PROOF_/)
        const unverified = readProof(jwt)
        expect(unverified.ok && (await isSigned(unverified.value, key))).toBe(read.ok)
      }),
      { numRuns: 2000 },
    )
  })

  test('is not found in what is none, and looking never throws', async () => {
    const base64 = fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes).toString('base64url'))
    const json = fc.json().map((text) => Buffer.from(text).toString('base64url'))
    const part = fc.oneof(base64, json, fc.string())
    const text = fc.oneof(
      fc.string(),
      fc.array(part, { maxLength: 5 }).map((parts) => parts.join('.')),
      spoiled,
    )
    await fc.assert(
      fc.asyncProperty(text, async (jwt) => {
        const claimed = claimedNode(jwt)
        if (!claimed.ok) expect(claimed.error).toEqual({ code: 'E_PROOF_MALFORMED' })
        await verify(jwt)
        expect(await sawOurCertificate({ channel: jwt } as never, key, 'x', new Set(['y']))).toBe(false)
      }),
      { numRuns: 2000 },
    )
  })

  test('is for one method, path and body, for one gateway, in one minute', async () => {
    const other = fc.string().filter((text) => !Object.values(request).includes(text))
    await fc.assert(
      fc.asyncProperty(other, fc.constantFrom('method', 'path', 'bodyHash'), async (text, field) => {
        const read = await verify(proof, NOW, { ...request, [field]: text })
        expect(read).toEqual({ ok: false, error: { code: 'E_PROOF_BINDING' } })
      }),
    )
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: -400_000, max: 400_000 }), async (offset) => {
        const read = await verify(proof, NOW + offset)
        // A minute, and half a minute for clocks on either side.
        expect(read.ok).toBe(offset >= -30_000 && offset < 90_000)
      }),
    )
    const elsewhere = await verify(proof, NOW, request, key, 'https://other.test')
    expect(elsewhere).toEqual({ ok: false, error: { code: 'E_PROOF_AUDIENCE' } })
  })
})

describe('the header of a proof', () => {
  const signedUnder = async (header: object) => {
    const pair = await generateKeyPair('Ed25519')
    const text = Buffer.from(JSON.stringify(header)).toString('base64url')
    const signed = `${text}.${proof.split('.')[1]}`
    const signature = await crypto.subtle.sign('Ed25519', pair.privateKey, Buffer.from(signed))
    const read = await verify(
      `${signed}.${Buffer.from(signature).toString('base64url')}`,
      NOW,
      request,
      pair.publicKey,
    )
    return read.ok ? 'ok' : read.error.code
  }

  test('says algorithm and type in any form, and asks for nothing to be understood', async () => {
    const usual = { alg: 'EdDSA', typ: 'claw-proof+jwt' }
    expect(await signedUnder(usual)).toBe('ok')
    expect(await signedUnder({ typ: 'claw-proof+jwt', kid: 'x', alg: 'EdDSA' })).toBe('ok')
    for (const other of [
      { ...usual, alg: 'none' },
      { ...usual, alg: 'Ed25519' },
      { ...usual, typ: 'JWT' },
      { ...usual, crit: ['b64'], b64: false },
      { ...usual, crit: ['claw'] },
      { typ: usual.typ },
      [],
    ])
      expect([other, await signedUnder(other)]).toEqual([other, 'E_PROOF_MALFORMED'])
  })
})

describe('a proof that claims to live', () => {
  test('longer than a minute, or to end before it began, is refused however well it is signed', async () => {
    const pair = await generateKeyPair('Ed25519')
    const claims = decodeJwt(proof)
    const issued = Math.floor(NOW / 1000)
    const codeOf = async (life: number) => {
      const jwt = await new SignJWT({ ...claims, iat: issued, exp: issued + life })
        .setProtectedHeader({ alg: 'EdDSA', typ: 'claw-proof+jwt' })
        .sign(pair.privateKey)
      const read = await verify(jwt, NOW, request, pair.publicKey)
      return read.ok ? 'ok' : read.error.code
    }
    expect(await codeOf(60)).toBe('ok')
    for (const life of [61, 3_600, 10 ** 9, 0, -60])
      expect([life, await codeOf(life)]).toEqual([life, 'E_PROOF_EXPIRED'])
  })
})

describe('an Authorization header', () => {
  test('gives one credential of its scheme or none', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.stringMatching(/^(Claw|Bearer) .*$/)), (header) => {
        for (const credential of [proofOf(header), bearerToken(header)]) {
          if (credential === undefined) continue
          expect(header.split(' ')).toHaveLength(2)
          expect(header.endsWith(credential)).toBe(true)
        }
      }),
    )
    expect([proofOf(undefined), proofOf(null), bearerToken(undefined)]).toEqual([
      undefined,
      undefined,
      undefined,
    ])
  })
})

describe('a join token', () => {
  test('is not found in what is none, and the refusal repeats nothing of it', async () => {
    await fc.assert(
      fc.asyncProperty(fc.oneof(fc.string(), spoiled), async (text) => {
        const refusal: unknown = await Promise.resolve()
          .then(() => JoinToken.parse(text))
          .then(
            () => undefined,
            (error: unknown) => error,
          )
        expect(refusal).toMatchObject({ code: 'E_TOKEN_MALFORMED' })
        if (text.length > 12) expect(String(refusal)).not.toContain(text.slice(0, 12))
      }),
    )
  })
})
