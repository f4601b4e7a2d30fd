/** Valid messages of the protocol, made at random. */
import fc from 'fast-check'
import { toBase32 } from '../../protocol/base32.ts'
import type { GatewayFrame, NodeFrame } from '../../protocol/frames.ts'

const nodeId = fc.uint8Array({ minLength: 16, maxLength: 16 }).map(toBase32)
const base64url = (bytes: number) =>
  fc
    .uint8Array({ minLength: bytes, maxLength: bytes })
    .map((value) => Buffer.from(value).toString('base64url'))
const key = base64url(32)
const sealed = fc
  .uint8Array({ minLength: 1, maxLength: 700 })
  .map((value) => Buffer.from(value).toString('base64url'))
const count = fc.nat()
const request = base64url(16)
const position = fc.record({ epoch: fc.stringMatching(/^[a-z2-7]{1,8}$/), seq: count })
const ipv4 = fc.ipV4()

const path = fc.constantFrom('lan', 'direct', 'punched', 'relay', 'none')
const summary = fc.record({
  paths: fc.dictionary(path, count, { noNullPrototype: true }),
  worst: fc.array(
    fc.record(
      { peer: nodeId, path, reason: fc.stringMatching(/^[a-z0-9_-]{1,48}$/), latencyMs: count },
      { requiredKeys: ['peer', 'path'] },
    ),
    { maxLength: 4 },
  ),
})

const telemetry = fc.record(
  {
    uptimeSeconds: count,
    load1: fc.double({ min: 0, max: 1000, noNaN: true }).map(Math.abs),
    memoryTotalBytes: count,
    memoryFreeBytes: count,
    cpuPercent: fc.integer({ min: 0, max: 100 }),
    mesh: fc.record({ peers: count, reachable: count, summary }, { requiredKeys: ['peers', 'reachable'] }),
  },
  { requiredKeys: ['uptimeSeconds', 'load1', 'memoryTotalBytes', 'memoryFreeBytes'] },
)

/** As it is before brands are put on: what JSON holds. */
type Plain<T> = T extends string ? string : T extends object ? { [K in keyof T]: Plain<T[K]> } : T

export const nodeFrame: fc.Arbitrary<Plain<NodeFrame>> = fc.oneof(
  fc.record(
    {
      type: fc.constant('register'),
      protocol: fc.integer({ min: 1, max: 99 }),
      agent: fc.string({ minLength: 1, maxLength: 20 }),
      mesh: fc.boolean(),
      generation: fc.integer({ min: 1 }),
      channel: fc.string({ maxLength: 100 }),
      at: position,
    },
    { requiredKeys: ['type', 'protocol', 'agent', 'mesh', 'generation', 'channel'] },
  ),
  fc.record({ type: fc.constant('telemetry'), n: count, telemetry }),
  fc.record({
    type: fc.constant('signal'),
    signals: fc.array(fc.record({ to: nodeId, sealed }), { minLength: 1, maxLength: 5 }),
  }),
  fc.record({ type: fc.constant('mesh_resync'), at: position }, { requiredKeys: ['type'] }),
  position.chain((at) =>
    fc.record({
      type: fc.constant('mesh_ack'),
      epoch: fc.constant(at.epoch),
      seq: fc.constant(at.seq),
      hash: base64url(8),
    }),
  ),
  fc.record({ type: fc.constant('mesh_answer'), request, sealed }),
)

const peer = fc.record(
  {
    id: nodeId,
    name: fc.stringMatching(/^[a-z0-9]{1,20}$/),
    wg: key,
    seal: key,
    ip4: ipv4,
    tags: fc.constant(['gpu']),
  },
  { requiredKeys: ['id', 'name', 'wg', 'seal', 'ip4'] },
)

export const gatewayFrame: fc.Arbitrary<Plain<GatewayFrame>> = fc.oneof(
  fc.record({
    type: fc.constant('registered'),
    protocol: fc.integer({ min: 1, max: 99 }),
    settings: fc.record({
      heartbeatMs: fc.integer({ min: 1000, max: 60_000 }),
      telemetryMs: fc.integer({ min: 1000, max: 60_000 }),
      stun: fc.constant([]),
      relays: fc.constant([]),
      leaseMs: fc.integer({ min: 60_000, max: 600_000_000 }),
    }),
    fleet: nodeId,
    ip4: ipv4,
    time: count,
    gateway: fc.record({ key, signature: base64url(64) }),
  }),
  fc.record(
    {
      type: fc.constant('mesh'),
      epoch: fc.stringMatching(/^[a-z]{1,8}$/),
      from: count,
      to: count,
      put: fc.array(peer, { maxLength: 4 }),
      del: fc.array(nodeId, { maxLength: 4 }),
    },
    { requiredKeys: ['type', 'epoch', 'to'] },
  ),
  fc.record(
    { type: fc.constant('mesh_report'), request, sealTo: key, after: nodeId },
    { requiredKeys: ['type', 'request', 'sealTo'] },
  ),
  fc.record({ type: fc.constant('mesh_ping'), request, sealTo: key, to: nodeId }),
  fc.record({ type: fc.constant('signal'), from: nodeId, sealed }),
  fc.record({ type: fc.constant('ack'), n: count }),
  fc.record({ type: fc.constant('revoked') }),
  fc.record({ type: fc.constant('rotate_identity') }),
  fc.record({ type: fc.constant('rotate_wireguard') }),
  fc.record({ type: fc.constant('error'), code: fc.constant('E_INTERNAL'), message: fc.string() }),
)
