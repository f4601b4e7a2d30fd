/** `claw mesh` against a gateway that really runs, and nodes that answer as agents do. */
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import jsqr from 'jsqr'
import { beforeAll, describe, expect, test } from 'vitest'
import { SimulatedNode } from '../../bench/simulated-node.ts'
import { findExportNodes } from '../../cli/mesh/export-nodes.ts'
import { dotGraph, type Edge, worseEnds } from '../../cli/mesh/pairs.ts'
import { qrCode } from '../../cli/mesh/qr.ts'
import { GatewayConnection } from '../../host/gateway-connection.ts'
import { parseGatewayUrl } from '../../host/gateway-url.ts'
import type { NodeItem } from '../../protocol/http.ts'
import { Endpoint, NodeName } from '../../protocol/ids.ts'
import type { MeshAnswer, PairReport } from '../../protocol/mesh-report.ts'
import { ownGateway } from '../support/own-gateway.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

const gateway = ownGateway()
const nodes = new Map<string, SimulatedNode>()

beforeAll(async () => {
  const { url, ca } = gateway.running
  const connection = new GatewayConnection({ url: parseGatewayUrl(url), ca: readFileSync(ca, 'utf8') })
  const { stdout } = await gateway.run(['token', 'create', '--uses', '3'])
  for (const name of ['alpha', 'beta', 'gone']) {
    const node = await SimulatedNode.make(connection, name)
    await node.enrol(stdout.trim())
    await node.connect({ mesh: true })
    nodes.set(name, node)
  }
  nodes.get('gone')?.close()
  const beats = setInterval(() => {
    for (const live of nodes.values()) live.ping()
  }, 10_000)
  return () => {
    clearInterval(beats)
    for (const node of nodes.values()) node.close()
    connection.close()
  }
})

let items: Promise<NodeItem[]> | undefined
async function gatewayNode(name: string): Promise<NodeItem> {
  items ??= gateway.json<{ items: NodeItem[] }>(['node', 'ls']).then((list) => list.items)
  const found = (await items).find((item) => item.name === name)
  if (found === undefined) throw new Error(`no ${name}`)
  return found
}

const node = (name: string): SimulatedNode => {
  const found = nodes.get(name)
  if (found === undefined) throw new Error(`no ${name}`)
  return found
}

const pair = (peer: string, change: Partial<PairReport> = {}): PairReport => ({
  peer: node(peer).id,
  path: 'direct',
  endpoint: Endpoint.parse('198.18.0.2:51820'),
  lastHandshake: 1_800_000_000,
  rxBytes: 10,
  txBytes: 20,
  ...change,
})

const report = (open: readonly string[], ...pairs: PairReport[]): MeshAnswer => ({
  kind: 'report',
  open: open.map((endpoint) => Endpoint.parse(endpoint)),
  pairs,
})

const pong = (change: object = {}): MeshAnswer => ({
  kind: 'ping',
  sent: 3,
  received: 3,
  rttMs: { min: 0.3, avg: 0.4, max: 0.5 },
  pair: pair('beta'),
  ...change,
})

test('status shows who follows the mesh, and who is away', async () => {
  const { code, stdout, stderr } = await gateway.run(['mesh', 'status'])
  expect(code, stderr).toBe(0)
  expect(stdout).toMatch(/^NAME +STATUS +BEHIND +MAP +REACHES +PATHS\nalpha +online +- +- /)
  expect(stdout).toMatch(/^gone +offline /m)
  expect(stderr).toBe('3 nodes in the mesh, 0 of them up to date\n')
  const { head, items } = await gateway.json<{ head: { seq: number }; items: object[] }>(['mesh', 'status'])
  expect(head.seq).toBeGreaterThanOrEqual(3)
  expect(items).toHaveLength(3)
})

describe('ping', () => {
  const ping = (...args: string[]) => gateway.run(['mesh', 'ping', ...args])

  test('says what one node measured of another', async () => {
    let asked: unknown
    node('alpha').onQuestion = (question) => {
      asked = question
      return pong()
    }
    expect(await ping('alpha', 'beta')).toMatchObject({
      code: 0,
      stdout:
        'alpha to beta: 3 of 3 echoes, 0.3 / 0.4 / 0.5 ms (least, mean, most), path direct by 198.18.0.2:51820\n',
    })
    expect(asked).toMatchObject({ type: 'mesh_ping', to: node('beta').id })
  })

  test.each<[string, () => MeshAnswer, object]>([
    [
      'no path',
      () =>
        pong({
          received: 0,
          rttMs: undefined,
          pair: pair('beta', { path: 'none', reason: 'udp-blocked', hint: 'open UDP' }),
        }),
      { code: 9, stderr: expect.stringMatching(/no path between the two: udp-blocked[\s\S]*open UDP/) },
    ],
    [
      'no rule',
      () => ({ kind: 'refusal', code: 'unknown_peer' }),
      { code: 7, stderr: expect.stringContaining('no rule lets the two talk') },
    ],
    [
      'no program',
      () => ({ kind: 'refusal', code: 'no_ping_program' }),
      { code: 9, stderr: expect.stringContaining('not installed on alpha') },
    ],
    [
      'an answer to something else',
      () => report([]),
      { code: 1, stderr: expect.stringContaining('E_MESH_ANSWER') },
    ],
  ])('%s', async (_, answer, expected) => {
    node('alpha').onQuestion = answer
    expect(await ping('alpha', 'beta')).toMatchObject(expected)
  })

  test('of a node that is away, or that nobody knows', async () => {
    expect(await ping('gone', 'beta')).toMatchObject({
      code: 6,
      stderr: expect.stringContaining('E_NODE_OFFLINE'),
    })
    expect(await ping('alpha', 'nobody')).toMatchObject({
      code: 5,
      stderr: expect.stringContaining('E_NODE_NOT_FOUND'),
    })
  })

  test('an answer sealed by another node is not believed', async () => {
    const [alpha, beta] = [node('alpha'), node('beta')]
    alpha.onQuestion = () => pong()
    const [own] = [alpha.sealing]
    alpha.sealing = beta.sealing
    expect(await ping('alpha', 'beta')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('not sealed by that node'),
    })
    alpha.sealing = own
  })
})

test('graph puts together what the nodes see, page by page, and says who does not answer', async () => {
  const [first, second] = [
    pair('beta', { path: 'relay', reason: 'symmetric-nat', latencyMs: 12.5 }),
    pair('gone', { path: 'none', endpoint: null, lastHandshake: null }),
  ].sort((a, b) => (a.peer < b.peer ? -1 : 1))
  node('alpha').onQuestion = (question) =>
    question.type === 'mesh_report' && question.after === undefined && first !== undefined
      ? { kind: 'report', open: [], pairs: [first], next: first.peer }
      : report([], ...(second === undefined ? [] : [second]))
  node('beta').onQuestion = () => report([], pair('alpha'))
  const { code, stdout, stderr } = await gateway.run(['mesh', 'graph'])
  expect(code, stderr).toBe(0)
  expect(stdout).toMatch(/^alpha +beta +relay +198\.18\.0\.2:51820 .* 12\.5 ms +symmetric-nat$/m)
  expect(stdout).toMatch(/^alpha +gone +none +- +never +-$/m)
  expect(stdout.trim().split('\n')).toHaveLength(3)
  const dot = await gateway.run(['mesh', 'graph', '-o', 'dot'])
  expect(dot.stdout).toContain(
    '  "alpha" -- "beta" [style=dashed, label="relay\\n12.5 ms\\nsymmetric-nat"]\n',
  )
  const one = await gateway.json<{ edges: { from: string }[] }>(['mesh', 'graph', '--node', 'beta'])
  expect(one.edges.map(({ from }) => from)).toEqual(['beta'])
  const degraded = await gateway.run(['mesh', 'graph', '--node', 'gone'])
  expect(degraded).toMatchObject({ code: 3, stderr: expect.stringContaining('gone does not say') })
  // A node that does not get on with its pages is not asked for ever.
  node('alpha').onQuestion = () => ({ kind: 'report', open: [], pairs: [], next: node('alpha').id })
  expect((await gateway.run(['mesh', 'graph', '--node', 'alpha'])).stderr).toContain('alpha does not say')
})

describe('export', () => {
  const run = (...args: string[]) => gateway.run(['mesh', 'export', ...args])
  const trail = async () => JSON.stringify(await gateway.json(['audit', 'ls']))
  const field = (config: string, name: string) => new RegExp(`^${name} = (.*)$`, 'm').exec(config)?.[1] ?? ''

  test('makes a configuration whose private key the gateway never sees', async () => {
    node('alpha').onQuestion = () => report(['198.18.0.1:51820', '[2001:db8::1]:51820'])
    node('beta').onQuestion = () => report([])
    const { code, stdout: config, stderr } = await run('--peer', 'phone', '--tag', 'mobile')
    expect(code, stderr).toBe(0)
    expect(config.match(/^\[Peer\]$/gm)).toHaveLength(1)
    expect(field(config, 'Endpoint')).toBe('198.18.0.1:51820')
    expect(field(config, 'AllowedIPs')).toMatch(/^10\.100\.0\.1\/32, fd[0-9a-f:]+\/128$/)
    expect(stderr).toContain('it reaches alpha (10.100.0.1) by 198.18.0.1:51820\n')
    expect(stderr).toContain('it does not reach beta: it knows of no endpoint')
    expect(stderr).toMatch(/it does not reach gone: it is offline, and cannot be asked/)
    const privateKey = field(config, 'PrivateKey')
    expect(Buffer.from(privateKey, 'base64')).toHaveLength(32)
    const { items } = await gateway.json<{ items: Record<string, string>[] }>(['mesh', 'peers'])
    expect(items).toMatchObject([{ name: 'phone', tags: ['mobile'] }])
    expect(field(config, 'Address')).toBe(`${items[0]?.['ipv4']}/32, ${items[0]?.['ipv6']}/128`)
    expect(await trail()).toContain(items[0]?.['wg'])
    expect(await trail()).not.toContain(privateKey.replaceAll('+', '-').replaceAll('/', '_').slice(0, 42))
    expect(await run('--peer', 'phone')).toMatchObject({
      code: 6,
      stdout: '',
      stderr: expect.stringContaining('E_PEER_NAME_TAKEN'),
    })
    expect((await gateway.run(['mesh', 'peers'])).stdout).toMatch(/^phone +10\.100\./m)
    expect((await gateway.run(['mesh', 'rm-peer', 'phone', '--yes'])).code).toBe(0)
    expect((await gateway.run(['mesh', 'rm-peer', 'phone', '--yes'])).code).toBe(5)
  })

  test('as a QR code that a decoder reads, beside a file that only its owner can', async () => {
    node('alpha').onQuestion = () => report([])
    const file = join(temporaryDirectory(), 'tablet.conf')
    const { code, stdout, stderr } = await run(
      '--peer',
      'tablet',
      '--via',
      'alpha',
      '--endpoint',
      'alpha=gpu.example.com:51820',
      '--qr',
      '--file',
      file,
    )
    expect(code, stderr).toBe(0)
    const config = readFileSync(file, 'utf8')
    expect(statSync(file).mode & 0o777).toBe(0o600)
    expect(field(config, 'Endpoint')).toBe('gpu.example.com:51820')
    expect(decodeQr(stdout)).toBe(config)
    // What cannot be handed over must not stay in the mesh.
    const again = await run('--peer', 'tablet-2', '--endpoint', 'alpha=gpu.example.com:51820', '--file', file)
    expect(again).toMatchObject({ code: 6, stderr: expect.stringContaining('E_FILE_EXISTS') })
    expect(readFileSync(file, 'utf8')).toBe(config)
    expect((await gateway.run(['mesh', 'peers'])).stdout).not.toContain('tablet-2')
  })

  test('lets nobody in where there is no way to any node', async () => {
    node('alpha').onQuestion = () => report([])
    const none = await run('--peer', 'lost')
    expect(none).toMatchObject({
      code: 9,
      stdout: '',
      stderr: expect.stringContaining('--endpoint NODE=HOST:PORT'),
    })
    expect((await gateway.run(['mesh', 'peers'])).stdout).not.toMatch(/^lost /m)
  })

  test.each([
    [{ endpoints: ['alpha'] }, 'NODE=HOST:PORT'],
    [{ endpoints: ['alpha=h:0'] }, 'NODE=HOST:PORT'],
    [{ endpoints: ['alpha=h:65536'] }, 'NODE=HOST:PORT'],
    [{ endpoints: ['alpha=h:1\nPostUp=x:1'] }, 'NODE=HOST:PORT'],
    [{ endpoints: ['nobody=h:1'] }, 'no node nobody'],
    [{ via: ['held'] }, 'no node held'],
    [{}, 'more than a device'],
  ])('does not take %j', async (wanted, problem) => {
    const item = await gatewayNode('alpha')
    const others = Array.from({ length: 16 }, (_, n) => ({ ...item, name: NodeName.parse(`other-${n}`) }))
    const held = { ...item, name: NodeName.parse('held'), status: 'quarantined' as const }
    const asked: unknown[] = []
    const client = {
      nodes: async () => [item, held, ...others],
      meshReport: async (body: unknown) => {
        asked.push(body)
        throw new Error('nobody was to be asked')
      },
    }
    await expect(findExportNodes(client, { via: [], endpoints: [], ...wanted })).rejects.toThrow(problem)
    expect(asked).toEqual([])
  })
})

describe('pairs', () => {
  const edge = (from: string, to: string, change: Partial<Edge> = {}): Edge => {
    const { peer: _, ...rest } = pair('beta')
    return { ...rest, from: NodeName.parse(from), to: NodeName.parse(to), ...change }
  }

  test('are shown once, as the end sees it that sees it worse', () => {
    const edges = [edge('b', 'a'), edge('a', 'b', { path: 'none' }), edge('a', 'c', { path: 'lan' })]
    expect(worseEnds(edges).map(({ from, to, path }) => `${from} ${to} ${path}`)).toEqual([
      'a b none',
      'a c lan',
    ])
    expect(dotGraph(edges)).toBe(
      'graph mesh {\n  "a" -- "b" [style=dotted, label="none"]\n  "a" -- "c" [style=solid, label="lan"]\n}\n',
    )
  })
})

test('a QR code that no camera could read is refused', () => {
  expect(decodeQr(qrCode('x'.repeat(1_273)))).toBe('x'.repeat(1_273))
  expect(() => qrCode('x'.repeat(1_274))).toThrow('too many for a QR code')
})

type Decode = (pixels: Uint8ClampedArray, width: number, height: number) => { data: string } | null
/** Published as CommonJS, of which Node and Vitest make different things. */
const decode = (jsqr as unknown as { default?: Decode }).default ?? (jsqr as unknown as Decode)

/** As a camera sees it: each module some pixels wide. */
function decodeQr(text: string): string | undefined {
  const lines = text.trimEnd().split('\n')
  const scale = 3
  const rows = lines.flatMap((line) => [
    [...line].map((half) => half === '▀' || half === '█'),
    [...line].map((half) => half === '▄' || half === '█'),
  ])
  const size = rows[0]?.length ?? 0
  const side = size * scale
  const pixels = new Uint8ClampedArray(side * side * 4).fill(255)
  for (let y = 0; y < side; y++)
    for (let x = 0; x < side; x++)
      pixels.fill(
        rows[Math.floor(y / scale)]?.[Math.floor(x / scale)] ? 255 : 0,
        (y * side + x) * 4,
        (y * side + x) * 4 + 3,
      )
  return decode(pixels, side, side)?.data
}
