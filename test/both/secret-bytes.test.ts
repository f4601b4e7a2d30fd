import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { SecretBytes } from '../../crypto/secret-bytes.ts'
import { deriveSecretKey, FRAME_OVERHEAD_BYTES, openFrame, sealFrame } from '../../crypto/secret-frame.ts'
import { SecretName } from '../../protocol/ids.ts'

const name = (text: string) => SecretName.parse(text)

describe('secret bytes', () => {
  const bytes = Uint8Array.from({ length: 16 }, (_, index) => index + 100)
  const revealing = ['100,101', '64656667', 'ZGVmZ2']

  it('are redacted in every printed form', () => {
    const secret = SecretBytes.take(bytes.slice())
    const forms = [
      String(secret),
      `${secret}`,
      JSON.stringify({ secret }),
      JSON.stringify(Object.entries(secret)),
      JSON.stringify({ ...secret }),
      String(new Error('x', { cause: secret }).cause),
    ]
    for (const form of forms) for (const part of revealing) expect(form).not.toContain(part)
    expect(String(secret)).toBe('[REDACTED 16 bytes]')
  })

  it('compare by content, also where the lengths differ', () => {
    const secret = SecretBytes.take(bytes.slice())
    expect(secret.equals(SecretBytes.take(bytes.slice()))).toBe(true)
    expect(secret.equals(SecretBytes.take(bytes.slice(1)))).toBe(false)
    expect(secret.equals(SecretBytes.random(16))).toBe(false)
  })

  it('are zero after a wipe, and refuse every later use', () => {
    const buffer = bytes.slice()
    {
      using secret = SecretBytes.take(buffer)
      expect(secret.length).toBe(16)
    }
    expect([...buffer]).toEqual(new Array(16).fill(0))
    const wiped = SecretBytes.random(4)
    wiped.wipe()
    expect(() => wiped.expose()).toThrow('wiped')
    expect(() => wiped.equals(wiped)).toThrow('wiped')
    expect(String(wiped)).toBe('[WIPED]')
  })
})

describe('a frame', () => {
  const master = SecretBytes.random(32)

  it('opens to what was sealed, under its own name and master only', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 512 }), (value) => {
        const key = deriveSecretKey(master, name('a'))
        const frame = sealFrame(key, SecretBytes.take(value.slice()))
        expect(frame.length).toBe(value.length + FRAME_OVERHEAD_BYTES)
        const opened = openFrame(key, frame)
        expect(opened.ok && [...opened.value.expose()]).toEqual([...value])
        expect(openFrame(deriveSecretKey(master, name('b')), frame).ok).toBe(false)
        expect(openFrame(deriveSecretKey(SecretBytes.random(32), name('a')), frame).ok).toBe(false)
      }),
    )
  })

  it('does not open once any byte has changed or is missing', () => {
    const key = deriveSecretKey(master, name('a'))
    const frame = sealFrame(key, SecretBytes.take(Uint8Array.of(1, 2, 3)))
    for (let index = 0; index < frame.length; index++) {
      const changed = frame.slice()
      changed[index] = (changed[index] ?? 0) ^ 1
      expect(openFrame(key, changed)).toEqual({ ok: false, error: 'corrupt' })
      expect(openFrame(key, frame.subarray(0, index))).toEqual({ ok: false, error: 'corrupt' })
    }
  })

  it('never repeats a nonce in 100 000 seals', () => {
    const key = deriveSecretKey(master, name('a'))
    const nonces = new Set<string>()
    for (let i = 0; i < 100_000; i++)
      nonces.add(sealFrame(key, SecretBytes.take(new Uint8Array())).subarray(0, 12).join())
    expect(nonces.size).toBe(100_000)
  })
})
