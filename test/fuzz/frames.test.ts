/** Both ends of the session read frames from a peer that may send anything. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createLog } from '../../agent/log.ts'
import { parseGatewayFrame } from '../../agent/session/gateway-frame.ts'
import { readFrame } from '../../durable-objects/frame-reader.ts'
import { ERRORS } from '../../protocol/errors.ts'
import { MAX_FRAME_BYTES } from '../../protocol/limits.ts'
import { gatewayFrame, nodeFrame } from './arbitraries.ts'
import { Dice, type Json, mutateMessage } from './mutate.ts'

const RUNS = { numRuns: 3000 }
const seed = fc.integer({ min: 0 })
const spoiled = (frame: fc.Arbitrary<object>) =>
  fc.tuple(frame, seed).map(([value, number]) => mutateMessage(new Dice(number), value as Json))

const parsed = (text: string): unknown => JSON.parse(text)

/** With -0 as JSON writes it, and without `__proto__`: the validator passes that one name over, and builds the frame without it. */
const plain = (value: unknown): unknown =>
  JSON.parse(JSON.stringify(value), (_, item: unknown) =>
    typeof item === 'object' && item !== null && Object.hasOwn(item, '__proto__')
      ? Object.fromEntries(Object.entries(item).filter(([name]) => name !== '__proto__'))
      : item,
  )

describe('the gateway reads from a node', () => {
  test('every frame of the protocol, whole', () => {
    fc.assert(
      fc.property(nodeFrame, (frame) => {
        const text = JSON.stringify(frame)
        expect(readFrame(text)).toEqual({ ok: true, value: parsed(text) })
      }),
      RUNS,
    )
  })

  test('nothing else: it never throws, and what it accepts is exactly what was sent', () => {
    fc.assert(
      fc.property(fc.oneof(spoiled(nodeFrame), fc.string(), fc.json()), (text) => {
        const frame = readFrame(text)
        if (frame.ok) {
          expect(plain(frame.value)).toEqual(plain(parsed(text)))
          expect(Object.hasOwn(frame.value, '__proto__')).toBe(false)
        } else expect(ERRORS).toHaveProperty(frame.error)
        expect(Object.keys(frame).sort()).toEqual(frame.ok ? ['ok', 'value'] : ['error', 'ok'])
      }),
      RUNS,
    )
  })

  test('no binary frame, whatever its bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        expect(readFrame(new Uint8Array(bytes).buffer)).toEqual({ ok: false, error: 'E_FRAME_MALFORMED' })
      }),
    )
  })

  test('no frame with one field more than it has, at its top or inside', () => {
    const name = fc.string({ minLength: 1 }).filter((text) => text !== '__proto__')
    fc.assert(
      fc.property(nodeFrame, name, fc.jsonValue(), (frame, field, value) => {
        fc.pre(!(field in frame))
        expect(readFrame(JSON.stringify({ ...frame, [field]: value })).ok).toBe(false)
        if (!('telemetry' in frame)) return
        fc.pre(!(field in frame.telemetry))
        const inner = { ...frame, telemetry: { ...frame.telemetry, [field]: value } }
        expect(readFrame(JSON.stringify(inner)).ok).toBe(false)
      }),
    )
  })

  test('no private key, whatever it is called and wherever it is (X16, I-3)', () => {
    const field = fc.constantFrom(
      'private_key',
      'privateKey',
      'PRIVATE_KEY',
      'wg_private_key',
      'psk',
      'preshared_key',
    )
    fc.assert(
      fc.property(nodeFrame, field, fc.nat({ max: 10 }), (frame, name, depth) => {
        let value: unknown = { [name]: 'AAAA' }
        for (let level = 0; level < depth; level++) value = level % 2 === 0 ? [value] : { deeper: value }
        expect(readFrame(JSON.stringify({ ...frame, extra: value }))).toEqual({
          ok: false,
          error: 'E_FRAME_PRIVATE_KEY',
        })
      }),
    )
    // Written so that the text does not show it, it is refused all the same.
    expect(readFrame('{"type":"mesh_resync","private\\u005fkey":"AAAA"}').ok).toBe(false)
  })

  test('no node id beside the one the session is bound to (X2)', () => {
    fc.assert(
      fc.property(nodeFrame, fc.constantFrom('node', 'nodeId', 'node_id', 'id', 'from'), (frame, field) => {
        const text = JSON.stringify({ ...frame, [field]: 'a'.repeat(26) })
        expect(readFrame(text)).toEqual({ ok: false, error: 'E_FRAME_FOREIGN_ID' })
      }),
    )
  })

  test('nothing beyond the limit, counted in bytes and not in characters (X3)', () => {
    const frame = (filling: string) => `{"type":"mesh_resync","at":"${filling}"}`
    const overhead = frame('').length
    for (const [letter, bytes] of [
      ['x', 1],
      ['é', 2],
      ['語', 3],
    ] as const) {
      const fits = Math.floor((MAX_FRAME_BYTES - overhead) / bytes)
      expect(readFrame(frame(letter.repeat(fits)))).toEqual({ ok: false, error: 'E_FRAME_INVALID' })
      expect(readFrame(frame(letter.repeat(fits + 1)))).toEqual({ ok: false, error: 'E_FRAME_TOO_LARGE' })
    }
  })
})

describe('the agent reads from the gateway', () => {
  const read = (text: string) => {
    const lines: string[] = []
    const log = createLog({ level: 'debug', write: (line) => lines.push(line), now: () => 0 })
    return { frame: parseGatewayFrame(text, log), lines }
  }

  test('every frame of the protocol, whole', () => {
    fc.assert(
      fc.property(gatewayFrame, (frame) => {
        const text = JSON.stringify(frame)
        expect(read(text)).toEqual({ frame: parsed(text), lines: [] })
      }),
      RUNS,
    )
  })

  test('nothing else: it never throws, and what it accepts is exactly what was sent', () => {
    fc.assert(
      fc.property(fc.oneof(spoiled(gatewayFrame), fc.string(), fc.json()), (text) => {
        const { frame, lines } = read(text)
        if (frame === undefined) expect(lines).toHaveLength(1)
        else expect(plain(frame)).toEqual(plain(parsed(text)))
      }),
      RUNS,
    )
  })

  test('and logs nothing of what a frame says', () => {
    const canary = 'canary7f3a'
    fc.assert(
      fc.property(gatewayFrame, fc.boolean(), (frame, asKey) => {
        const field = asKey ? { [canary]: 1 } : { extra: canary }
        const { frame: accepted, lines } = read(JSON.stringify({ ...frame, ...field }))
        expect(accepted).toBeUndefined()
        expect(lines.join('')).not.toContain(canary)
      }),
    )
  })
})
