import { ml_kem768 } from '@noble/post-quantum/ml-kem.js'
import { describe, expect, test } from 'vitest'
import { decapsulate, encapsulate, generateKem } from '../../agent/mesh/ml-kem.ts'
import { PskAgreement } from '../../agent/mesh/psk-agreement.ts'
import type { ActualPeer } from '../../agent/mesh/reconcile.ts'
import { agreePsk } from '../../crypto/pair-psk.ts'
import type { PskSignal } from '../../crypto/signal.ts'
import type { MeshPeer } from '../../protocol/mesh.ts'
import { ManualClock } from '../support/manual-clock.ts'
import { FLEET, newSeed, selfOf } from './mesh-node.ts'

type Content = PskSignal extends infer S ? (S extends PskSignal ? Omit<S, 'at'> : never) : never

const keys = await Promise.all([selfOf(newSeed(1)), selfOf(newSeed(2))])
const [low, high] = keys.map(({ entry }) => entry).sort((a, b) => (a.id < b.id ? -1 : 1)) as [
  MeshPeer,
  MeshPeer,
]

/** One end; what it says waits until it is delivered. */
function end(entry: MeshPeer, isWanted: boolean, clock: ManualClock) {
  const said: Content[] = []
  const installed: (string | undefined)[] = []
  const warnings: string[] = []
  const agreement = new PskAgreement({
    fleet: FLEET,
    self: { id: entry.id, wireguard: { publicKey: entry.wg } },
    isWanted,
    clock,
    log: { debug: () => {}, info: () => {}, warn: (text) => void warnings.push(text), error: () => {} },
    say: (_, content) => void said.push(content as Content),
    install: async (_, psk) => {
      installed.push(psk && Buffer.from(psk.expose()).toString('hex'))
      return true
    },
  })
  return { entry, agreement, said, installed, warnings }
}
type End = ReturnType<typeof end>

function pair(wanted: readonly [boolean, boolean] = [true, true]) {
  const clock = new ManualClock()
  const [a, b] = [end(low, wanted[0], clock), end(high, wanted[1], clock)]
  return { clock, a, b }
}

const hear = (to: End, from: End, content: Content) =>
  to.agreement.hear(from.entry, { ...content, at: 1 } as PskSignal)

/** Delivers everything, and what is said in answer. @param lose is asked of each. */
async function deliver(a: End, b: End, lose: (content: Content) => boolean = () => false) {
  while (a.said.length + b.said.length > 0) {
    for (const [from, to] of [
      [a, b],
      [b, a],
    ] as const)
      for (const content of from.said.splice(0)) if (!lose(content)) await hear(to, from, content)
  }
}

const actual = (change: Partial<ActualPeer>): ActualPeer => ({
  publicKey: high.wg,
  allowedIps: [],
  endpoint: undefined,
  keepalive: 25,
  lastHandshake: 0,
  rxBytes: 0,
  txBytes: 0,
  ...change,
})

describe('a pre-shared key', () => {
  test.each([['who offers'], ['who is to be offered']])(
    'is agreed on when it begins with the one %s',
    async (who) => {
      const { a, b } = pair()
      if (who === 'who offers') a.agreement.begin([high])
      else b.agreement.begin([low])
      await deliver(a, b)
      expect(a.installed).toHaveLength(1)
      expect(a.installed[0]).toMatch(/^[0-9a-f]{64}$/)
      expect(b.installed).toEqual(a.installed)
      expect([...a.agreement.settled, ...b.agreement.settled]).toEqual([high.id, low.id])
    },
  )

  test('is another one each time, and renewed after a day', async () => {
    const { clock, a, b } = pair()
    a.agreement.beginEachDay(() => [high])
    await deliver(a, b)
    clock.advance(24 * 60 * 60_000)
    await deliver(a, b)
    expect(new Set(a.installed).size).toBe(2)
    expect(b.installed).toEqual(a.installed)
    a.agreement.stop()
  })

  test.each([[[true, false]], [[false, true]], [[false, false]]] as const)(
    'is for two that want it: %j',
    async (wanted) => {
      const { clock, a, b } = pair(wanted)
      a.agreement.begin([high])
      b.agreement.begin([low])
      expect([a.said.length > 0, b.said.length > 0]).toEqual(wanted)
      await deliver(a, b)
      clock.advance(60_000)
      await deliver(a, b)
      // Whoever is refused gives up what there may be from before.
      expect([...a.installed, ...b.installed].filter((psk) => psk !== undefined)).toEqual([])
      await (wanted[0] ? b : a).agreement.look(
        new Map([
          [high.id, high],
          [low.id, low],
        ]),
        [{ id: (wanted[0] ? low : high).id, found: actual({ hasPsk: true }) }],
      )
      expect((wanted[0] ? b : a).installed).toEqual([undefined])
    },
  )

  test.each(['offer', 'answer', 'confirm', 'done'] as const)('survives a lost %s', async (step) => {
    const { clock, a, b } = pair()
    let losses = 1
    a.agreement.begin([high])
    await deliver(a, b, (content) => content.step === step && losses-- > 0)
    clock.advance(5_000)
    await deliver(a, b)
    expect(a.installed.at(-1)).toMatch(/^[0-9a-f]{64}$/)
    expect(b.installed.at(-1)).toBe(a.installed.at(-1))
  })

  test('is not taken if anything of the exchange was changed', async () => {
    const other = generateKem().encapsulationKey
    for (const change of [
      (content: Content) => (content.step === 'offer' ? { ...content, key: other } : content),
      (content: Content) =>
        content.step === 'answer' ? { ...content, ciphertext: 'A'.repeat(1451) } : content,
      (content: Content) => (content.step === 'answer' ? { ...content, tag: 'A'.repeat(43) } : content),
      (content: Content) => (content.step === 'confirm' ? { ...content, tag: 'A'.repeat(43) } : content),
    ]) {
      const { a, b } = pair()
      a.agreement.begin([high])
      for (let round = 0; round < 4; round++)
        for (const [from, to] of [
          [a, b],
          [b, a],
        ] as const)
          for (const content of from.said.splice(0)) await hear(to, from, change(content) as Content)
      expect([...a.installed, ...b.installed]).toEqual([])
    }
  })

  test('is of these two WireGuard keys: who means others agrees on nothing', async () => {
    const { a, b } = pair()
    a.agreement.begin([{ ...high, wg: low.wg }])
    while (a.said.length + b.said.length > 0) {
      for (const content of a.said.splice(0)) await hear(b, a, content)
      for (const content of b.said.splice(0))
        await a.agreement.hear({ ...high, wg: low.wg }, { ...content, at: 1 } as PskSignal)
    }
    expect([...a.installed, ...b.installed]).toEqual([])
  })

  test('that one end has lost is agreed on anew; without an answer it is given up, and the pair lives', async () => {
    const { clock, a, b } = pair()
    const peers = new Map([[high.id, high]])
    const look = (change: Partial<ActualPeer>) =>
      a.agreement.look(peers, [{ id: high.id, found: actual(change) }])
    a.agreement.begin([high])
    await deliver(a, b)
    await look({ hasPsk: true })
    expect(a.said).toEqual([])
    // The interface was made anew.
    await look({})
    expect(a.said.map(({ step }) => step)).toEqual(['offer'])
    await deliver(a, b)
    expect(b.installed.at(-1)).toBe(a.installed.at(-1))

    clock.advance(181_000)
    await look({ hasPsk: true, lastHandshake: Math.floor(clock.now() / 1000) - 200 })
    expect(a.said.map(({ step }) => step)).toEqual(['offer'])
    clock.advance(31_000)
    await look({ hasPsk: true, lastHandshake: Math.floor(clock.now() / 1000) - 231 })
    expect(a.installed.at(-1)).toBeUndefined()
    expect(a.warnings).toHaveLength(1)
    // A session that lives is no sign of anything.
    await look({ hasPsk: true, lastHandshake: Math.floor(clock.now() / 1000) - 100 })
    expect(a.warnings).toHaveLength(1)
  })

  test('is bound to each part of the exchange', () => {
    const exchange = {
      fleet: FLEET,
      initiator: { id: low.id, wg: low.wg },
      responder: { id: high.id, wg: high.wg },
      encapsulationKey: 'ek',
      ciphertext: 'ct',
    }
    const shared = new Uint8Array(32).fill(7)
    const hex = (change: Partial<typeof exchange>) =>
      Buffer.from(agreePsk(shared, { ...exchange, ...change }).psk.expose()).toString('hex')
    const all = [
      hex({}),
      hex({ initiator: { id: low.id, wg: high.wg } }),
      hex({ responder: { id: low.id, wg: high.wg } }),
      hex({ encapsulationKey: 'ek2' }),
      hex({ ciphertext: 'ct2' }),
    ]
    expect(new Set(all).size).toBe(all.length)
    expect(hex({})).toBe(all[0])
    expect(() => agreePsk(new Uint8Array(31), exchange)).toThrow(RangeError)
  })
})

describe('ML-KEM-768', () => {
  const bytes = (text: string) => new Uint8Array(Buffer.from(text, 'base64url'))

  test('comes to the same secret as another implementation, both ways', () => {
    const ours = generateKem()
    const theirs = ml_kem768.encapsulate(bytes(ours.encapsulationKey))
    const opened = decapsulate(ours, Buffer.from(theirs.cipherText).toString('base64url'))
    expect(Buffer.from(opened ?? []).equals(theirs.sharedSecret)).toBe(true)

    const { publicKey, secretKey } = ml_kem768.keygen()
    const made = encapsulate(Buffer.from(publicKey).toString('base64url'))
    expect(ml_kem768.decapsulate(bytes(made?.ciphertext ?? ''), secretKey)).toEqual(
      new Uint8Array(made?.shared ?? []),
    )
  })

  test('takes no key with coefficients out of range, no other length, and gives another secret for another ciphertext', () => {
    const kem = generateKem()
    expect(encapsulate('_'.repeat(1579))).toBeUndefined()
    expect(encapsulate(kem.encapsulationKey.slice(4))).toBeUndefined()
    const made = encapsulate(kem.encapsulationKey)
    const spoiled = `${made?.ciphertext[0] === 'A' ? 'B' : 'A'}${made?.ciphertext.slice(1)}`
    expect(decapsulate(kem, spoiled)).not.toEqual(made?.shared)
    expect(decapsulate(kem, 'AAAA')).toBeUndefined()
  })
})
