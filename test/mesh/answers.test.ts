/** What a node answers when somebody asks of its mesh. */
import { describe, expect, test, vi } from 'vitest'
import { CommandError } from '../../agent/mesh/exec.ts'
import { parsePing } from '../../agent/mesh/mesh-ping.ts'
import { type Pair, reportPage, summarise } from '../../agent/mesh/pair-report.ts'
import { importSealingKey } from '../../crypto/hpke.ts'
import { openMeshAnswer } from '../../crypto/mesh-answer.ts'
import { generateX25519, x25519PublicKey } from '../../crypto/x25519.ts'
import { NodeFrame, Telemetry } from '../../protocol/frames.ts'
import { Endpoint, SealingKey } from '../../protocol/ids.ts'
import {
  MAX_MESH_QUESTIONS,
  MAX_TELEMETRY_BYTES,
  MAX_WORST_PAIRS,
  MESH_REPORT_PAIRS,
} from '../../protocol/limits.ts'
import { startFakeNode } from './fake-node.ts'
import { FLEET, newSeed, nodeId, selfOf } from './mesh-node.ts'

const REQUEST = 'r'.repeat(22)
const PRINTED = `PING 10.100.0.2 (10.100.0.2) from 10.100.0.1 claw0: 56(84) bytes of data.

--- 10.100.0.2 ping statistics ---
3 packets transmitted, 2 received, 33.3333% packet loss, time 402ms
rtt min/avg/max/mdev = 0.308/0.400/0.511/0.090 ms
`

const pair = (n: number, change: Partial<Pair> = {}): Pair => ({
  id: nodeId(n),
  path: 'direct',
  endpoint: '198.18.0.9:51820',
  lastHandshake: null,
  rxBytes: 1,
  txBytes: 2,
  ...change,
})

async function asked() {
  const node = await startFakeNode({ change: { publicEndpoint: Endpoint.parse('10.9.9.9:4000') } })
  const { wireguard } = node
  const { entry: two } = await selfOf(newSeed(2))
  node.engine.applyChanges({ epoch: 'e', to: 1, put: [two] })
  await vi.waitFor(() => expect(wireguard.peers.size).toBe(1))
  const secret = generateX25519()
  const sealTo = SealingKey.parse(await x25519PublicKey(secret))
  const key = await importSealingKey(secret)
  const open = async (sealed: string | undefined, request = REQUEST) => {
    NodeFrame.parse({ type: 'mesh_answer', request: REQUEST, sealed })
    return openMeshAnswer(key, sealed ?? '', { fleet: FLEET, node: node.entry.id, request }, node.entry.seal)
  }
  const ping = async (to = two.id) =>
    open(await node.engine.answer({ type: 'mesh_ping', request: REQUEST, sealTo, to }))
  return { ...node, two, sealTo, open, ping }
}

describe('asked for its pairs, a node', () => {
  test('says them, and where anybody reaches it, to the one that asks', async () => {
    const { engine, two, sealTo, open } = await asked()
    const sealed = await engine.answer({ type: 'mesh_report', request: REQUEST, sealTo })
    expect(await open(sealed)).toEqual({
      ok: true,
      value: {
        kind: 'report',
        open: ['10.9.9.9:4000', '198.18.0.1:51820'],
        pairs: [
          {
            ...{ peer: two.id, path: 'none', endpoint: null, lastHandshake: null, rxBytes: 0, txBytes: 0 },
            reason: 'no-candidates',
            hint: expect.stringContaining('has not said where it is'),
          },
        ],
      },
    })
    expect(await open(sealed, 'x'.repeat(22))).toEqual({ ok: false, error: 'corrupt' })
    await engine.stop({ keepInterface: true })
  })

  test('cuts them into pages that fit a frame, whatever there is to say', () => {
    const long = { reason: 'r'.repeat(48), hint: '"'.repeat(200), latencyMs: 123_456.789 }
    const endpoint = '[2001:db8:1234:5678:9abc:def0:1234:5678]:51820'
    const pairs = Array.from({ length: 300 }, (_, n) =>
      pair(n, {
        ...long,
        endpoint,
        lastHandshake: '2026-11-30T00:00:00.000Z',
        rxBytes: 2 ** 50,
        txBytes: 2 ** 50,
      }),
    )
    const seen: string[] = []
    let next: ReturnType<typeof nodeId> | undefined
    do {
      const page = reportPage(pairs, [], next)
      expect(page.pairs.length).toBeLessThanOrEqual(MESH_REPORT_PAIRS)
      const frame = { type: 'mesh_answer', request: REQUEST, sealed: 'A'.repeat(sealedLength(page)) }
      expect(NodeFrame.safeParse(frame).success).toBe(true)
      seen.push(...page.pairs.map(({ peer }) => peer))
      next = page.next
    } while (next !== undefined)
    expect(seen).toEqual([...new Set(pairs.map(({ id }) => id))].sort())
  })

  test('leaves out what has not the form', () => {
    const odd = pair(1, {
      endpoint: 'example.com:1',
      reason: 'Not A Code',
      hint: 'h'.repeat(201),
      latencyMs: null,
    })
    expect(reportPage([odd], [], undefined).pairs).toEqual([
      { peer: nodeId(1), path: 'direct', endpoint: null, lastHandshake: null, rxBytes: 1, txBytes: 2 },
    ])
  })
})

describe('asked to ping a peer, a node', () => {
  test('sends echoes through its interface, and says what came back', async () => {
    const { wireguard, ping, engine, two, calls } = await asked()
    wireguard.ping = () => PRINTED
    expect(await ping()).toMatchObject({
      ok: true,
      value: {
        kind: 'ping',
        sent: 3,
        received: 2,
        rttMs: { min: 0.308, avg: 0.4, max: 0.511 },
        pair: { peer: two.id, path: 'none' },
      },
    })
    const args = calls.find(({ program }) => program === 'sh')?.args ?? []
    expect(args.slice(-3)).toEqual(['-I', 'claw0', two.ip4])
    await engine.stop({ keepInterface: true })
  })

  test('pings nobody whom its map does not name', async () => {
    const { wireguard, ping, engine } = await asked()
    wireguard.ping = () => {
      throw new Error('nothing was to be run')
    }
    expect(await ping(nodeId(77))).toEqual({ ok: true, value: { kind: 'refusal', code: 'unknown_peer' } })
    await engine.stop({ keepInterface: true })
  })

  test.each([
    ['sh: 1: ping: not found', 'no_ping_program'],
    ['ping: SO_BINDTODEVICE claw0: Operation not permitted', 'ping_failed'],
  ])('says why there were none: %s', async (stderr, code) => {
    const { wireguard, ping, engine } = await asked()
    wireguard.ping = () => {
      throw new CommandError('sh', 'failed', { status: 'status 1', stderr })
    }
    expect(await ping()).toEqual({ ok: true, value: { kind: 'refusal', code } })
    await engine.stop({ keepInterface: true })
  })

  test('runs no more at once than it was told it would be asked', async () => {
    const { wireguard, engine, two, sealTo } = await asked()
    let release: (text: string) => void = () => {}
    const printed = new Promise<string>((resolve) => {
      release = resolve
    })
    let running = 0
    wireguard.ping = () => {
      running++
      return printed
    }
    const question = { type: 'mesh_ping', request: REQUEST, sealTo, to: two.id } as const
    const answers = Array.from({ length: MAX_MESH_QUESTIONS + 1 }, () => engine.answer(question))
    expect(await answers.at(-1)).toBeUndefined()
    await vi.waitFor(() => expect(running).toBe(MAX_MESH_QUESTIONS))
    release(PRINTED)
    expect(await Promise.all(answers.slice(0, -1))).not.toContain(undefined)
    await engine.stop({ keepInterface: true })
  })

  test.each([
    ['2 packets transmitted, 2 packets received, 0% packet loss\nround-trip min/avg/max = 0.1/0.2/0.3 ms', 2],
    ['3 packets transmitted, 0 received, 100% packet loss, time 2040ms', 0],
  ])('reads %j', (text, received) => {
    expect(parsePing(text)).toMatchObject({ received })
    expect(parsePing(text)?.rttMs === undefined).toBe(received === 0)
  })

  test('reads nothing where there is nothing', () => expect(parsePing('ping: bad')).toBeUndefined())
})

test('telemetry counts pairs by path, names the worst first, and stays within its bound', () => {
  const pairs = [
    pair(1),
    pair(2, { path: 'relay', reason: 'symmetric-nat', latencyMs: 40 }),
    pair(3, { path: 'relay', reason: 'udp-blocked', latencyMs: 90 }),
    pair(4, { path: 'none' }),
  ]
  expect(summarise(pairs)).toEqual({
    paths: { direct: 1, relay: 2, none: 1 },
    worst: [
      { peer: nodeId(4), path: 'none' },
      { peer: nodeId(3), path: 'relay', reason: 'udp-blocked', latencyMs: 90 },
      { peer: nodeId(2), path: 'relay', reason: 'symmetric-nat', latencyMs: 40 },
    ],
  })
  const many = Array.from({ length: 5_000 }, (_, n) =>
    pair(n, { path: 'relay', reason: 'r'.repeat(48), latencyMs: 123.456789 }),
  )
  const summary = summarise(many)
  expect(summary.worst).toHaveLength(MAX_WORST_PAIRS)
  const telemetry = { uptimeSeconds: 1, load1: 1, memoryTotalBytes: 1, memoryFreeBytes: 1 }
  const whole = Telemetry.parse({ ...telemetry, mesh: { peers: 5_000, reachable: 5_000, summary } })
  expect(JSON.stringify(whole).length).toBeLessThan(MAX_TELEMETRY_BYTES / 2)
})

/** Base64url of the encapsulated key, the text and the tag. */
const sealedLength = (content: unknown): number =>
  Math.ceil(((32 + JSON.stringify(content).length + 16) * 4) / 3)
