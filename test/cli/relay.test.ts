/** `claw relay` as a process, over real TLS: who gets in, what goes through, and what is refused. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { connect } from 'node:tls'
import { beforeAll, describe, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { utf8 } from '../../crypto/bytes.ts'
import { Identity } from '../../crypto/identity.ts'
import { nodeIdOf } from '../../crypto/node-id.ts'
import { type RelayGrant, signRelayGrant } from '../../crypto/relay-grant.ts'
import { FleetId, GatewayKey, type NodeId } from '../../protocol/ids.ts'
import { RELAY_GRANT_MS, RELAY_RATE } from '../../protocol/limits.ts'
import { decodePackets, encodePackets, RELAY_SUBPROTOCOL, type RelayReply } from '../../protocol/relay.ts'
import { createTestCa, type TestCa } from '../support/certificates.ts'
import { claw } from '../support/claw.ts'
import { openTemporaryDirectory } from '../support/temporary-directory.ts'

const ORIGIN = 'https://localhost:8444'
const FLEET = FleetId.parse('a'.repeat(26))
const CLAW = join(import.meta.dirname, '../../bin/claw.js')

let authority: TestCa
let port: number
let relay: ChildProcess
let directory: string
let log = ''
let signer: { key: GatewayKey; next: undefined; privateKey: CryptoKey }

beforeAll(async () => {
  const opened = openTemporaryDirectory()
  directory = opened.path
  authority = await createTestCa()
  signer = await newGateway()
  await writeCertificate()
  ;({ relay, port } = await startRelay())
  return () => {
    relay.kill('SIGKILL')
    opened.remove()
  }
})

async function writeCertificate(): Promise<void> {
  const { key, cert } = await authority.issue()
  writeFileSync(join(directory, 'cert.pem'), cert)
  writeFileSync(join(directory, 'key.pem'), key, { mode: 0o600 })
}

async function startRelay(): Promise<{ relay: ChildProcess; port: number }> {
  const flags = {
    host: '127.0.0.1',
    port: '0',
    cert: join(directory, 'cert.pem'),
    key: join(directory, 'key.pem'),
  }
  const args = Object.entries(flags).flatMap(([name, value]) => [`--${name}`, value])
  const child = spawn(
    process.execPath,
    [CLAW, 'relay', '--json', ...args, '--origin', 'wss://localhost:8444', `--gateway-key=${signer.key}`],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  )
  child.stderr.on('data', (chunk: Buffer) => {
    log += chunk.toString()
  })
  const ended = once(child, 'exit').then(() => Promise.reject(new Error(`it ended: ${log}`)))
  const [line] = await Promise.race([once(createInterface(child.stdout), 'line'), ended])
  ended.catch(() => undefined)
  return { relay: child, port: (JSON.parse(String(line)) as { port: number }).port }
}

async function newGateway() {
  const pair = (await crypto.subtle.generateKey({ name: 'Ed25519' }, true, [
    'sign',
    'verify',
  ])) as unknown as {
    privateKey: CryptoKey
    publicKey: CryptoKey
  }
  const { x } = await crypto.subtle.exportKey('jwk', pair.publicKey)
  return { key: GatewayKey.parse(x), next: undefined, privateKey: pair.privateKey }
}

interface Node {
  readonly id: NodeId
  readonly identity: Identity
}

async function newNode(): Promise<Node> {
  const identity = await Identity.fromSeed(Identity.generateSeed())
  return { identity, id: await nodeIdOf(identity.publicKey) }
}

const grantFor = (node: Node, peers: readonly NodeId[], change: Partial<RelayGrant> = {}): RelayGrant => ({
  fleet: FLEET,
  node: node.id,
  identity: node.identity.publicKey,
  relay: ORIGIN,
  peers,
  rate: RELAY_RATE,
  issuedAt: Date.now(),
  until: Date.now() + RELAY_GRANT_MS,
  ...change,
})

interface Dial {
  readonly grant?: string
  readonly jwt?: string
  readonly path?: string
  readonly protocol?: string
}

async function dial(node: Node, { grant, jwt, path = '/v1/relay?shard=0', protocol }: Dial = {}) {
  const target = { node: node.id, origin: ORIGIN, method: 'GET', path: '/v1/relay?shard=0', body: utf8('') }
  const proof = jwt ?? (await node.identity.signProof(target, Date.now())).jwt
  return new WebSocket(`wss://localhost:${port}${path}`, protocol ?? RELAY_SUBPROTOCOL, {
    ca: authority.pem,
    headers: { authorization: `Claw ${proof}`, ...(grant !== undefined && { 'claw-relay-grant': grant }) },
  })
}

/** The code with which it is refused, or 101. */
async function outcome(socket: WebSocket): Promise<unknown> {
  const refused = once(socket, 'unexpected-response').then(async ([, response]) => {
    const chunks: Buffer[] = []
    for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk)
    return (JSON.parse(Buffer.concat(chunks).toString()) as { code: string }).code
  })
  const result = await Promise.race([refused, once(socket, 'open').then(() => 101)])
  socket.on('error', () => {}).terminate()
  return result
}

class End {
  readonly replies: RelayReply[] = []
  readonly packets: string[] = []
  readonly closed: Promise<number>
  readonly #socket: WebSocket
  #wake: () => void = () => {}

  constructor(socket: WebSocket) {
    this.#socket = socket
    this.closed = once(socket, 'close').then(([code]) => Number(code))
    socket.on('message', (data, isBinary) => {
      const bytes = new Uint8Array(data as Buffer)
      if (isBinary)
        this.packets.push(...(decodePackets(bytes) ?? []).map(({ bytes }) => Buffer.from(bytes).toString()))
      else this.replies.push(JSON.parse(String(data)) as RelayReply)
      this.#wake()
    })
  }

  say(message: object | string): void {
    this.#socket.send(typeof message === 'string' ? message : JSON.stringify(message))
  }

  send(index: number, text: string): void {
    this.#socket.send(encodePackets([{ index, bytes: utf8(text) }]))
  }

  raw(bytes: Uint8Array): void {
    this.#socket.send(bytes)
  }

  async until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }

  async opened(): Promise<number> {
    const find = () => this.replies.find((reply) => reply.type === 'opened')
    await this.until(() => find() !== undefined)
    const reply = find()
    return reply?.type === 'opened' ? reply.index : -1
  }

  terminate(): void {
    this.#socket.terminate()
  }
}

async function enter(node: Node, peers: readonly NodeId[]): Promise<End> {
  const socket = await dial(node, { grant: await signRelayGrant(signer, grantFor(node, peers)) })
  const end = new End(socket)
  await once(socket, 'open')
  return end
}

async function pair(): Promise<readonly [End, End, number, number]> {
  const [a, b] = [await newNode(), await newNode()]
  const [one, two] = [await enter(a, [b.id]), await enter(b, [a.id])]
  one.say({ type: 'open', peer: b.id })
  two.say({ type: 'open', peer: a.id })
  return [one, two, await one.opened(), await two.opened()]
}

describe('who gets in', () => {
  test('a node with a grant and the key that it names; its proof is good once', async () => {
    const [node, other] = [await newNode(), await newNode()]
    const grant = await signRelayGrant(signer, grantFor(node, [other.id]))
    const { jwt } = await node.identity.signProof(
      { node: node.id, origin: ORIGIN, method: 'GET', path: '/v1/relay?shard=0', body: utf8('') },
      Date.now(),
    )
    expect(await outcome(await dial(node, { grant, jwt }))).toBe(101)
    expect(await outcome(await dial(node, { grant, jwt }))).toBe('E_PROOF_REPLAYED')
    expect(await outcome(await dial(node, { grant }))).toBe(101)
  })

  test('nobody else, each refused with its reason', async () => {
    const [node, thief] = [await newNode(), await newNode()]
    const signed = async (change: Partial<RelayGrant>, by = signer) =>
      outcome(await dial(node, { grant: await signRelayGrant(by, grantFor(node, [thief.id], change)) }))
    expect(await outcome(await dial(node))).toBe('E_RELAY_GRANT')
    expect(await signed({}, await newGateway())).toBe('E_RELAY_GRANT')
    expect(await signed({ relay: 'https://other.test' })).toBe('E_RELAY_GRANT')
    expect(await signed({ node: thief.id })).toBe('E_RELAY_GRANT')
    expect(await signed({ until: Date.now() - 1 })).toBe('E_RELAY_GRANT_EXPIRED')
    expect(await signed({ identity: thief.identity.publicKey })).toBe('E_PROOF_SIGNATURE')
    const grant = await signRelayGrant(signer, grantFor(node, [thief.id]))
    expect(await outcome(await dial(thief, { grant }))).toBe('E_RELAY_GRANT')
    expect(await outcome(await dial(node, { grant, path: '/v1/relay?shard=1' }))).toBe('E_PROOF_BINDING')
    expect(await outcome(await dial(node, { grant, path: '/other' }))).toBe('E_NOT_FOUND')
    expect(await outcome(await dial(node, { grant, protocol: 'claw-relay.v9' }))).toBe('E_PROTOCOL_VERSION')
    expect(await outcome(await dial(node, { grant, jwt: 'nonsense' }))).toBe('E_PROOF_MALFORMED')
    const early = { node: node.id, origin: ORIGIN, method: 'GET', path: '/v1/relay?shard=0', body: utf8('') }
    // Signed before this relay began: it cannot know whether it was used at the one before.
    const { jwt } = await node.identity.signProof(early, Date.now() - 59_000)
    expect(await outcome(await dial(node, { grant, jwt }))).toBe('E_PROOF_REPLAYED')
  })
})

describe('what goes through', () => {
  test('packets of a pair, both ways, and nothing of a pair with one end', async () => {
    const [one, two, ofTwo, ofOne] = await pair()
    one.send(ofTwo, 'there')
    await two.until(() => two.packets.length > 0)
    two.send(ofOne, 'back')
    await one.until(() => one.packets.length > 0)
    expect([one.packets, two.packets]).toEqual([['back'], ['there']])
    one.terminate()
    await two.until(() => two.replies.some((reply) => reply.type === 'closed' && reply.reason === 'absent'))
    two.terminate()
  })

  test('nothing of a socket that breaks the rules three times, and the others go on', async () => {
    const [one, two, ofTwo] = await pair()
    const [bad] = await pair()
    for (let i = 0; i < 3; i++) bad.raw(Uint8Array.of(0, 0, 255, 255, i))
    expect(await bad.closed).toBe(4002)
    const [large] = await pair()
    large.raw(new Uint8Array(100_000))
    expect(await large.closed).toBe(1009)
    one.send(ofTwo, 'still')
    await two.until(() => two.packets.includes('still'))
  })

  test('nothing over plain TCP, and no other HTTP than its health', async () => {
    const plain = connect({ port, host: '127.0.0.1', ca: authority.pem, servername: 'localhost' })
    plain.write('GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n')
    let text = ''
    for await (const chunk of plain as AsyncIterable<Buffer>) text += chunk.toString()
    expect(text).toContain('200 OK')
    await expect(fetch(`http://127.0.0.1:${port}/healthz`)).rejects.toThrow()
  })
})

test('a new certificate is in force after SIGHUP, a bad one leaves the old', async () => {
  const serial = async () => {
    const socket = connect({ port, host: '127.0.0.1', ca: authority.pem, servername: 'localhost' })
    await once(socket, 'secureConnect')
    const { serialNumber } = socket.getPeerCertificate()
    socket.destroy()
    return serialNumber
  }
  const lines = async (count: number) => {
    while (log.split('reload').length <= count) await once(relay.stderr as NodeJS.ReadableStream, 'data')
  }
  const before = await serial()
  await writeCertificate()
  relay.kill('SIGHUP')
  await lines(1)
  const after = await serial()
  expect(after).not.toBe(before)
  writeFileSync(join(directory, 'cert.pem'), 'no certificate')
  relay.kill('SIGHUP')
  await lines(2)
  expect(await serial()).toBe(after)
})

test('it ends at SIGTERM, says goodbye, and leaves its account in the log', async () => {
  const [one] = await pair()
  relay.kill('SIGTERM')
  expect(await one.closed).toBe(1001)
  const [code] = await once(relay, 'exit')
  expect(code).toBe(0)
  const account = log
    .split('\n')
    .filter((line) => line.startsWith('{"event":"account"'))
    .at(-1)
  expect(JSON.parse(account ?? '{}')).toMatchObject({ packetsOut: 3, dropped: { rate: 0 } })
})

test('it names everything that is wrong with its flags', async () => {
  const { code, stderr } = await claw([
    'relay',
    '--port',
    'x',
    '--origin',
    'https://a',
    '--gateway-key',
    'short',
  ])
  expect(code).toBe(2)
  for (const flag of ['--port', '--cert', '--origin', '--gateway-key']) expect(stderr).toContain(flag)
})
